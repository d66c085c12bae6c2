"""Differences between two sides: each a model, a snapshot of one or several models, or a stored trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from archcalc.engine.setup import Setup
from archcalc.errors import WrongUse
from archcalc.studies.guard.diff import SAME, Change, diff
from archcalc.studies.guard.snapshot import Snapshot
from archcalc.studies.guard.sources import named

NOTHING = Snapshot("nothing", (), {}, {}, ())


@dataclass(frozen=True)
class Comparison:
    """One model before and after, with the changes of its layers."""

    old: Snapshot
    new: Snapshot
    changes: Sequence[Change]

    @property
    def changed(self) -> bool:
        """Whether a layer is not what it was."""
        return any(change.status != SAME for change in self.changes)


def compared(old: str, new: str, setup: Setup) -> list[Comparison]:
    """A comparison for each pair of models; the setup applies to models, not to files."""
    olds, news = (named(side, setup if _is_model(side) else Setup()) for side in (old, new))
    if setup != Setup() and not (_is_model(old) or _is_model(new)):
        raise WrongUse("both sides are files: their inputs and knobs cannot be changed.", "leave the options out")
    return [Comparison(before, after, diff(before, after)) for before, after in _pairs(olds, news)]


def _is_model(reference: str) -> bool:
    return not reference.endswith(".json") or ":" in reference


def _pairs(olds: tuple[Snapshot, ...], news: tuple[Snapshot, ...]) -> list[tuple[Snapshot, Snapshot]]:
    """The models of both sides by name; two single ones are a pair whatever they are called."""
    if len(olds) == len(news) == 1:
        return [(olds[0], news[0])]
    before, after = (
        {snapshot.reference: snapshot for snapshot in olds},
        {snapshot.reference: snapshot for snapshot in news},
    )
    both = sorted(before.keys() & after.keys())
    if min(len(olds), len(news)) == 1:
        if not both:
            hint = f"they are  {', '.join((*before, *after))}"
            raise WrongUse(f"{len(olds)} models on one side and {len(news)} on the other, none of one name.", hint)
        return [(before[name], after[name]) for name in both]
    names = sorted(before.keys() | after.keys())
    return [(before.get(name, NOTHING), after.get(name, NOTHING)) for name in names]
