"""Which modules to compute again in backward, so that a training step fits with the least extra work."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from glob import escape

from archcalc import engine
from archcalc.analyses.report import Report
from archcalc.engine import Setup, Training
from archcalc.engine.subject import Subject
from archcalc.errors import ArchcalcError, BadInput, ForwardFailed, WrongUse
from archcalc.ops.registry import macs_of, operations_of
from archcalc.studies.batch_search import Fit, largest_of_model
from archcalc.studies.budget import Budget
from archcalc.studies.changes import measured
from archcalc.studies.gc_pauses import gc_paused
from archcalc.studies.largest_batch import Fitted
from archcalc.studies.observer import SILENT, Observer
from archcalc.studies.recompute.candidates import Candidate, Step
from archcalc.studies.recompute.patterns import kind, patterns_for
from archcalc.studies.recompute.prediction import predicted_peak
from archcalc.studies.recompute.shared import Choices
from archcalc.text.faces import Shown
from archcalc.tracing import Trace

AUTO = "auto"
POINTS = 16
"""Budgets that the frontier is looked for at."""
LAYER = re.compile(r", in layer (\S+)")


@dataclass(frozen=True)
class Point:
    """A peak in bytes, and the least extra work with which a step has it; both are predicted."""

    peak_bytes: int
    macs: int
    elementwise: int
    modules: int


@dataclass(frozen=True, repr=False)
class Recomputed(Shown):
    """The modules to compute again, and the step that does so as it was traced, which `fitted` is of.

    `chosen` are the calls of these modules, `patterns` what --checkpoint takes. `predicted_bytes` is the peak that one
    trace of the plain step foretold, `plain_bytes` the peak of that step, `lowest_bytes` the lowest of all choices.
    `macs` and `elementwise` are the extra work of one backward pass, by the traces; `share` is that work as a share of
    forward and backward. `best` is False where not all choices were compared. `left_out` are modules that cannot be
    computed again.
    """

    fitted: Fitted
    chosen: Sequence[Candidate]
    patterns: tuple[str, ...]
    predicted_bytes: int
    plain_bytes: int
    lowest_bytes: int
    macs: int
    elementwise: int
    share: float
    best: bool
    left_out: tuple[str, ...]
    choice: Choices = field(compare=False)

    @property
    def paths(self) -> list[str]:
        """The modules to compute again, each once."""
        return list(dict.fromkeys(c.path for c in self.chosen))

    @property
    def fits(self) -> bool:
        """Whether the step fits: at the batch asked for, or at any."""
        return self.fitted.fits

    def frontier(self) -> list[Point]:
        """The least extra work for peaks from the lowest to that of the plain step, at the batch of the answer."""
        points: dict[int, Point] = {}
        for number in range(POINTS + 1):
            budget = self.lowest_bytes + (self.plain_bytes - self.lowest_bytes) * number // POINTS
            path = self.choice.best(budget)
            if path is not None:
                chosen = path.chosen()
                peak = predicted_peak(self.choice.step, chosen)
                macs, elementwise = sum(c.macs for c in chosen), sum(c.elementwise for c in chosen)
                points[peak] = Point(peak, macs, elementwise, len({c.path for c in chosen}))
        return [points[peak] for peak in sorted(points)]

    def __repr__(self) -> str:
        """One line."""
        return f"<Recomputed: {len(self.paths)} modules, peak {self.fitted.report.peak_bytes:,} bytes>"


def recompute(reference: str | Subject, setup: Setup, budget: Budget, watch: Observer = SILENT) -> Recomputed:
    """The choice with the least extra work that fits at the setup's batch, or at the largest batch that fits.

    Where nothing fits it is the choice with the lowest peak. WrongUse for patterns in the setup; BadInput for a model
    without a batch; the errors of a trace.
    """
    training = setup.training or Training()
    if set(training.checkpoint) - {AUTO}:
        raise WrongUse("--checkpoint auto chooses the layers itself.", "leave the other --checkpoint out")
    setup = replace(budget.setup(setup), training=replace(training, checkpoint=()))
    with gc_paused() as ran:
        return _Search(reference, setup, budget, watch, ran).found()


@dataclass(frozen=True)
class _Plan:
    """A choice at a batch, and the trace that confirms it."""

    report: Report
    plain: Report
    chosen: Sequence[Candidate]
    patterns: tuple[str, ...]
    predicted: int
    choice: Choices
    lowest: int


class _Search:
    """The traces of one search. `banned` are kinds of modules whose second computation failed."""

    def __init__(
        self, reference: str | Subject, setup: Setup, budget: Budget, watch: Observer, ran: Callable[[int], None]
    ) -> None:
        self.reference, self.setup, self.budget, self.watch, self.ran = reference, setup, budget, watch, ran
        self.banned: dict[str, None] = {}
        self.steps: dict[int | None, tuple[Report, Step]] = {}
        self.lowest_plans: dict[int, _Plan] = {}

    def found(self) -> Recomputed:
        asked = self.setup.batch
        if asked is None:
            fit = largest_of_model(self._lowest_at, self.budget.bytes)
            batch = fit.batch or min(fit.peaks)
            plan = self._plan(batch, self.budget.bytes) if fit.batch else self.lowest_plans[batch]
            peak = plan.report.peak_bytes
            fit = replace(fit, peaks={**fit.peaks, batch: peak})
        else:
            batch, plan = asked, self._plan(asked, self.budget.bytes)
            peak = plan.report.peak_bytes
            fit = Fit(self.budget.bytes, asked if peak <= self.budget.bytes else 0, {asked: peak})
        setup = self._with(replace(self.setup, batch=batch), plan.patterns)
        return self._result(plan, Fitted(plan.report, fit, self.budget, asked, setup, self.reference))

    def _result(self, plan: _Plan, fitted: Fitted) -> Recomputed:
        before, after = _work(plan.plain.trace), _work(plan.report.trace)
        macs, elementwise = after[0] - before[0], after[1] - before[1]
        return Recomputed(
            fitted,
            plan.chosen,
            plan.patterns,
            plan.predicted,
            plan.plain.peak_bytes,
            plan.lowest,
            macs,
            elementwise,
            (2 * macs + elementwise) / max(1, 2 * before[0] + before[1]),
            not plan.choice.thinned,
            tuple(self.banned),
            plan.choice,
        )

    def _lowest_at(self, batch: int) -> int:
        """The lowest peak at a batch, as the trace of that choice has it."""
        self.lowest_plans[batch] = self._plan(batch, 0)
        return self.lowest_plans[batch].report.peak_bytes

    def _step(self, batch: int) -> tuple[Report, Step]:
        """The plain step at a batch, and what it keeps; traced once."""
        if batch not in self.steps:
            setup = replace(self.setup, batch=batch)
            plain = self._traced(setup)
            if plain.trace.assumptions["batch"] is None:
                raise BadInput("--fit needs an input with a batch.", "leave --fit out")
            try:
                forward = engine.trace(self.reference, replace(setup, training=None, mode="train"))
            except ArchcalcError:
                forward = None
            self.steps[batch] = plain, Step(plain.trace, forward)
        return self.steps[batch]

    def _plan(self, batch: int, budget: int) -> _Plan:
        """The choice with the least work within a budget, or the one with the lowest peak, confirmed by a trace."""
        plain, step = self._step(batch)
        target = budget
        while True:
            candidates = [c for c in step.candidates if kind(c.path) not in self.banned]
            shared = [calls for calls in step.shared if kind(calls[0].path) not in self.banned]
            choice = Choices(step, candidates, shared)
            lowest = choice.lowest()
            path = choice.best(max(target, lowest))
            chosen = path.chosen() if path else []
            predicted = predicted_peak(step, chosen)
            patterns = patterns_for(list(dict.fromkeys(c.path for c in chosen)), [m.path for m in plain.trace.modules])
            try:
                report = self._traced(self._with(replace(self.setup, batch=batch), patterns)) if chosen else plain
            except ForwardFailed as error:
                self._ban(error, chosen, batch)
                continue
            if predicted <= target < report.peak_bytes and target > lowest:
                target -= report.peak_bytes - target  # what the prediction missed
                continue
            return _Plan(report, plain, chosen, patterns, predicted, choice, lowest)

    def _ban(self, error: ForwardFailed, chosen: Sequence[Candidate], batch: int) -> None:
        """Leave out the kinds of modules whose second computation fails; the error itself if that is none of them.

        The error names the layer, or each kind is tried by itself.
        """
        layer = LAYER.search(error.hint)
        failed = {kind(c.path) for c in chosen if layer and f"{layer[1]}.".startswith(f"{c.path}.")}
        kinds = {kind(c.path): c for c in chosen}
        failed = failed or {name for name, c in kinds.items() if not self._runs_again(c, batch)}
        if not failed:
            raise error
        self.banned |= dict.fromkeys(sorted(failed))

    def _runs_again(self, c: Candidate, batch: int) -> bool:
        try:
            self._traced(self._with(replace(self.setup, batch=batch), (escape(c.path),)))
        except ForwardFailed:
            return False
        return True

    def _traced(self, setup: Setup) -> Report:
        report = measured(self.reference, setup)
        self.ran(len(report.trace.calls))
        self.watch.advance()
        return report

    def _with(self, setup: Setup, patterns: tuple[str, ...]) -> Setup:
        return replace(setup, training=replace(setup.training or Training(), checkpoint=patterns))


def _work(trace: Trace) -> tuple[int, int]:
    """MACs and elementwise operations of the last forward and backward pass of a trace."""
    step = trace.steps[-1]
    calls = trace.calls[step.forward : step.optimizer]
    return sum(macs_of(trace, call) or 0 for call in calls), sum(operations_of(trace, call) or 0 for call in calls)
