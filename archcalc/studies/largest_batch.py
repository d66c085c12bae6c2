"""The largest batch within a budget, or whether one batch fits; and what changes of the settings would free."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from archcalc.analyses.report import Report
from archcalc.engine import Setup
from archcalc.engine.subject import Subject
from archcalc.errors import BadInput
from archcalc.studies.batch_search import Fit, largest_of_model
from archcalc.studies.budget import Budget
from archcalc.studies.changes import Peak, changes, measured
from archcalc.studies.gc_pauses import gc_paused
from archcalc.studies.observer import SILENT, Observer
from archcalc.text.faces import Shown


@dataclass(frozen=True, repr=False)
class Fitted(Shown):
    """The report at the batch that fits, or at the smallest if none does; `asked` is a batch that was given.

    `setup` is the one that the report is of, on the device of the budget if it names one.
    """

    report: Report
    fit: Fit
    budget: Budget
    asked: int | None
    setup: Setup
    reference: str | Subject

    @property
    def fits(self) -> bool:
        """Whether a batch fits: the one asked for, or any."""
        return self.fit.batch > 0

    @cached_property
    def changes(self) -> Sequence[Peak]:
        """What each change would free, of a step or of a pass that does not fit; traced when first read."""
        return self.traced_changes()

    def traced_changes(self, watch: Observer = SILENT) -> Sequence[Peak]:
        """The same, with an observer that is told of each trace."""
        if not self.setup.training and self.fits:
            return ()
        return changes(self.reference, self.setup, self.report, watch)

    def __repr__(self) -> str:
        """One line."""
        return f"<Fitted: batch {self.fit.batch:,} in {self.fit.budget:,} bytes>"


def largest_batch(reference: str | Subject, setup: Setup, budget: Budget, watch: Observer = SILENT) -> Fitted:
    """The report at the largest batch that fits, and how it was found; with a batch in `setup` whether that one fits.

    WrongUse if the setup has another device than the budget; BadInput for a model without a batch.
    """
    setup = budget.setup(setup)
    with gc_paused() as ran:
        return _Search(reference, setup, budget, watch, ran).fitted()


USUAL_TRACES = 6
"""Traces of a search: memory is nearly a line in the batch, and the line is drawn through few points."""


class _Search:
    """The traces of one search: the report at the best batch so far, and at the smallest."""

    def __init__(
        self, reference: str | Subject, setup: Setup, budget: Budget, watch: Observer, ran: Callable[[int], None]
    ) -> None:
        self.reference, self.setup, self.budget, self.watch, self.ran = reference, setup, budget, watch, ran
        self.fits: Report | None = None
        self.smallest: tuple[int, Report] | None = None

    def fitted(self) -> Fitted:
        asked = self.setup.batch
        if asked is not None:
            self.watch.expect(1)
            peak = self.peak_at(asked)
            fit = Fit(self.budget.bytes, asked if peak <= self.budget.bytes else 0, {asked: peak})
        else:
            fit = self._largest()
        assert self.smallest
        batch, report = (fit.batch, self.fits) if self.fits else self.smallest
        setup = replace(self.setup, batch=batch)
        return Fitted(report, fit, self.budget, asked, setup, self.reference)

    def _largest(self) -> Fit:
        self.watch.estimate(USUAL_TRACES)
        return largest_of_model(self.peak_at, self.budget.bytes)

    def peak_at(self, batch: int) -> int:
        """The peak at a batch in bytes; BadInput for a model without one."""
        report = measured(self.reference, replace(self.setup, batch=batch))
        if report.trace.assumptions["batch"] is None:
            raise BadInput("--fit needs an input with a batch.", "leave --fit out")
        self.ran(len(report.trace.calls))
        self.watch.advance()
        if report.peak_bytes <= self.budget.bytes:
            self.fits = report
        self.smallest = self.smallest or (batch, report)
        return report.peak_bytes


def one_sample_more(reference: str | Subject, report: Report, setup: Setup) -> Report:
    """The report with one sample more: what each sample costs."""
    batch = report.trace.assumptions["batch"]
    if not isinstance(batch, int):
        raise BadInput("--per-sample needs an input with a batch.", "leave --per-sample out")
    return measured(reference, replace(setup, batch=batch + 1))
