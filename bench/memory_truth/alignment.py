"""Pair the entries of two nearly equal sequences of names."""

from __future__ import annotations

from collections.abc import Sequence

AHEAD = 60
"""How far either sequence is searched for where both go on alike."""
ALIKE = 4
"""Entries that must agree before both go on."""


def aligned(ours: Sequence[str], real: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of positions with the same name, in order; entries that one sequence lacks are skipped.

    >>> aligned(["mm", "add", "sum"], ["mm", "copy_", "add", "sum"])
    [(0, 0), (1, 2), (2, 3)]
    """
    pairs = []
    i = j = 0
    while i < len(ours) and j < len(real):
        if ours[i] == real[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
            continue
        i, j = _resumed(ours, real, i, j)
    return pairs


def _resumed(ours: Sequence[str], real: Sequence[str], i: int, j: int) -> tuple[int, int]:
    """The nearest positions from which both go on alike; the next ones if there are none."""
    for skipped in range(1, 2 * AHEAD):
        for first in range(max(0, skipped - AHEAD), min(skipped, AHEAD) + 1):
            a, b = i + first, j + skipped - first
            ahead = min(ALIKE, len(ours) - a, len(real) - b)
            if ahead > 0 and list(ours[a : a + ahead]) == list(real[b : b + ahead]):
                return a, b
    return i + 1, j + 1
