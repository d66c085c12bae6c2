"""The Pareto front of rows in two figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from math import inf
from typing import Any


def front(rows: Sequence[Mapping[str, Any]], first: tuple[str, bool], second: tuple[str, bool]) -> list[int]:
    """The numbers of the rows that no other row beats in two figures, each a key and whether more of it is better.

    A row is beaten by another that is at least as good in both figures and better in one. In the order of the first
    figure, the best rows of each value are on the front if they are better in the second than all rows before.

    >>> front([{"a": 1, "b": 5}, {"a": 2, "b": 3}, {"a": 3, "b": 4}], ("a", False), ("b", False))
    [0, 1]
    """
    scores = [tuple(-row[key] if more else row[key] for key, more in (first, second)) for row in rows]
    best: float = inf
    kept: list[int] = []
    for _, same in groupby(sorted(range(len(rows)), key=scores.__getitem__), key=lambda number: scores[number][0]):
        numbers = list(same)
        least = scores[numbers[0]][1]
        if least < best:
            best = least
            kept += [number for number in numbers if scores[number][1] == least]
    return sorted(kept)
