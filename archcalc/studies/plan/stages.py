"""The cut of a model's units into the chunks of a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from archcalc.studies.bisection import first


def chunks_of(work: Sequence[int], chunks: int) -> list[int]:
    """The chunk of each unit: equal numbers of units where these divide, else the least work of the busiest chunk.

    >>> chunks_of([1, 1, 1, 1], 2), chunks_of([1, 1, 1, 5, 1], 3)
    ([0, 0, 1, 1], [0, 0, 0, 1, 2])
    """
    units = len(work)
    if units % chunks == 0:
        return [unit * chunks // units for unit in range(units)]
    sums = [0, *accumulate(work)]
    busiest = first(lambda load: _needed(work, load) <= chunks, max(work), max(1, sums[-1]))
    found: list[int] = []
    load, chunk = 0, 0
    for unit, size in enumerate(work):
        left = units - unit
        if found and (load + size > busiest or left <= chunks - 1 - chunk) and chunk < chunks - 1:
            chunk, load = chunk + 1, 0
        found.append(chunk)
        load += size
    return found


def _needed(work: Sequence[int], most: int) -> int:
    """How many chunks it takes with at most so much work in each."""
    chunks, load = 1, 0
    for size in work:
        if load + size > most:
            chunks, load = chunks + 1, 0
        load += size
    return chunks
