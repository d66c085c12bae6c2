"""The search for the largest batch within a budget of bytes, by tracing few batches.

Bytes are affine in the batch while kernels stay the same, and the peak is the highest of several such lines, one for
each moment of the step. A guess from a line is therefore traced, and the answer is only given when its own trace fits
and that of one sample more does not. Kernels may change with the batch, so that a peak may also fall: where the
smallest batch does not fit, a few larger ones are tried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from archcalc.errors import ForwardFailed

LIMIT = 2**40
"""A batch larger than any machine runs: if it fits, memory does not grow with the batch."""
FURTHER = (1, 3, 7)
"""Samples beyond the smallest batch that are tried where it does not fit: batches 2, 4 and 8 after 1."""


@dataclass(frozen=True)
class Fit:
    """The largest batch within `budget` bytes, 0 where none was found; `peaks` of every batch traced."""

    budget: int
    batch: int
    peaks: Mapping[int, int]

    @property
    def next_peak(self) -> int | None:
        """The peak of one sample more; None where that was not traced or nothing fits."""
        return self.peaks.get(self.batch + 1) if self.batch else None

    @property
    def too_large(self) -> list[int]:
        """Traced batches that do not fit and are smaller than the one that does; all of them where none does."""
        return [size for size in sorted(self.peaks) if size < (self.batch or LIMIT) and self.peaks[size] > self.budget]


def largest(peak_at: Callable[[int], int], budget: int, smallest: int = 1) -> Fit:
    """Find a batch B with peak_at(B) <= budget < peak_at(B + 1), both called; it is the largest if peaks never fall.

    >>> largest(lambda batch: 100 + 7 * batch, 1000).batch  # (1000 - 100) / 7 = 128.6
    128
    >>> largest(lambda batch: max(500, 40 * batch), 1000).batch
    25
    >>> largest(lambda batch: 2000 if batch == 1 else 100 * batch, 1000).too_large
    [1]
    """
    peaks: dict[int, int] = {}
    fits = 0
    for size in (smallest, *(smallest + more for more in FURTHER)):
        peaks[size] = peak_at(size)
        if peaks[size] <= budget:
            fits = size
            break
    else:
        return Fit(budget, 0, peaks)
    bursts = LIMIT
    while bursts - fits > 1 and fits < LIMIT:
        guess = _guess(peaks, fits, bursts, budget)
        peaks[guess] = peak_at(guess)
        if peaks[guess] <= budget:
            fits = guess
        else:
            bursts = guess
    return Fit(budget, fits, peaks)


def largest_of_model(peak_at: Callable[[int], int], budget: int) -> Fit:
    """The largest batch of a model; from 2 on where batch norm in training refuses a single value a channel."""
    try:
        return largest(peak_at, budget)
    except ForwardFailed as error:
        if "more than 1 value per channel" not in error.message:
            raise
        return largest(peak_at, budget, smallest=2)


def _guess(peaks: Mapping[int, int], fits: int, bursts: int, budget: int) -> int:
    """The next batch to try: where the line through two traced batches meets the budget, else the middle or double."""
    below = [batch for batch in sorted(peaks) if batch <= fits][-2:]
    if bursts in peaks:
        near = _meets(peaks, fits, bursts, budget)
        return near if near not in peaks and len(peaks) < 12 else (fits + bursts) // 2
    if len(below) == 2 and peaks[below[1]] > peaks[below[0]]:
        met = _meets(peaks, below[0], below[1], budget)
        return min(LIMIT, max(fits + 1, met + (met in peaks)))
    return min(LIMIT, 2 * fits)


def _meets(peaks: Mapping[int, int], a: int, b: int, budget: int) -> int:
    """The last batch on the line through two batches that is within the budget; inside (a, b) it stays inside."""
    met = a + (budget - peaks[a]) * (b - a) // max(1, peaks[b] - peaks[a])
    return min(b - 1, max(a + 1, met)) if peaks[b] > budget else met
