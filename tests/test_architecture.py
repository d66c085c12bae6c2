"""The house: no import circles, torch only where it belongs, private parts of torch in one file, rooms of a size."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.helpers import ROOT, run_fresh

PACKAGE = ROOT / "archcalc"
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
PLUGIN_PATHS = ("archcalc.analyses.elementwise", "archcalc.analyses.formulas", "archcalc.networks.network")
"""Former places of names, for packages that import them from there."""


def imports_of(path: Path) -> Iterator[str]:
    """Every module of archcalc that a file imports: at its top, in functions, and for types alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("archcalc"))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("archcalc"):
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in FILES else node.module for name in inner)


def test_no_import_circles() -> None:
    """Lazy imports and imports for types count too."""
    graph = {name: {found for found in imports_of(path) if found != name} for name, path in FILES.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"import circle: {' -> '.join(error.args[1])}")
    assert set(order) >= set(FILES)


TORCH_FREE = ("text", "errors", "tracing", "ops", "hardware", "analyses", "studies", "render", "cli", "pytest_plugin")


@pytest.mark.parametrize("room", TORCH_FREE)
def test_a_room_can_be_imported_without_torch(room: str) -> None:
    """In a fresh interpreter, every file of the room."""
    names = [name for name in FILES if name == f"archcalc.{room}" or name.startswith(f"archcalc.{room}.")]
    code = f"import sys, importlib; [importlib.import_module(n) for n in {names}]; sys.exit('torch' in sys.modules)"
    assert names
    assert run_fresh(code=code).code == 0, f"a file of {room} imports torch"


PRIVATE = {
    "_C", "_cdata", "_opname", "_schema", "_version", "_parameters", "_buffers", "_modules", "_destroy",
    "_sequence_nr", "_get_sequence_nr", "_should_skip_dynamo", "_python_dispatch", "_pytree",
}  # fmt: skip


def test_private_parts_of_torch_are_used_in_one_file() -> None:
    """engine/torch_private.py, which names the test that guards each of them."""
    elsewhere = []
    for name, path in FILES.items():
        if name == "archcalc.engine.torch_private":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in PRIVATE:
                elsewhere.append(f"{name}:{node.lineno} {node.attr}")
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("torch"):
                elsewhere += [f"{name}: {node.module}" for part in (node.module or "").split(".") if part[:1] == "_"]
                elsewhere += [f"{name}: {alias.name}" for alias in node.names if alias.name.startswith("_")]
    assert elsewhere == []


def test_no_other_file_compares_the_name_of_a_device() -> None:
    """What a device does differently stands in engine/devices; autocast's lists of torch are there too."""
    for name, path in FILES.items():
        if name.startswith("archcalc.engine.devices"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                sides = [node.left, *node.comparators]
                words = [side.value for side in sides if isinstance(side, ast.Constant)]
                assert not {"cpu", "cuda"} & set(words), f"{name}:{node.lineno}"


LONG = {
    "archcalc.library": "every function of the public API, on one page",
    "archcalc.engine.setup": "every setting of a run, in one table",
    "archcalc.engine.meta.known_values": "one class follows what is known of values, op by op",
    "archcalc.engine.torch_private": "every private part of torch that is used, with its guard, in one place",
    "archcalc.errors": "every error that a user can meet, in one place",
    "archcalc.networks.vision.resnet": "four papers' members in one table",
    "archcalc.networks.sequence.recurrent": "three cells whose knobs are repeated in three signatures",
    "archcalc.networks.blocks.blocks": "twenty blocks, each with its knobs and its input",
    "archcalc.networks.sequence.transformer": "encoder and decoder with their drawings",
}
"""Files past 300 lines, and why."""


def test_files_stay_rooms() -> None:
    """No file grows much past 300 lines, unless its reason is written here."""
    long = {name: count for name, path in FILES.items() if (count := path.read_text("utf-8").count("\n")) > 300}
    assert set(long) <= set(LONG), long


def test_former_places_only_pass_on() -> None:
    """Archcalc's own files import from archcalc.ops."""
    for name, path in FILES.items():
        assert not set(imports_of(path)) & set(PLUGIN_PATHS), name
