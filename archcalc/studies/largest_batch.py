"""The largest batch within a budget; where not even the smallest fits, what each change would save.

Bytes are affine in the batch while kernels stay the same, and the peak is the highest of several such lines, one for
each moment of the step. A guess from a line is therefore traced, and the answer is only given when its own trace fits
and that of one sample more does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from archcalc import engine
from archcalc.analyses import Memory, Params, analyze
from archcalc.analyses.report import Report
from archcalc.engine import Setup, Training
from archcalc.engine.setting_forms import parse_memory
from archcalc.engine.subject import Subject
from archcalc.errors import ArchcalcError, BadInput, ForwardFailed, WrongUse
from archcalc.studies.gc_pauses import gc_paused
from archcalc.text.faces import Shown

LIMIT = 2**40
"""A batch larger than any machine runs: if it fits, memory does not grow with the batch."""
ANALYSES = (Params(), Memory())


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


@dataclass(frozen=True)
class Peak:
    """The peak that a change of the settings leads to."""

    change: str
    bytes: int


@dataclass(frozen=True, repr=False)
class Fitted(Shown):
    """The report at the largest batch that fits, or at the smallest if none does; and changes that would help then."""

    report: Report
    fit: Fit
    changes: Sequence[Peak] = ()

    def __repr__(self) -> str:
        """One line."""
        return f"<Fitted: batch {self.fit.batch:,} in {self.fit.budget:,} bytes>"


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


def parse_budget(text: str) -> int:
    """'24GiB' as bytes; BadInput shows the form, also for a number without a unit."""
    return parse_memory("--fit", text)


def largest_batch(reference: str | Subject, setup: Setup, budget: int) -> Fitted:
    """The report at the largest batch that fits, how it was found, and changes to make where none fits."""
    if setup.batch is not None:
        raise WrongUse("--fit finds the batch, and --batch gives it.", "leave one of them out")
    with gc_paused() as ran:
        return _largest_batch(reference, setup, budget, ran)


def _largest_batch(reference: str | Subject, setup: Setup, budget: int, ran: Callable[[int], None]) -> Fitted:
    seen: dict[str, Report] = {}

    def peak_at(batch: int) -> int:
        report = _report(reference, replace(setup, batch=batch))
        if report.trace.assumptions["batch"] is None:
            raise BadInput("--fit needs an input with a batch.", "leave --fit out")
        ran(len(report.trace.calls))
        if report.peak_bytes <= budget or "smallest" not in seen:
            seen["fits" if report.peak_bytes <= budget else "smallest"] = report
        return report.peak_bytes

    smallest = 1
    try:
        fit = largest(peak_at, budget)
    except ForwardFailed as error:  # batch norm in training wants two values a channel
        if "more than 1 value per channel" not in error.message:
            raise
        smallest = 2
        fit = largest(peak_at, budget, smallest)
    if fit.batch:
        return Fitted(seen["fits"], fit)
    return Fitted(seen["smallest"], fit, _changes(reference, replace(setup, batch=smallest), seen["smallest"]))


def one_sample_more(reference: str | Subject, report: Report, setup: Setup) -> Report:
    """The report with one sample more: what each sample costs."""
    batch = report.trace.assumptions["batch"]
    if not isinstance(batch, int):
        raise BadInput("--per-sample needs an input with a batch.", "leave --per-sample out")
    return _report(reference, replace(setup, batch=batch + 1))


def _report(reference: str | Subject, setup: Setup) -> Report:
    return analyze(engine.trace(reference, setup), ANALYSES)


def _changes(reference: str | Subject, setup: Setup, report: Report) -> list[Peak]:
    """Each change by itself, and all of them together, with the peak that the same batch then has."""
    helping, helps = [], []
    for words, change in _possible(setup, report):
        with suppress(ArchcalcError):  # the model may not run so: in that precision, recomputed, without attention
            peak = Peak(words, _report(reference, change(setup)).peak_bytes)
            if peak.bytes < report.peak_bytes:
                helping.append(change)
                helps.append(peak)
    if len(helps) > 1:
        with suppress(ArchcalcError):
            together = reduce(lambda changed, change: change(changed), helping, setup)
            helps.append(Peak("all of these", _report(reference, together).peak_bytes))
    return helps


def _possible(setup: Setup, report: Report) -> Iterator[tuple[str, Callable[[Setup], Setup]]]:
    """Changes that may save memory: each as the option to type and as a function of the setup."""
    if report.trace.assumptions["dtype"] == "float32":
        yield "--dtype bfloat16", lambda before: replace(before, dtype="bfloat16")
    if setup.attention != "efficient":
        yield "--attention efficient", lambda before: replace(before, attention="efficient")
    training, pattern = setup.training, _repeated(report)
    if training and pattern and not training.checkpoint:
        yield f"--checkpoint '{pattern}'", lambda before: _trained(before, checkpoint=(pattern,))
    if training and training.optimizer != "adafactor":
        yield "--optimizer adafactor", lambda before: _trained(before, optimizer="adafactor")


def _trained(setup: Setup, **changes: Any) -> Setup:
    return replace(setup, training=replace(setup.training or Training(), **changes))


def _repeated(report: Report) -> str:
    """The pattern of numbered layers, such as layers.*, that keep the most for backward; '' without such."""
    kept: dict[str, int] = {}
    for layer in report.root.walk():
        if re.search(r"\d+$", layer.path) and layer.children:
            pattern = re.sub(r"\d+(?=$|\.)", "*", layer.path)
            kept[pattern] = kept.get(pattern, 0) + layer.total["kept_bytes"]
    return max(kept, key=lambda pattern: (kept[pattern], -len(pattern)), default="")
