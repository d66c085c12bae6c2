"""Bytes that come and go during a step, by op call: only the calls at which anything changes are held."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, repeat


class Changes:
    """The change of live bytes at each call, from 0 to before `length`; `at` has those that are not nothing."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.at: dict[int, int] = {}

    def add(self, size: int, first: int, last: int | None = None) -> None:
        """Bytes that are live from the call `first` to before `last`, or during that call alone.

        >>> changes = Changes(9)
        >>> changes.add(4, 2, 6), changes.add(1, 3), changes.timeline([0, 2, 3, 4, 6])
        (None, None, [0, 4, 5, 4, 0])
        """
        begin, end = self._inside(first), self._inside(first + 1 if last is None else last)
        self.at[begin] = self.at.get(begin, 0) + size
        self.at[end] = self.at.get(end, 0) - size

    def timeline(self, calls: Sequence[int]) -> list[int]:
        """Live bytes during each of some calls, in order, among which are all those with a change."""
        return list(accumulate(map(self.at.get, calls, repeat(0))))

    def _inside(self, call: int) -> int:
        return min(max(0, call), self.length)
