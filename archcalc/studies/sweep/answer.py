"""What `sweep` was asked, and the document that answers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from archcalc import engine
from archcalc.analyses.metrics import figure_named
from archcalc.cli.options import Options
from archcalc.cli.output import counting
from archcalc.errors import WrongUse
from archcalc.render.document import Document
from archcalc.render.pages import sweep as sweeps
from archcalc.render.pages.views import setting
from archcalc.studies.law.members import SHORTHANDS, at_point, step_words, with_step
from archcalc.studies.sweep.conditions import condition, front
from archcalc.studies.sweep.run import Sweep, axes, executor_named, grid, run
from archcalc.studies.sweep.store import Store

DEFAULT = ("params", "macs")


@dataclass(frozen=True)
class SweepAsked:
    """The options of its own."""

    model: str
    figures: tuple[str, ...]
    where: str
    sort: str
    pareto: str
    jobs: int | None
    executor: str


def answer(asked: SweepAsked, options: Options) -> Document:
    """Measure the grid and choose what is shown; everything that was typed is checked before anything is measured."""
    named = axes(options.set_)
    members = grid(named)
    figures = [figure_named(name).name for name in asked.figures or DEFAULT]
    figures = list(dict.fromkeys(figures))
    known = [*named, *figures]
    both = [name for name in named if name in figures]
    if both:
        raise WrongUse(f"{both[0]} is a knob and a figure at once.", "choose other figures with  --figure")
    taken = [name for name in SHORTHANDS if name in named and getattr(options, name)]
    if taken:
        raise WrongUse(f"--{taken[0].replace('_', '-')} is given beside --set {taken[0]}.", "leave one of them out")
    holds = condition(asked.where, known) if asked.where else None
    if asked.sort and asked.sort not in known:
        raise WrongUse(f"cannot sort by '{asked.sort}'.", f"sort by one of  {', '.join(known)}")
    ways = _front(asked.pareto, figures)
    setup = with_step(replace(options, set_=[], output=""))
    sweep = Sweep(asked.model, setup, members, figures)
    store = Store(options.output, sweep.title, sweep.knobs, figures)
    with (
        executor_named(asked.executor, asked.jobs, len(members)) as executor,
        counting(f"of {len(members):,} members", options.quiet) as watch,
    ):
        rows = run(sweep, executor, store, watch)
    good = [row for row in rows if not row["error"]]
    if not good:
        engine.trace(asked.model, at_point(setup, members[0]))  # tells why, as every command does
    shown = [row for row in good if holds is None or holds(row)]
    if asked.sort:
        shown.sort(key=lambda row: row[asked.sort])
    best = set(front(shown, ways)) if ways else set()
    marked = [{**row, "pareto": number in best} for number, row in enumerate(shown)]
    errors = [(_words(row, list(named)), row["error"]) for row in rows if row["error"]]
    step = step_words(setup) if any(figure_named(name).trains for name in figures) else ""
    said = {"members": len(members), "where": asked.where, "errors": errors, "step": step}
    return sweeps.sweep(asked.model, list(named), figures, marked, front=ways, said=said)


def _words(row: Mapping[str, Any], knobs: Sequence[str]) -> str:
    return ", ".join(f"{knob}={setting(row[knob])}" for knob in knobs)


def _front(text: str, figures: Sequence[str]) -> list[tuple[str, bool]]:
    """'macs,params:max' as figures with whether more is better; the first two figures, less of both, by default."""
    if not text:
        return [(name, False) for name in figures[:2]] if len(figures) > 1 else []
    found = []
    for part in text.split(","):
        name, _, way = part.strip().partition(":")
        if name not in figures or way not in ("", "min", "max"):
            raise WrongUse(
                f"'--pareto {text}' names no two figures.", f"two of  {', '.join(figures)}, as in  macs,params:max"
            )
        found.append((name, way == "max"))
    if len(found) != 2 or found[0][0] == found[1][0]:
        raise WrongUse(f"'--pareto {text}' names no two figures.", f"two of  {', '.join(figures)}")
    return found
