"""`law`: members of a family traced one by one, and the formulas that go through their figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from archcalc import engine
from archcalc.analyses import analyze
from archcalc.analyses.metrics import FIGURES, Figure, figure_named
from archcalc.analyses.report import Report
from archcalc.cli.options import Options
from archcalc.cli.output import counting
from archcalc.engine import Setup, Training
from archcalc.errors import ArchcalcError, BadInput, UnknownKnob, WrongUse
from archcalc.render import plots
from archcalc.render.document import Document
from archcalc.render.formulas import as_written, letters
from archcalc.render.pages import law as views
from archcalc.render.plots import SUFFIXES
from archcalc.studies.gc_pauses import many_runs
from archcalc.studies.law.interpolation import CALLS, Evaluate, Lattice, Law, Point, Refused, lattices, law
from archcalc.studies.law.polynomials import value

DEFAULT = ("params", "macs", "saved_total_bytes", "peak_bytes", "graph_depth")
LATTICE = ("params", "macs", "graph_depth")
"""The figures that decide on the lattice: they need a forward pass alone."""
TYPE = "macs of "
"""Before the name of a type of module: the MACs that are its own."""
Traced = Callable[[int], None]
SHORTHANDS = ("batch", "size", "seq_len")
MOST = 500
"""Values that --measure tabulates at most."""


@dataclass(frozen=True)
class Asked:
    """What was asked: the model, the knobs as typed, the figures, the values to measure, and how to show it."""

    model: str
    over: str
    figures: tuple[str, ...]
    measure: str
    latex: bool
    plot: bool


@dataclass(frozen=True)
class Found:
    """The report of the network itself, the base of its knobs, its laws, and the figures that have none."""

    report: Report
    base: Mapping[str, int]
    laws: Sequence[Law]
    refused: Sequence[Refused]
    by_type: Mapping[str, Law]
    members: Members

    def values(self, point: Point) -> Mapping[str, int]:
        """The figures that have a law at one member; raises what tracing it raises."""
        figures = [figure_named(one.figure) for one in self.laws]
        report = self.members.report(point, any(one.trains for one in figures))
        return {one.name: one.of(report) for one in figures}


class Members:
    """The figures of members, each traced once a kind; `traced` is told how many op calls each trace has."""

    def __init__(
        self, reference: str, setup: Setup, knobs: Sequence[str], wanted: Sequence[Figure], traced: Traced
    ) -> None:
        self.reference, self.setup, self.knobs, self.wanted, self.traced = reference, setup, knobs, wanted, traced
        self._seen: dict[tuple[bool, Point], Mapping[str, int] | None] = {}

    def figures(self, names: Sequence[str], trains: bool = False) -> Evaluate:
        """What gives these figures of a member; of a forward pass, or of a training step."""

        def evaluate(point: Point) -> Mapping[str, int] | None:
            key = trains, point
            if key not in self._seen:
                self._seen[key] = self._evaluated(point, trains)
            figures = self._seen[key]
            return None if figures is None else {name: figures.get(name, 0) for name in (*names, CALLS)}

        return evaluate

    def types(self, point: Point) -> list[str]:
        """The types of modules that have MACs of their own in a member, as figures."""
        self.figures((), False)(point)
        return [name for name, macs in (self._seen[False, point] or {}).items() if name.startswith(TYPE) and macs]

    def report(self, point: Point, trains: bool) -> Report:
        """The report of a member; raises what tracing it raises."""
        report = member_report(self.reference, self.setup, dict(zip(self.knobs, point, strict=True)), trains)
        self.traced(len(report.trace.calls))
        return report

    def _evaluated(self, point: Point, trains: bool) -> Mapping[str, int] | None:
        try:
            report = self.report(point, trains)
        except ArchcalcError:
            return None
        found = {one.name: one.of(report) for one in self.wanted if one.trains is trains}
        found[CALLS] = len(report.trace.calls)
        for layer in () if trains else report.root.walk():
            found[TYPE + layer.type] = found.get(TYPE + layer.type, 0) + layer.own["macs"]
        return found


def at_point(setup: Setup, values: Mapping[str, Any]) -> Setup:
    """The setup with knobs, or the shorthands batch, size and seq_len, at some values; 'a=b' sets both knobs."""
    each = {name: number for knobs, number in values.items() for name in knobs.split("=")}
    own = {knob: number for knob, number in each.items() if knob not in SHORTHANDS}
    changed: dict[str, Any] = {"knobs": {**setup.knobs, **own}}
    for name in SHORTHANDS:
        if name in each:
            if type(each[name]) is not int or each[name] < 1:
                raise BadInput(f"{name}={each[name]} is no size.", "sizes are whole numbers from 1")
            changed[name] = (each[name], each[name]) if name == "size" else each[name]
    return replace(setup, **changed)


def member_report(reference: str, setup: Setup, values: Mapping[str, Any], trains: bool) -> Report:
    """The report of a model with knobs at some values: of a forward pass, or of a training step."""
    setup = replace(at_point(setup, values), training=(setup.training or Training()) if trains else None)
    names = ("params", "flops", "memory", "backward") if trains else ("params", "flops")
    return analyze(engine.trace(reference, setup), names)


def answer(asked: Asked, options: Options) -> tuple[Document, bool]:
    """The document, and whether every figure that was asked for has its law."""
    if not asked.model:
        raise WrongUse(
            "law needs a model.", "type  archcalc law MODEL --over KNOB  or  archcalc law --table self-attention"
        )
    over = [knob.strip().replace("-", "_") for knob in asked.over.split(",") if knob.strip()]
    if len(set(over)) < len(over):
        raise WrongUse("--over names a knob twice.", "name each knob once")
    figures = [figure_named(name).name for name in asked.figures]
    values = parse_range(asked.measure)
    picture = Path(options.output).suffix.lower() in SUFFIXES
    if (values or asked.plot or picture) and len(over) != 1:
        raise WrongUse("--measure and --plot follow one knob.", "give one knob to  --over")
    with counting("members traced", options.quiet) as watch:
        result = found(asked.model, with_step(options), over, figures, watch)
        measured = [(number, result.values((number,))) for number in values] if result.laws else []
        result = _withdrawn(result, measured)
    document = views.laws(
        result.report,
        [knob.partition("=")[0] for knob in over],
        result.laws,
        result.refused,
        by_type=result.by_type,
        latex=asked.latex,
        measured=measured,
        step=step_words(with_step(options)),
    )
    if result.laws and (asked.plot or picture):
        document = _drawn(document, result, over, measured, options.output if picture else "")
    return document, not result.refused


def with_step(options: Options) -> Setup:
    """The setup of the options with the training step that they describe, for those figures that need one."""
    return replace(replace(options, train=True, mode="eval").setup, mode=options.mode)


def step_words(setup: Setup) -> str:
    """What a training step of this setup assumes."""
    training = setup.training or Training()
    words = [setup.dtype, training.optimizer, f"loss {training.loss}"]
    words += [f"device {setup.device}"] if setup.device else []
    words += [f"attention {setup.attention}"] if setup.attention != "auto" else []
    words += [f"autocast {setup.amp}"] if setup.amp else []
    words += [f"frozen {', '.join(training.frozen)}"] if training.frozen else []
    words += [f"checkpointed {', '.join(training.checkpoint)}"] if training.checkpoint else []
    words += [f"gradients of {training.accumulation} batches added up"] if training.accumulation > 1 else []
    return ", ".join(words)


def _withdrawn(result: Found, measured: views.Measured) -> Found:
    """Without the laws that a measured member of their lattice contradicts."""
    kept, refused = [], list(result.refused)
    for one in result.laws:
        on = [
            number for number, figures in measured if one.lattice[0].has(number) and not _agrees(one, number, figures)
        ]
        if on:
            refused.append(
                Refused(one.figure, f"the formula through small members fails at {one.lattice[0].knob} = {on[0]}")
            )
        else:
            kept.append(one)
    return replace(result, laws=kept, refused=refused)


def _agrees(law_: Law, number: int, figures: Mapping[str, int]) -> bool:
    return value(law_.formula, [number]) == figures[law_.figure]


def _drawn(document: Document, result: Found, over: Sequence[str], measured: views.Measured, file: str) -> Document:
    """The first law's curve above the notes, or written to a file that is a picture."""
    law_, knob = result.laws[0], over[0].partition("=")[0]
    numbers = [number for number, _ in measured] or [*law_.lattice[0].nodes(), law_.farthest[0]]
    points = [(number, result.values((number,))[law_.figure]) for number in sorted(set(numbers))]
    figure, letter = figure_named(law_.figure), letters([knob])[knob]
    title = f"{result.report.trace.model.name}: {as_written(law_.formula, [knob])}"
    x = letter if letter == knob else f"{letter} = {knob}"
    y = figure.words if figure.unit in figure.words else f"{figure.words}, {figure.unit}"
    curve = plots.Curve(title, x, y, points, lambda at: _value(law_, at))
    if file:
        return replace(document, picture=plots.as_picture(curve, Path(file).suffix.lower()[1:]))
    return replace(document, foot=[*plots.as_text(curve), "", *document.foot])


def _value(law_: Law, at: float) -> float:
    return sum(float(coefficient) * at ** powers[0] for powers, coefficient in law_.formula.items())


def parse_range(text: str) -> list[int]:
    """'10:100:10' as 10, 20, ..., 100; nothing for ''. WrongUse shows the form.

    >>> parse_range("10:40:10"), parse_range("")
    ([10, 20, 30, 40], [])
    """
    if not text:
        return []
    match = re.fullmatch(r"(\d+):(\d+)(?::(\d+))?", text.strip())
    first, last, step = (int(part or 1) for part in match.groups()) if match else (0, 0, 0)
    if not 0 < first <= last or step < 1 or (last - first) // step >= MOST:
        raise WrongUse(f"'{text}' is not a range of at most {MOST} values.", "write  --measure 10:100:10")
    return list(range(first, last + 1, step))


def found(reference: str, setup: Setup, over: Sequence[str], wanted: Sequence[str], watch: Callable[[], None]) -> Found:
    """The laws of a model's figures over its knobs; raises what tracing the model itself raises."""
    with many_runs() as ran:

        def traced(calls: int) -> None:
            watch()
            ran(calls)

        return _found(reference, setup, over, wanted, traced)


def _found(reference: str, setup: Setup, over: Sequence[str], wanted: Sequence[str], traced: Traced) -> Found:
    report = analyze(engine.trace(reference, replace(setup, training=None)), ("params", "flops"))
    if not over:
        raise WrongUse(
            "law needs to know what grows.", f"add  --over KNOB: {', '.join((*_countable(report), *SHORTHANDS))}"
        )
    base = {knob: _base(report, knob.partition("=")[0]) for knob in over}
    for tied in (name for knob in over for name in knob.split("=")[1:]):
        _base(report, tied)
    asked = [figure_named(name) for name in wanted or DEFAULT]
    members = Members(reference, setup, over, [*asked, *(FIGURES[name] for name in LATTICE)], traced)
    members.report(tuple(base.values()), False)  # tells of a shorthand that the input has no axis for
    if wanted and any(one.trains for one in asked):
        members.report(tuple(base.values()), True)  # tells of a wrong optimizer, and of what cannot be trained
    figures = asked if wanted else _trainable(members, base, asked)
    on = lattices(members.figures(LATTICE), base)
    if isinstance(on, Refused):
        return Found(report, base, [], [Refused(one.name, on.reason) for one in figures], {}, members)
    own = tuple(base.values())
    results = [law(one.name, members.figures([one.name], one.trains), on, own) for one in figures]
    laws = [one for one in results if isinstance(one, Law)]
    refused = [one for one in results if isinstance(one, Refused)]
    types = _by_type(members, on) if len(over) == 1 and any(one.figure == "macs" for one in laws) else {}
    return Found(report, base, laws, refused, types, members)


def _trainable(members: Members, base: Mapping[str, int], figures: Sequence[Figure]) -> Sequence[Figure]:
    """All figures; those of training only where the model can be trained."""
    trains = members.figures((), True)(tuple(base.values())) is not None
    return [one for one in figures if trains or not one.trains]


def _by_type(members: Members, on: Sequence[Lattice]) -> Mapping[str, Law]:
    """The MACs of each type of module as a law of their own."""
    kinds = members.types(tuple(lattice.nodes()[0] for lattice in on))
    results = {kind.removeprefix(TYPE): law(kind, members.figures([kind]), on) for kind in kinds}
    return {kind: one for kind, one in results.items() if isinstance(one, Law)}


def _base(report: Report, knob: str) -> int:
    """The value that a knob has where nothing is set: of the network, or of its input."""
    trace = report.trace
    if knob in trace.model.config and knob not in ("batch", "size"):
        value = trace.model.config[knob]
        if type(value) is not int or value < 1:
            raise WrongUse(
                f"{trace.model.name}: {knob} is {value}, and a law needs a number that can grow.",
                f"choose one of  {', '.join(_countable(report))}",
            )
        return value
    shape = trace.inputs[0].shape if trace.inputs else ()
    position = {"batch": 0, "size": -1, "seq_len": 1}.get(knob)
    if position is None:
        raise UnknownKnob(knob, trace.model.name, [*_countable(report), *SHORTHANDS])
    if len(shape) < 2:
        raise WrongUse(
            f"{trace.model.name} has no input with a {knob}.", f"choose one of  {', '.join(_countable(report))}"
        )
    return shape[position]


def _countable(report: Report) -> list[str]:
    return [knob for knob, value in report.trace.model.config.items() if type(value) is int and value > 0]
