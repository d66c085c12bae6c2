"""The grid of a sweep: the values of each knob, and every combination of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from archcalc.errors import WrongUse
from archcalc.text.spelling import parse_value

MOST = 100_000
"""Members of a grid at most."""
Member = Mapping[str, Any]
"""The values of the knobs of one member."""


def axes(settings: Sequence[str]) -> dict[str, list[Any]]:
    """The values of each knob: '40:250:30' a range, '12,24' alternatives, '(6,12),(6,24)' lists, one value as it is.

    >>> axes(["depth=40:100:30", "growth_rate=12,24", "memory_efficient=true"])
    {'depth': [40, 70, 100], 'growth_rate': [12, 24], 'memory_efficient': [True]}
    """
    by_knob: dict[str, list[Any]] = {}
    for text in settings:
        knob, equals, values = text.partition("=")
        name = knob.strip().replace("-", "_")
        if not equals or not name or not values.strip():
            raise WrongUse(
                f"'--set {text}' is not an axis.", "write  --set depth=40:250:30  or  --set growth_rate=12,24"
            )
        if name in by_knob:
            raise WrongUse(f"--set {name} is given twice.", "give each knob once, with all its values")
        by_knob[name] = _values(text, values.strip())
    return by_knob


def _values(text: str, values: str) -> list[Any]:
    parts = values.split(":")
    if len(parts) in (2, 3) and all(re.fullmatch(r"\s*\d{1,18}\s*", part) for part in parts):
        first, last, step = (int(part) for part in (*parts, "1")[:3])
        if step < 1 or last < first or (last - first) // step >= MOST:
            raise WrongUse(f"'--set {text}' is not a range.", "write  --set depth=40:250:30, from 40 to 250 by 30")
        return list(range(first, last + 1, step))
    if len(parts) > 1:
        raise WrongUse(f"'--set {text}' is not a range.", "write  --set depth=40:250:30, from 40 to 250 by 30")
    try:
        return list(ast.literal_eval(f"[{values}]"))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return [parse_value(part.strip()) for part in values.split(",")]


def grid(named: Mapping[str, Sequence[Any]]) -> list[Member]:
    """Every combination of the values; WrongUse for more than MOST."""
    size = 1
    for values in named.values():
        size *= len(values)
    if size > MOST:
        raise WrongUse(f"the grid has {size:,} members.", f"{MOST:,} are the most; take fewer values")
    return [dict(zip(named, values, strict=True)) for values in product(*named.values())]
