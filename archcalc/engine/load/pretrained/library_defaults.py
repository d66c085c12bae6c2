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
