"""Seconds as text."""

from __future__ import annotations

import re
from math import floor, log10

from archcalc.text.visible import shortened

POWERS = {"s": 0, "ms": -3, "µs": -6, "us": -6, "ns": -9}
UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))


def duration(seconds: float) -> str:
    """A time with three significant figures in the largest unit that it reaches.

    >>> duration(0.00142), duration(0), duration(75), duration(0.0009996), duration(3.74e-10), duration(2e-11)
    ('1.42 ms', '0 s', '75.0 s', '1.00 ms', '0.374 ns', '0.0200 ns')
    """
    if not seconds:
        return "0 s"
    rounded = float(f"{seconds:.3g}")
    unit, size = next((pair for pair in UNITS if rounded >= pair[1]), UNITS[-1])
    number = float(f"{seconds / size:.3g}")
    decimals = max(0, 2 - floor(log10(number)))
    return f"{number:,.{decimals}f} {unit}"


def parse_duration(text: str) -> float:
    """Seconds of '2 ms', '1.5s', '300 us'; ValueError for anything else.

    >>> parse_duration("2 ms"), parse_duration("1.5s"), parse_duration("300 us")
    (0.002, 1.5, 0.0003)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|ms|µs|us|ns)\s*", text)
    if match is None or not float(match[1]):
        raise ValueError(f"'{shortened(text)}' is not a time such as 2 ms")
    return float(f"{match[1]}e{POWERS[match[2]]}")


def rate(number: float) -> str:
    """How often a second, with three significant figures.

    >>> rate(22534.2), rate(3.14159)
    ('22,500', '3.14')
    """
    rounded = float(f"{number:.3g}")
    return f"{rounded:,.0f}" if rounded >= 100 else f"{rounded:g}"
