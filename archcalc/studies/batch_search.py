"""The largest batch that fits, solved from a few traces: bytes are affine in the batch while kernels stay the same.

The peak is the highest of several such lines, one for each moment of the step. A guess from a line is therefore traced,
and the answer is only given when its own trace fits and that of one sample more does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

LIMIT = 2**40
"""A batch that no machine asks for: what still fits there does not grow with the batch."""


@dataclass(frozen=True)
class Fit:
    """The largest batch within `budget` bytes, 0 where not even the smallest fits; `peaks` of every batch traced."""

    budget: int
    batch: int
    peaks: Mapping[int, int]

    @property
    def next_peak(self) -> int | None:
        """The peak of one sample more; None where that cannot be traced or nothing fits."""
        return self.peaks.get(self.batch + 1)


def largest(peak_at: Callable[[int], int], budget: int, smallest: int = 1) -> Fit:
    """Find the batch B with peak_at(B) <= budget < peak_at(B + 1).

    >>> largest(lambda batch: 100 + 7 * batch, 1000).batch  # (1000 - 100) / 7 = 128.6
    128
    >>> largest(lambda batch: max(500, 40 * batch), 1000).batch
    25
    """
    peaks = {smallest: peak_at(smallest)}
    if peaks[smallest] > budget:
        return Fit(budget, 0, peaks)
    fits, bursts = smallest, LIMIT
    while bursts - fits > 1 and fits < LIMIT:
        guess = _guess(peaks, fits, bursts, budget)
        peaks[guess] = peak_at(guess)
        if peaks[guess] <= budget:
            fits = guess
        else:
            bursts = guess
    return Fit(budget, fits, peaks)


def _guess(peaks: Mapping[int, int], fits: int, bursts: int, budget: int) -> int:
    """Where the line through two traced batches meets the budget; else the middle, or twice as many."""
    below = [batch for batch in sorted(peaks) if batch <= fits][-2:]
    if bursts in peaks:
        near = _meets(peaks, fits, bursts, budget)
        return near if near not in peaks and len(peaks) < 12 else (fits + bursts) // 2
    if len(below) == 2 and peaks[below[1]] > peaks[below[0]]:
        found = _meets(peaks, below[0], below[1], budget)
        return min(LIMIT, max(fits + 1, found + (found in peaks)))
    return min(LIMIT, 2 * fits)


def _meets(peaks: Mapping[int, int], a: int, b: int, budget: int) -> int:
    """The last batch on the line through two batches that is within the budget; inside (a, b) it stays inside."""
    met = a + (budget - peaks[a]) * (b - a) // max(1, peaks[b] - peaks[a])
    return min(b - 1, max(a + 1, met)) if peaks[b] > budget else met
