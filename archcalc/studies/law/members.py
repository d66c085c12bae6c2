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

TYPE = "macs of "
"""Before the name of a type of module: the MACs that are its own."""
Traced = Callable[[int], None]
"""Told how many op calls each trace has."""
SHORTHANDS = ("batch", "size", "seq_len")


class Members:
    """The figures of members, each traced once a kind; `traced` is told how many op calls each trace has."""

    def __init__(
        self, reference: str | Subject, setup: Setup, knobs: Sequence[str], wanted: Sequence[Metric], traced: Traced
    ) -> None:
        self.reference, self.setup, self.knobs, self.wanted, self.traced = reference, setup, knobs, wanted, traced
        self._seen: dict[tuple[bool, Point], Mapping[str, int] | None] = {}
        self._served: dict[str, Serving] = {}
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
        report = member_report(self.reference, self.setup, values, wanted, trains)
        self.traced(len(report.trace.calls))
        self._seen[trains, point] = self._figures(report, point, wanted, trains)
        return report

    def values(self, point: Point, metrics: Sequence[Metric]) -> Mapping[str, int]:
        """These figures of a member, from one training step if one of them is of a step; raises what tracing raises."""
        trains = any(metric.trains for metric in metrics)
        report = member_report(self.reference, self.setup, dict(zip(self.knobs, point, strict=True)), metrics, trains)
        self.traced(len(report.trace.calls))
        return {metric.name: self.figure(metric, point, report) for metric in metrics}

    def figure(self, metric: Metric, point: Point, report: Report) -> int:
        """A figure of a member whose report is there; one of a cache comes from runs of its own."""
        if metric.name not in FIGURES:
            return int(metric.of(report))
        setup = at_point(self.setup, dict(zip(self.knobs, point, strict=True)))
        key = repr(without_sizes(setup))
        if key not in self._served:
            self._served[key] = bare(self.reference, setup)
        return FIGURES[metric.name](self._served[key], setup)

    def _evaluated(self, point: Point, trains: bool) -> Mapping[str, int] | None:
        try:
            self.report(point, trains)
        except ArchcalcError:
            return None
        return self._seen[trains, point]

    def _figures(self, report: Report, point: Point, wanted: Sequence[Metric], trains: bool) -> Mapping[str, int]:
        figures = {}
        for metric in wanted:
            figures[metric.name] = self.figure(metric, point, report)
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
