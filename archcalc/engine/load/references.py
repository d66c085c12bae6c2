"""Model references: what the user types, read by its form and never by trial. No torch here.

NAME                    a network of the catalogue
package.module:EXPR     EXPR = dotted attributes, called or not with literals: mynet:make(width=2)
path/to/file.py:EXPR    the same, from a file
path/to/trace.json      a stored trace
torchvision:NAME  timm:NAME  hf:ORG/NAME  hf:path/to/config.json  hf:bert
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from archcalc.errors import BadReference, UnknownModel


@dataclass(frozen=True)
class BuiltIn:
    """A name of the catalogue."""

    name: str


@dataclass(frozen=True)
class Expression:
    """Dotted attributes, called with literals unless `call` is false."""

    attributes: tuple[str, ...]
    call: bool
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclass(frozen=True)
class Code:
    """An expression in a module (by its import name) or in a file (by its path)."""

    text: str
    where: str
    is_file: bool
    expression: Expression


@dataclass(frozen=True)
class InLibrary:
    """A model of torchvision, timm or transformers (hf), by its name there."""

    text: str
    library: str
    name: str


@dataclass(frozen=True)
class StoredTrace:
    """A file that holds a trace."""

    path: str


Reference = BuiltIn | Code | InLibrary | StoredTrace
LIBRARIES = {"torchvision": "resnet50", "timm": "vit_base_patch16_224", "hf": "bert"}
"""The libraries whose models have references of their own, each with a name for the sake of example."""
PACKAGES = {"torchvision": "torchvision", "timm": "timm", "hf": "transformers"}


def parse(text: str) -> Reference:
    """Read a reference; BadReference says what is wrong with anything else.

    >>> parse("resnet-50")
    BuiltIn(name='resnet-50')
    >>> parse("mynet:make(width=2)").expression.kwargs
    {'width': 2}
    """
    text = text.strip()
    library, _, name = text.partition(":")
    if library in LIBRARIES and ":" in text:
        if not name.strip():
            raise BadReference(text, "it names a library and no model of it", f"type  {library}:{LIBRARIES[library]}")
        return InLibrary(text, library, name.strip())
    if text.endswith(".json"):
        return StoredTrace(text)
    head, colon, expression = _split(text)
    if colon and not head.endswith(".py") and ("/" in head or "\\" in head or "" in head.split(".")):
        raise BadReference(text, f"'{head}' is neither a module nor a Python file", "write  path/to/file.py:EXPR")
    if colon:
        return Code(text, head, head.endswith(".py"), _expression(text, expression))
    if text.endswith(".py"):
        raise BadReference(text, "it names a file and no model in it", f"type  {text}:NameOfTheModel")
    if not text or "/" in text or "\\" in text:
        raise BadReference(text, "no network has a name like that")
    return BuiltIn(text)


def _split(text: str) -> tuple[str, str, str]:
    """Cut at the colon behind the file or module; a colon inside the call's literals is not one."""
    if ".py:" in text:
        head, _, expression = text.partition(".py:")
        return f"{head}.py", ":", expression
    return text.partition(":")


def _expression(text: str, expression: str) -> Expression:
    try:
        node = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise BadReference(text, f"'{expression[:80]}' is not an expression") from None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    call = isinstance(node, ast.Call)
    if isinstance(node, ast.Call):
        try:
            args = tuple(ast.literal_eval(argument) for argument in node.args)
            kwargs = {k.arg or "**": ast.literal_eval(k.value) for k in node.keywords}
        except (ValueError, TypeError, MemoryError, RecursionError):
            raise BadReference(text, "the arguments of the call must be plain values") from None
        node = node.func
    attributes: list[str] = []
    while isinstance(node, ast.Attribute):
        attributes.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or "**" in kwargs:
        raise BadReference(text, f"'{expression}' is more than attributes and one call with plain values")
    return Expression((node.id, *attributes), call, args, kwargs)


def demand_known(reference: InLibrary, name: str, names: Iterable[str]) -> None:
    """Raise UnknownModel, with the names that are close, if the library has no model of that name."""
    among = list(names)
    if name not in among:
        raise UnknownModel(name, PACKAGES[reference.library], reference.library, among)
