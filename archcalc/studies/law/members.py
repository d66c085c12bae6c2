"""The members of a family: a model with knobs at some values, traced once for each kind of figure."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from archcalc import engine
from archcalc.analyses import Report, analyze
from archcalc.analyses.memory import LiveBytes
from archcalc.analyses.metrics import Metric, analyses_for
from archcalc.engine.setup import Setup, Training
from archcalc.engine.subject import Subject
from archcalc.errors import ArchcalcError, BadInput
from archcalc.studies.law.lattice import CALLS, Evaluate, Point
from archcalc.studies.law.moments import Moments, MomentsAt
from archcalc.studies.serve.serve import FIGURES, Serving, bare, without_sizes
from archcalc.tracing import Trace

TYPE = "macs of "
"""Before the name of a type of module: the MACs that are its own."""
Traced = Callable[[int], None]
"""Told how many op calls each trace has."""
SHORTHANDS = ("batch", "size", "seq_len")
SERVED = 32
"""Runs with a cache that are kept at most, for members that can share them."""


class Figures:
    """The figures of a model's members: those of a cache come from runs with one, all others from one run.

    Members that differ in batch and text alone share the runs with a cache.
    """

    def __init__(self, reference: str | Subject) -> None:
        self.reference = reference
        self._served: dict[str, Serving] = {}

    def of(
        self, metrics: Sequence[Metric], setup: Setup, run: Callable[[Sequence[Metric]], Report]
    ) -> dict[str, int | float]:
        """The figures of the member with this setup; raises what its runs raise.

        `run` makes the report of one run for the figures that it is given, and is not called if there are none.
        """
        cached = {m.name: FIGURES[m.name](self._serving(setup), setup) for m in metrics if m.name in FIGURES}
        others = [metric for metric in metrics if metric.name not in FIGURES]
        report = run(others) if others else None
        return {metric.name: metric.of(report) for metric in others if report} | cached

    def _serving(self, setup: Setup) -> Serving:
        key = repr(without_sizes(setup))
        if key not in self._served:
            if len(self._served) == SERVED:
                self._served.clear()
            self._served[key] = bare(self.reference, setup)
        return self._served[key]


class Members:
    """The figures of members, each traced once a kind; `traced` is told how many op calls each trace has.

    `own` is a forward pass of the network itself, with the knobs as the setup has them.
    """

    def __init__(
        self,
        reference: str | Subject,
        setup: Setup,
        knobs: Sequence[str],
        wanted: Sequence[Metric],
        traced: Traced,
        own: Trace,
    ) -> None:
        self.reference, self.setup, self.knobs, self.wanted, self.traced = reference, setup, knobs, wanted, traced
        self.own = own
        self._seen: dict[tuple[bool, Point], Mapping[str, int] | None] = {}
        self._read = Figures(reference)
        self._moments: dict[tuple[str, Point], Moments] = {}

    def figures(self, names: Sequence[str], trains: bool = False) -> Evaluate:
        """A function that returns these figures of a member, from a forward pass or from a training step."""

        def evaluate(point: Point) -> Mapping[str, int] | None:
            key = trains, point
            if key not in self._seen:
                self._seen[key] = self._evaluated(point, trains)
            figures = self._seen[key]
            return None if figures is None else {name: figures.get(name, 0) for name in (*names, CALLS)}

        return evaluate

    def moments(self, name: str) -> MomentsAt:
        """A function that returns a figure of a member at each op call of its training step."""
        evaluate = self.figures((), True)
        return lambda point: None if evaluate(point) is None else self._moments[name, point]

    def types(self, point: Point) -> list[str]:
        """The types of modules that have MACs of their own in a member, as figures."""
        self.figures((), False)(point)
        return [name for name, macs in (self._seen[False, point] or {}).items() if name.startswith(TYPE) and macs]

    def report(self, point: Point, trains: bool) -> Report:
        """The report of a member, of which the wanted figures are kept; raises what tracing it raises."""
        values = dict(zip(self.knobs, point, strict=True))
        wanted = [metric for metric in self.wanted if metric.trains is trains]
        if self._is_own(values) and not trains:
            report = analyze(self.own, analyses_for(wanted))
        else:
            report = member_report(self.reference, self.setup, values, wanted, trains)
        self.traced(len(report.trace.calls))
        self._seen[trains, point] = self._figures(report, point, wanted, trains)
        return report

    def values(self, point: Point, metrics: Sequence[Metric]) -> Mapping[str, int]:
        """These figures of a member, from one training step if one of them is of a step; raises what tracing raises."""
        trains = any(metric.trains for metric in metrics)
        report = member_report(self.reference, self.setup, dict(zip(self.knobs, point, strict=True)), metrics, trains)
        self.traced(len(report.trace.calls))
        return self._of(metrics, point, report)

    def _of(self, metrics: Sequence[Metric], point: Point, report: Report) -> dict[str, int]:
        """The figures of a member whose report is there."""
        setup = at_point(self.setup, dict(zip(self.knobs, point, strict=True)))
        return {name: int(figure) for name, figure in self._read.of(metrics, setup, lambda _: report).items()}

    def _is_own(self, values: Mapping[str, int]) -> bool:
        """Whether the member is the network itself: one of the catalogue, which is built from its configuration alone.

        The user's code may tell a default from the same value that it was given, and sizes of inputs are no settings.
        """
        model = self.own.model
        each = {name: number for knobs, number in values.items() for name in knobs.split("=")}
        settings = model.source == "builtin" and each.keys().isdisjoint(SHORTHANDS)
        return settings and all(model.config.get(name) == number for name, number in each.items())

    def _evaluated(self, point: Point, trains: bool) -> Mapping[str, int] | None:
        try:
            self.report(point, trains)
        except ArchcalcError:
            return None
        return self._seen[trains, point]

    def _figures(self, report: Report, point: Point, wanted: Sequence[Metric], trains: bool) -> Mapping[str, int]:
        figures = self._of(wanted, point, report)
        for metric in wanted:
            if metric.moments:
                self._moments[metric.name, point] = Moments(_ops(report), tuple(metric.moments(report)))
        figures[CALLS] = len(report.trace.calls)
        for layer in () if trains else report.root.walk():
            figures[TYPE + layer.type] = figures.get(TYPE + layer.type, 0) + layer.own["macs"]
        return figures


def _ops(report: Report) -> tuple[str, ...]:
    """The ops of the training step whose memory is reported."""
    return tuple(sys.intern(call.op) for call in report.trace.calls[slice(*report.record(LiveBytes).span)])


def at_point(setup: Setup, values: Mapping[str, Any]) -> Setup:
    """The setup with knobs, or the shorthands batch, size and seq_len, at some values; 'a=b' sets both knobs."""
    each = {name: number for knobs, number in values.items() for name in knobs.split("=")}
    own = {knob: number for knob, number in each.items() if knob not in SHORTHANDS}
    changed: dict[str, Any] = {"knobs": {**setup.knobs, **own}}
    for name in SHORTHANDS:
        if name in each:
            if type(each[name]) is not int or each[name] < 1:
                raise BadInput(f"{name}={each[name]} is not a size.", "sizes are whole numbers from 1")
            changed[name] = (each[name], each[name]) if name == "size" else each[name]
    return replace(setup, **changed)


def member_report(
    reference: str | Subject, setup: Setup, values: Mapping[str, Any], metrics: Sequence[Metric], trains: bool
) -> Report:
    """The report of a model with knobs at some values, of a forward pass or of a training step, for some figures."""
    setup = replace(at_point(setup, values), training=(setup.training or Training()) if trains else None)
    return analyze(engine.trace(reference, setup), analyses_for(metrics))
