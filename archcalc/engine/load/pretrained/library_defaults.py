"""Default sizes of a model's image processor and feature extractor, read from their source, which is not run.

The processors need PIL, torchvision or torchaudio to be imported; the numbers are literals in their class.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from sys import modules
from typing import Any

FILES = ("image_processing_*.py", "video_processing_*.py", "feature_extraction_*.py")
TABLE, TABLE_FILE = "IMAGE_PROCESSOR_MAPPING_NAMES", "models/auto/image_processing_auto.py"
"""The library's table of image processors that stand beside another model, and its file."""
READS_BACK = "post_process"
"""How the methods begin by which a processor puts boxes, masks or lines of text back onto the image."""


def defaults_beside(config: Any) -> Mapping[str, Any]:
    """The literals of the processors beside a configuration's class, by name; none if there are none."""
    file = getattr(modules.get(type(config).__module__), "__file__", None)
    return _defaults(str(Path(file).parent)) if file else {}


@cache
def _defaults(folder: str) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for pattern in FILES:
        for path in sorted(Path(folder).glob(pattern)):
            for name, value in _literals(ast.parse(path.read_text(encoding="utf-8"))):
                found.setdefault(name, value)
    return found


@cache
def defaults_lent(model_type: str) -> Mapping[str, Any]:
    """The literals of the image processor that the library lends a model type from another model; else none.

    One that only prepares images for classification is left out: its size is that of the models that it was made for.
    """
    library = modules.get("transformers")
    file = getattr(library, "__file__", None)
    if file is None:
        return {}
    root = Path(file).parent
    lent = _lent(root / TABLE_FILE).get(model_type)
    names = lent.values() if isinstance(lent, dict) else ()
    places = {name: getattr(library, "_class_to_module", {}).get(name) for name in names}
    for name, place in places.items():
        path = root.joinpath(*place.split(".")).with_suffix(".py") if place else None
        if path is not None and path.is_file():
            tree = ast.parse(path.read_text(encoding="utf-8"))
            return dict(_literals(tree)) if _reads_back(tree, name) else {}
    return {}


@cache
def _lent(path: Path) -> Mapping[str, Any]:
    """The table: by model type, the names of its processors by what they need."""
    nodes = ast.parse(path.read_text(encoding="utf-8")).body if path.is_file() else []
    found: dict[str, Any] = {}
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        named = node.targets[0]
        if isinstance(named, ast.Name) and named.id.endswith(TABLE):
            for _, entries in (pair for argument in node.value.args for pair in _literal("", argument)):
                found |= dict(entries)
    return found


def _reads_back(tree: ast.Module, name: str) -> bool:
    """Whether a class has methods that put what the model found back onto the image."""
    kinds = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    return any(isinstance(n, ast.FunctionDef) and n.name.startswith(READS_BACK) for kind in kinds for n in kind.body)


def _literals(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    """Class attributes, and defaults of constructors, that are literals."""
    for kind in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for node in kind.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                yield from _literal(node.targets[0].id, node.value)
            elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
                names = [argument.arg for argument in node.args.args]
                defaults = node.args.defaults
                for name, value in zip(names[len(names) - len(defaults) :], defaults, strict=True):
                    yield from _literal(name, value)


def _literal(name: str, node: ast.expr) -> Iterator[tuple[str, Any]]:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return
    if value is not None:
        yield name, value
