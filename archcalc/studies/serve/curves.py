"""Curves through points that runs gave, exact or refused: lines that may stop growing, and quadratics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archcalc.errors import NoLaw

Point = tuple[int, int]
"""Tokens, and a figure."""


@dataclass(frozen=True)
class Line:
    """slope · min(tokens, cap) + start; without a cap it grows with all tokens."""

    slope: int
    start: int
    cap: int | None = None

    def __call__(self, tokens: int) -> int:
        """The figure of some tokens.

        >>> Line(3, 5, 10)(4), Line(3, 5, 10)(40)
        (17, 35)
        """
        return self.slope * (tokens if self.cap is None else min(tokens, self.cap)) + self.start


def line(points: Sequence[Point], what: str) -> Line:
    """The line through the two points of the fewest tokens; if later ones are level, the cap is where it meets them.

    NoLaw if a point is not on it.

    >>> line([(1, 3), (2, 6), (16, 24), (32, 24)], "x")
    Line(slope=3, start=0, cap=8)
    """
    points = sorted(set(points))
    (first, low), (second, high) = points[:2]
    if first == second:
        raise NoLaw(what, f"runs of as many tokens differ: {_shown(points)}")
    slope, rest = divmod(high - low, second - first)
    found = Line(slope, low - slope * first)
    last, top = points[-1]
    if found(last) != top and slope > 0:
        cap, more = divmod(top - found.start, slope)
        rest, found = rest + more, Line(slope, found.start, cap)
    if rest or any(found(tokens) != value for tokens, value in points):
        raise NoLaw(what, f"it is not a part for each token and a fixed one: {_shown(points)}")
    return found


def square(points: Sequence[Point], what: str) -> tuple[int, int, int]:
    """The quadratic through the first three points: its coefficients, of the square first. NoLaw if one is not on it.

    >>> square([(1, 6), (2, 11), (3, 18), (4, 27)], "x")
    (1, 2, 3)
    """
    (a, f), (b, g), (c, h) = points[:3]
    first, second = (g - f) * (c - b), (h - g) * (b - a)
    pairs, rest = divmod(second - first, (b - a) * (c - b) * (c - a))
    slope, more = divmod(g - f - pairs * (b * b - a * a), b - a)
    start = f - pairs * a * a - slope * a
    law: Callable[[int], int] = lambda n: pairs * n * n + slope * n + start  # noqa: E731
    if rest or more or any(law(time) != value for time, value in points):
        raise NoLaw(what, f"they are no polynomial of degree 2 in the tokens: {_shown(points)}")
    return pairs, slope, start


def _shown(points: Sequence[Point]) -> str:
    return ", ".join(f"{tokens} tokens {value:,}" for tokens, value in points)
