"""JSON as its standard has it: numbers are finite, which Python's own reader does not demand."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any


def read_json(text: str) -> Any:
    """The value of a JSON text; ValueError also for NaN, Infinity and 1e999, RecursionError for endless nesting.

    >>> read_json("[1, 2.5]")
    [1, 2.5]
    """
    return json.loads(text, parse_constant=_refused, parse_float=_finite)


def _refused(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if isfinite(number) else _refused(text)
