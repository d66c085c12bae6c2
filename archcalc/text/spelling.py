"""Names and settings as people type them."""

from __future__ import annotations

from typing import Any


def normal(name: str) -> str:
    """A name without what does not matter in it: case, '-' and '_'.

    >>> normal("ResNet-18"), normal("resnet_18")
    ('resnet18', 'resnet18')
    """
    return name.lower().replace("-", "").replace("_", "")


def setting(value: Any) -> str:
    """A setting's value as it is typed.

    >>> setting((6, 12)), setting(True), setting("B"), setting(None)
    ('6,12', 'true', 'B', 'none')
    """
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def parse_value(text: str) -> Any:
    """A number, a list, true, false or none; any other text as it is.

    >>> parse_value("169"), parse_value("6,12"), parse_value("true"), parse_value("B")
    (169, (6, 12), True, 'B')
    """
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    import ast

    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
