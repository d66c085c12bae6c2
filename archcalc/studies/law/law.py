"""Laws of a model: exact formulas for its figures in its knobs, found on members and checked on members apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import comb

from archcalc import engine
from archcalc.analyses import Flops, Params, Report, Traffic, analyze
from archcalc.analyses.metrics import METRICS, Metric, demand_ops, formula_metric_named, metric_named
from archcalc.engine.setup import Setup
from archcalc.engine.subject import Subject
from archcalc.errors import ArchcalcError, UnknownKnob, WrongUse
from archcalc.studies.gc_pauses import gc_paused
from archcalc.studies.law.interpolation import Law, closed_law, law
from archcalc.studies.law.lattice import Lattice, Point, Refused, lattices
from archcalc.studies.law.members import SHORTHANDS, TYPE, Members, Traced
from archcalc.studies.law.moments import law_of_moments
from archcalc.studies.observer import SILENT, Observer
from archcalc.text.faces import Shown

DEFAULT = ("params", "macs", "saved_total_bytes", "peak_bytes", "graph_depth")
LATTICE = ("params", "macs", "graph_depth")
"""The figures that decide on the lattice: they need a forward pass alone."""
Measured = Sequence[tuple[Point, Mapping[str, int]]]
"""Members by the values of the knobs, each with its figures."""


@dataclass(frozen=True, repr=False)
class Laws(Shown):
    """The laws of a model over its knobs.

    `report` is that of the network itself; `over` are the knobs ("a=b" ties two), `base` their values there; `refused`
    are the figures that have no law; `by_type` the laws of the MACs that are each module type's own; `measured` what
    was traced beside the laws.
    """

    report: Report
    over: Sequence[str]
    base: Mapping[str, int]
    laws: Sequence[Law]
    refused: Sequence[Refused]
    by_type: Mapping[str, Law]
    members: Members
    measured: Measured = ()

    def __repr__(self) -> str:
        """One line."""
        return f"<Laws of {self.report.trace.model.name} over {', '.join(self.over)}: {len(self.laws)} found>"

    @property
    def knobs(self) -> list[str]:
        """The first knob of each."""
        return [knob.partition("=")[0] for knob in self.over]

    def values(self, point: Point) -> Mapping[str, int]:
        """The figures that have a law at one member; raises what tracing it raises."""
        return self.members.values(point, [metric_named(law.figure) for law in self.laws])

    def points(self) -> list[tuple[int, int]]:
        """Members along the one knob with the first law's figure: those measured, or those the law was found on."""
        first = self.laws[0]
        numbers = [point[0] for point, _ in self.measured] or [*first.lattice[0].nodes(), first.farthest[0]]
        return [(number, self.values((number,))[first.figure]) for number in sorted(set(numbers))]


def laws(
    reference: str | Subject,
    setup: Setup,
    over: Sequence[str],
    figures: Sequence[str] = (),
    measure: Sequence[int | Point] = (),
    observer: Observer = SILENT,
) -> Laws:
    """The laws of a model's figures over knobs; raises what tracing the model itself raises.

    `setup` describes the training step for figures that need one. The members `measure`, each a value of the one knob
    or a tuple of a value for each, are traced beside the laws; a law that such a member of its domain contradicts is
    withdrawn.
    """
    points = [(member,) if isinstance(member, int) else tuple(member) for member in measure]
    if any(len(point) != len(over) for point in points):
        raise WrongUse(
            f"a member to measure needs a value for each of {', '.join(over)}.", "give as many numbers as knobs"
        )
    with gc_paused() as ran:
        done = 0

        def traced(calls: int) -> None:
            nonlocal done
            done += 1
            observer.advance()
            ran(calls)

        def found(kinds: int) -> None:
            observer.estimate(done + expected_members(len(over), kinds))

        result = _laws(reference, setup, over, figures, traced, found)
    measured = [(point, result.values(point)) for point in points] if result.laws else []
    return _withdrawn(replace(result, measured=measured))


NODES, FAR = 7, 4
"""Values of a knob that a law is found on, and values far from them that it is checked at, in most cases."""


def expected_members(knobs: int, kinds: int) -> int:
    """About how many members are traced once their lattices are known, for so many kinds of run (forward, training).

    A polynomial in k knobs has as many terms of degree < 7 as members are needed: (6 + k) over k; those along one knob
    were traced for the lattices, in one kind of run.

    >>> expected_members(1, 2), expected_members(2, 1)  # 2·(7 + 4) - 7, 28 + 2·4 - 2·7
    (15, 22)
    """
    return kinds * (comb(NODES - 1 + knobs, knobs) + FAR * knobs) - NODES * knobs


def _withdrawn(result: Laws) -> Laws:
    """Without the laws that a measured member of their lattice contradicts."""
    kept, refused = [], list(result.refused)
    for law_ in result.laws:
        wrong = [point for point, of in result.measured if law_.has(point) and law_.value(point) != of[law_.figure]]
        if wrong:
            at = ", ".join(f"{knob} = {number}" for knob, number in zip(result.knobs, wrong[0], strict=True))
            refused.append(Refused(law_.figure, f"the formula through small members fails at {at}"))
        else:
            kept.append(law_)
    return replace(result, laws=kept, refused=refused)


def _laws(
    reference: str | Subject,
    setup: Setup,
    over: Sequence[str],
    wanted: Sequence[str],
    traced: Traced,
    found: Callable[[int], None],
) -> Laws:
    report = analyze(engine.trace(reference, replace(setup, training=None)), (Params(), Flops(), Traffic()))
    if not over:
        raise WrongUse(
            "law needs to know what grows.", f"add  --over KNOB: {', '.join((*_countable(report), *SHORTHANDS))}"
        )
    base = {knob: _base(report, knob.partition("=")[0]) for knob in over}
    for tied in (name for knob in over for name in knob.split("=")[1:]):
        _base(report, tied)
    asked = [formula_metric_named(name) for name in wanted or DEFAULT]
    members = Members(reference, setup, over, [*asked, *(METRICS[name] for name in LATTICE)], traced, report.trace)
    members.report(tuple(base.values()), False)  # tells of sizes that nothing has, and of no cache
    if wanted and any(metric.trains for metric in asked):
        step = members.report(tuple(base.values()), True)  # tells of a wrong optimizer, and of what cannot be trained
        for metric in asked:
            demand_ops(metric, step.trace)
    untrained = [] if wanted else _untrained(members, base, asked)
    figures = [metric for metric in asked if metric.name not in {refused.figure for refused in untrained}]
    on = lattices(members.figures(LATTICE), base)
    if isinstance(on, Refused):
        return Laws(
            report, over, base, [], [*untrained, *(Refused(metric.name, on.reason) for metric in figures)], {}, members
        )
    found(len({metric.trains for metric in figures}))
    own = tuple(base.values())
    results = [_law(members, metric, on, own) for metric in figures]
    laws = [result for result in results if isinstance(result, Law)]
    refused = [*untrained, *(result for result in results if isinstance(result, Refused))]
    types = _by_type(members, on) if len(over) == 1 and any(law_.figure == "macs" for law_ in laws) else {}
    return Laws(report, over, base, laws, refused, types, members)


def _law(members: Members, metric: Metric, on: Sequence[Lattice], own: Point) -> Law | Refused:
    """The law of one figure; of one that is the highest of moments by its moments, else up to the members checked."""
    evaluate = members.figures([metric.name], metric.trains)
    if metric.moments is None:
        return law(metric.name, evaluate, on, own)
    return law_of_moments(metric.name, members.moments(metric.name), on, own) or closed_law(
        metric.name, evaluate, on, own
    )


def _untrained(members: Members, base: Mapping[str, int], figures: Sequence[Metric]) -> list[Refused]:
    """The figures of a training step, if the model has none, with the reason."""
    own = tuple(base.values())
    if members.figures((), True)(own) is None:
        try:
            members.report(own, True)
        except ArchcalcError as error:
            return [Refused(metric.name, error.message) for metric in figures if metric.trains]
    return []


def _by_type(members: Members, on: Sequence[Lattice]) -> Mapping[str, Law]:
    """The MACs of each type of module as a law of their own."""
    kinds = members.types(tuple(lattice.nodes()[0] for lattice in on))
    results = {kind.removeprefix(TYPE): law(kind, members.figures([kind]), on) for kind in kinds}
    return {kind: result for kind, result in results.items() if isinstance(result, Law)}


def _to_grow(knob: str, value: object) -> str:
    """The setting from which a knob can grow that is 0, for a hint."""
    return f"give it a size with  --set {knob}=2 , or " if type(value) is int and value == 0 else ""


def _base(report: Report, knob: str) -> int:
    """The value that a knob has where nothing is set: of the network, or of its input."""
    trace = report.trace
    if knob in trace.model.config and knob not in ("batch", "size"):
        value = trace.model.config[knob]
        if type(value) is not int or value < 1:
            raise WrongUse(
                f"{trace.model.name}: {knob} is {value}, and a law needs a number that can grow.",
                f"{_to_grow(knob, value)}choose one of  {', '.join(_countable(report))}",
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
