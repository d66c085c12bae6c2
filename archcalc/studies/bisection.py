"""The first number for which a condition holds, by halving."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable


def first(holds: Callable[[int], bool], start: int, stop: int) -> int:
    """The first of start, ..., stop - 1 for which a condition holds; `stop` if it holds for none of them.

    The condition must hold for every number after the first for which it does; it is asked about few of them.

    >>> first(lambda number: number * number > 50, 1, 100), first(lambda number: False, 1, 100)
    (8, 100)
    """
    return start + bisect_left(range(start, stop), True, key=holds)
