"""A sweep: the members of a grid with their figures, those that a condition chooses, and their Pareto front."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from archcalc import engine
from archcalc.analyses.metrics import Metric, demand_ops, metric_named
from archcalc.engine.setup import Setup
from archcalc.engine.subject import Subject
from archcalc.errors import WrongUse
from archcalc.studies.law.members import SHORTHANDS, at_point, member_report
from archcalc.studies.observer import SILENT, Observer
from archcalc.studies.speed.target import with_kernels
from archcalc.studies.sweep.conditions import condition
from archcalc.studies.sweep.grid import Member, axes, grid
from archcalc.studies.sweep.measuring import Grid, run, team_named
from archcalc.studies.sweep.pareto import front
from archcalc.studies.sweep.store import Row, Store
from archcalc.text.faces import Shown
from archcalc.text.spelling import setting

DEFAULT = ("params", "macs")
Way = tuple[str, bool]
"""A figure, and whether more of it is better."""


@dataclass(frozen=True)
class Choice:
    """Which members are shown: those that meet all conditions. The key to sort by, the front ("macs,params:max")."""

    where: str | Sequence[str] = ()
    sort: str = ""
    pareto: str = ""

    @property
    def conditions(self) -> list[str]:
        """The conditions one by one."""
        each = [self.where] if isinstance(self.where, str) else self.where
        return [text for text in each if text]

    @property
    def words(self) -> str:
        """All conditions as one."""
        each = self.conditions
        return " and ".join(f"({text})" if len(each) > 1 and " or " in text else text for text in each)


@dataclass(frozen=True)
class Workers:
    """The workers that measure members: `jobs` processes, or a cluster at dask://HOST:PORT.

    Without either, this process measures, and one process for each core once they are worth their start.
    """

    jobs: int | None = None
    executor: str = ""


@dataclass(frozen=True, repr=False)
class Swept(Shown):
    """The chosen rows of a sweep of `members`, each with `pareto`; the two figures of the front; the errors.

    `errors` are pairs of a member that could not be measured, in words, and the sentence of its error. `setup` is that
    of all members, and `dtype` the type of floats that they have by it or by their configuration.
    """

    reference: str
    knobs: Sequence[str]
    figures: Sequence[str]
    rows: Sequence[Row]
    members: int
    where: str
    front: Sequence[Way]
    errors: Sequence[tuple[str, str]]
    setup: Setup
    dtype: str

    def __repr__(self) -> str:
        """One line."""
        return f"<Swept {self.reference}: {len(self.rows):,} of {self.members:,} members>"

    @property
    def trains(self) -> bool:
        """Whether a figure is one of a training step."""
        return any(metric_named(name).trains for name in self.figures)


def sweep(
    reference: str | Subject,
    setup: Setup,
    values: Sequence[str],
    figures: Sequence[str] = DEFAULT,
    choice: Choice = Choice(),
    *,
    workers: Workers = Workers(),
    file: str = "",
    observer: Observer = SILENT,
) -> Swept:
    """Measure the grid of `values` ("depth=40:250:30", "growth_rate=12,24") and choose what is shown.

    Everything that was typed is checked before anything is measured. `file` (.csv, .jsonl) keeps each member as soon as
    it is measured, and a later sweep goes on from it. Raises WrongUse, and what tracing the first member raises if none
    can be measured.
    """
    named = axes(values)
    members = grid(named)
    names = list(dict.fromkeys(metric_named(name).name for name in figures))
    _demand_apart(named, names, setup)
    setup = with_kernels(setup, [metric_named(name).on for name in names])
    holds, ways = _holds(choice, [*named, *names]), _ways(choice.pareto, names)
    measured = Grid(reference, setup, members, names)
    with (
        Store(file, measured.title, measured.knobs, names) as store,
        team_named(workers.executor, workers.jobs, len(members)) as team,
        closing(run(measured, team, store, observer)) as measuring,
    ):
        found = _collected(measuring, list(named), names, holds)
    if found.first is None:
        engine.trace(reference, at_point(setup, members[0]))  # tells why, as every command does
    example = members[found.first or 0]
    _demand_ops(reference, setup, [metric_named(name) for name in found.zero], example)
    rows = _marked([found.rows[number] for number in sorted(found.rows)], choice.sort, ways)
    errors = [found.errors[number] for number in sorted(found.errors)]
    dtype = _floats(reference, at_point(setup, example))
    return Swept(str(reference), list(named), names, rows, len(members), choice.words, ways, errors, setup, dtype)


@dataclass
class _Found:
    """What a sweep holds of its members, by their numbers in the grid.

    The `rows` that are shown, the `errors` as `Swept` has them, the figures that are `zero` in every row, and the
    `first` member that could be measured.
    """

    rows: dict[int, Row]
    errors: dict[int, tuple[str, str]]
    zero: set[str]
    first: int | None = None


def _collected(
    measuring: Iterable[tuple[int, Row]],
    knobs: Sequence[str],
    names: Sequence[str],
    holds: Callable[[Row], bool] | None,
) -> _Found:
    """The rows for which the condition holds; the others are let go as they come."""
    found = _Found({}, {}, set(names))
    for number, row in measuring:
        if row["error"]:
            found.errors[number] = _words(row, knobs), row["error"]
            continue
        found.first = number if found.first is None else min(found.first, number)
        found.zero -= {name for name in found.zero if row[name]}
        if holds is None or holds(row):
            found.rows[number] = row
    return found


def _marked(rows: list[Row], sort: str, ways: Sequence[Way]) -> list[Row]:
    """The rows in order, each with whether it is on the front."""
    if sort:
        rows.sort(key=lambda row: row[sort])
    best = set(front(rows, *ways)) if ways else set()
    for number, row in enumerate(rows):
        row["pareto"] = number in best
    return rows


def _floats(reference: str | Subject, setup: Setup) -> str:
    """The type of floats of a member: that of the setup, or else what a configuration of transformers states."""
    if setup.dtype or not isinstance(reference, str) or not reference.startswith("hf:"):
        return setup.floats
    return str(engine.definition(reference, setup).assumptions["dtype"])


def _demand_apart(named: Mapping[str, Any], names: Sequence[str], setup: Setup) -> None:
    """WrongUse for a knob that is a figure too, and for a shorthand that is given twice."""
    both = [name for name in named if name in names]
    if both:
        raise WrongUse(f"{both[0]} is a knob and a figure at once.", "choose other figures with  --figure")
    taken = [name for name in SHORTHANDS if name in named and getattr(setup, name)]
    if taken:
        raise WrongUse(f"--{taken[0].replace('_', '-')} is given beside --set {taken[0]}.", "leave one of them out")


def _demand_ops(reference: str | Subject, setup: Setup, none: Sequence[Metric], member: Member) -> None:
    """WrongUse for a figure that is 0 everywhere because no op has the name that it is of."""
    for metric in none:
        if metric.ops:
            demand_ops(metric, member_report(reference, setup, member, [metric], trains=True).trace)


def _holds(choice: Choice, known: Sequence[str]) -> Callable[[Row], bool] | None:
    """The test of the condition, None without one; WrongUse also for a key that rows cannot be sorted by."""
    tests = [condition(text, known) for text in choice.conditions]
    if choice.sort and choice.sort not in known:
        raise WrongUse(f"cannot sort by '{choice.sort}'.", f"sort by one of  {', '.join(known)}")
    return (lambda row: all(test(row) for test in tests)) if tests else None


def _words(row: Mapping[str, Any], knobs: Sequence[str]) -> str:
    return ", ".join(f"{knob}={setting(row[knob])}" for knob in knobs)


def _ways(text: str, figures: Sequence[str]) -> list[Way]:
    """'macs,params:max' as figures with whether more is better; the first two figures, less of both, by default."""
    if not text:
        return [(name, False) for name in figures[:2]] if len(figures) > 1 else []
    ways = []
    for part in text.split(","):
        name, _, way = part.strip().rpartition(":")
        if way not in ("min", "max"):  # the name may have a colon
            name, way = part.strip(), ""
        if name not in figures:
            raise WrongUse(
                f"'--pareto {text}' names no two figures.", f"two of  {', '.join(figures)}, as in  macs,params:max"
            )
        ways.append((name, way == "max"))
    if len(ways) != 2 or ways[0][0] == ways[1][0]:
        raise WrongUse(f"'--pareto {text}' names no two figures.", f"two of  {', '.join(figures)}")
    return ways
