"""Write again what is checked in and generated: the catalogue's stored figures and the outputs in the documentation.

python -m tests.regenerate          write
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import pkgutil
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from typer.models import ArgumentInfo

from archcalc import networks
from archcalc.analyses import Flops, Memory, Params, analyze
from archcalc.cli.app import app
from archcalc.cli.commands import register
from archcalc.engine import Setup, Training, trace
from archcalc.engine.load.build import Loaded
from archcalc.engine.load.declared_inputs import Declaration
from archcalc.engine.meta.empty_modules import without_data
from archcalc.engine.record.run import run_loaded
from archcalc.engine.torch_private import PARTS
from archcalc.networks import catalogue
from archcalc.networks.spec import NETWORKS, REGISTERED_IN, Network
from archcalc.ops.registry import counted_as
from archcalc.render.formats.as_json import dumps
from archcalc.render.promise import schema
from archcalc.studies.law.law import laws as laws_of
from archcalc.text import units
from archcalc.tracing import Model
from tests import documents, readme
from tests.helpers import ROOT, run

SCHEMA = ROOT / "docs" / "schema.json"
EXAMPLES = ROOT / "docs" / "examples"
"""Where the documentation's commands run: the models of its examples are here."""


def all_networks() -> dict[str, Network]:
    """Every definition; imports each file of the room, so that a new one needs no line here."""
    for module in sorted(pkgutil.walk_packages(networks.__path__, "archcalc.networks."), key=lambda m: m.name):
        import_module(module.name)
    return NETWORKS


def catalogue_json(networks: Iterable[Network] | None = None) -> str:
    """The text of catalogue.json, computed from the definitions, all of them by default."""
    families: dict[str, dict[str, Any]] = {}
    for network in all_networks().values() if networks is None else networks:
        family = network.family
        entry = families.setdefault(
            family.name,
            {
                "name": family.name,
                "title": family.title,
                "default": family.default,
                "aliases": list(family.aliases),
                "members": [],
            },
        )
        entry["members"].append(_member(network))
    ordered = sorted(families.values(), key=lambda family: family["name"])
    return json.dumps({"families": ordered}, indent=1) + "\n"


def _member(network: Network) -> dict[str, Any]:
    with without_data():
        module = network.build(**network.config)
    inputs = Declaration(network.inputs_for(network.config))
    loaded = Loaded(module, Model(network.name, network.name, "builtin", {}), inputs)
    report = analyze(run_loaded(loaded, Setup()), (Params(), Flops()))
    return {
        "name": network.name,
        "aliases": list(network.aliases),
        "file": REGISTERED_IN[network.name].removeprefix("archcalc.networks."),
        "year": network.source.year,
        "input": ", ".join(units.shape(one.shape) for one in network.inputs_for(network.config)),
        "knobs": dict(network.config),
        "params": report.params,
        "macs": report.macs,
        "published": [asdict(published) for published in network.published],
    }


BLOCK = re.compile(r"(?<=```console\n)(\$ .*?)(?=```)", re.DOTALL)
"""A console block: a command behind '$ ', its output, perhaps more commands."""
RULES = re.compile(r"(?<=<!-- rules -->\n).*?(?=<!-- end of rules -->)", re.DOTALL)


def pages() -> list[Path]:
    """Every page that shows output."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


COMMANDS = re.compile(r"(?<=<!-- commands -->\n).*?(?=<!-- end of commands -->)", re.DOTALL)
PRIVATE = re.compile(r"(?<=<!-- private parts -->\n).*?(?=<!-- end of private parts -->)", re.DOTALL)
DENSENET = re.compile(r"(?<=<!-- memory by depth -->\n).*?(?=<!-- end of memory by depth -->)", re.DOTALL)


def regenerated(page: str) -> str:
    """The page with the output of each command in it, and the tables that are computed, as they are now."""
    page = BLOCK.sub(lambda block: _console(block[0]), page)
    page = RULES.sub(lambda _: elementwise_rules(), page)
    page = COMMANDS.sub(lambda _: commands_table(), page)
    page = PRIVATE.sub(lambda _: private_parts(), page)
    page = DENSENET.sub(lambda _: densenet_memory(), page)
    return readme.with_figures(page)


def _console(block: str) -> str:
    commands = [line for line in block.splitlines() if line.startswith("$ ")]
    return "".join(f"{command}\n{output(command[2:])}" for command in commands)


def output(command: str) -> str:
    """What a command prints; a pipe or another program runs in a shell, in the folder of the examples."""
    words = shlex.split(command)
    if words[0] == "archcalc" and "|" not in words:
        with contextlib.chdir(EXAMPLES):
            ran = run(*words[1:])
        return ran.out + ran.err
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command.replace("archcalc ", "python -m archcalc ")],
        capture_output=True, text=True, check=False, env=environment, cwd=EXAMPLES,
    )  # fmt: skip
    return done.stdout + done.stderr


def commands_table() -> str:
    """Every command with its arguments and the first line of its help."""
    register()
    lines = ["| command | answer |", "| :-- | :-- |"]
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__
        hints = get_type_hints(command.callback, include_extras=True)
        arguments = [note for hint in hints.values() for note in getattr(hint, "__metadata__", ())]
        typed = [note.metavar for note in arguments if isinstance(note, ArgumentInfo)]
        line = str(command.callback.__doc__).strip().splitlines()[0]
        usage = " ".join(["archcalc", name, *typed]).replace("|", r"\|")
        lines.append(f"| `{usage}` | {line} |")
    return "\n".join([*lines, ""])


def private_parts() -> str:
    """The private parts of torch that the engine leans on, each with its guard."""
    lines = ["| part of torch | used for | guarded by |", "| :-- | :-- | :-- |"]
    lines += [f"| `{part.name}` | {part.use} | `{part.test}` |" for part in PARTS]
    return "\n".join([*lines, ""])


def elementwise_rules() -> str:
    """The ops of each elementwise rule, as a list."""
    by_rule: dict[str, list[str]] = {}
    for op, rule in sorted(counted_as()):
        by_rule.setdefault(rule, []).append(op)
    lines = [f"* **{rule}**: {', '.join(f'`{op}`' for op in ops)}" for rule, ops in sorted(by_rule.items())]
    return "\n".join(["", *lines, "", ""])


DEPTHS = (34, 64, 94, 124, 154, 244, 334, 478)


def densenet_memory() -> str:
    """DenseNet-BC, k = 12, on CIFAR at batch 64: what a step keeps and needs by depth, the paper's figure beside it.

    From the laws, which a slow test holds against traces at these depths.
    """
    with (ROOT / "tests" / "data" / "densenet_memory_figure.csv").open(encoding="utf-8") as file:
        printed = {(row["series"], int(row["layers"])): row["memory_gb"] for row in csv.DictReader(file)}
    naive, shared = (densenet_laws(efficient) for efficient in (False, True))
    head = (
        "depth",
        "parameters",
        "kept, naive",
        "kept, shared",
        "step, naive",
        "paper, naive",
        "step, shared",
        "paper, shared",
    )
    lines = [f"| {' | '.join(head)} |", f"|{' --: |' * len(head)}"]
    for depth in DEPTHS:
        cells = [
            str(depth),
            units.exact(naive(depth)["params"]),
            *(_gigabytes(one(depth)["saved_total_bytes"]) for one in (naive, shared)),
            _gigabytes(naive(depth)["peak_bytes"]),
            printed.get(("naive_luatorch", depth), ""),
            _gigabytes(shared(depth)["peak_bytes"]),
            printed.get(("shared_all_pytorch", depth), ""),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(["", *lines, "", ""])


def densenet_laws(efficient: bool) -> Callable[[int], dict[str, int]]:
    """Figures of DenseNet-BC by depth: from their laws, and from a trace where one of them does not hold yet."""
    setup = Setup({"memory_efficient": efficient}, batch=64, training=Training("momentum"))
    figures = ["params", "saved_total_bytes", "peak_bytes"]
    laws = laws_of("densenet-bc-cifar", setup, ["depth"], figures).laws

    def at(depth: int) -> dict[str, int]:
        if all(depth >= law.lattice[0].start for law in laws):
            return {
                law.figure: int(law.value([depth])) for law in laws
            }  # also beyond the depths that it was checked at
        return densenet_traced(depth, efficient)

    return at


def densenet_traced(depth: int, efficient: bool) -> dict[str, int]:
    """The same figures from a trace."""
    knobs = {"depth": depth, "memory_efficient": efficient}
    setup = Setup(knobs, batch=64, training=Training("momentum"))
    totals = analyze(trace("densenet-bc-cifar", setup), (Params(), Memory())).totals
    return {key: int(totals[key]) for key in ("params", "saved_total_bytes", "peak_bytes")}


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f}"


def main() -> None:
    """Write everything, from runs and not from stored traces."""
    os.environ["ARCHCALC_CACHE"] = "off"
    catalogue.FILE.write_text(catalogue_json(), encoding="utf-8")
    SCHEMA.write_text(dumps(schema()), encoding="utf-8")
    documents.write()
    readme.write()
    for page in pages():
        page.write_text(regenerated(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
