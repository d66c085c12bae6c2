"""Differences between two sides: each a model, a snapshot of one or several models, or a stored trace."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from archcalc.engine.setup import Setup
from archcalc.engine.subject import Subject
from archcalc.errors import BadInput, ForwardFailed, NeedsInput, WrongUse
from archcalc.studies.guard.diff import SAME, Change, diff
from archcalc.studies.guard.snapshot import Snapshot
from archcalc.studies.guard.sources import is_file, stored, taken
from archcalc.text.faces import Shown

Side = Any
"""A reference, a module, a class of modules, the path of a snapshot or of a stored trace, or a snapshot."""
NOTHING = Snapshot("nothing", (), {}, {}, ())


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """One model before and after, with the changes of its layers."""

    old: Snapshot
    new: Snapshot
    changes: Sequence[Change]

    def __repr__(self) -> str:
        """One line."""
        outcome = "changed" if self.changed else "the same"
        return f"<Comparison of {self.old.reference} and {self.new.reference}: {outcome}>"

    @property
    def changed(self) -> bool:
        """Whether any layer changed."""
        return any(change.status != SAME for change in self.changes)


def compared(old: Side, new: Side, setup: Setup) -> list[Comparison]:
    """A comparison for each pair of models; the setup applies to models, not to files and snapshots."""
    olds, news = _both(old, new, setup)
    return [Comparison(before, after, diff(before, after)) for before, after in _pairs(olds, news)]


def compared_two(old: Side, new: Side, setup: Setup, inputs: Any = None) -> Comparison:
    """The comparison of two single models; a file of several is refused."""
    sides = _both(old, new, setup, inputs)
    if any(len(snapshots) != 1 for snapshots in sides):
        raise WrongUse("a side holds several models.", "name one of them, or use  archcalc diff  on the command line")
    (before,), (after,) = sides
    return Comparison(before, after, diff(before, after))


def _both(old: Side, new: Side, setup: Setup, inputs: Any = None) -> list[tuple[Snapshot, ...]]:
    """The snapshots of both sides; WrongUse if setup or inputs are given and no side is a model."""
    sides = (old, new)
    if (setup != Setup() or inputs is not None) and not any(map(_is_model, sides)):
        raise WrongUse(
            "both sides are files or snapshots: their inputs and knobs cannot be changed.", "leave the options out"
        )
    files = [None if _is_model(side) else _stored(side) for side in sides]
    return [
        _of_model(side, other or (), setup, inputs) if own is None else own
        for side, own, other in zip(sides, files, reversed(files), strict=True)
    ]


def _stored(side: Side) -> tuple[Snapshot, ...]:
    return (side,) if isinstance(side, Snapshot) else stored(side)


def _of_model(model: Side, others: tuple[Snapshot, ...], setup: Setup, inputs: Any) -> tuple[Snapshot, ...]:
    """The snapshot of a model, on the inputs of the snapshot it is compared with where none are given.

    That is the snapshot of the same reference, or, for a model that declares no inputs, the only other one.
    """
    subject = Subject(model, inputs)
    sizes = (setup.batch, setup.size, setup.seq_len, setup.images)
    given = inputs is not None or setup.inputs or setup.inputs_from or any(size is not None for size in sizes)
    same = next((other for other in others if other.reference == model), None)
    if given or not others:
        return (taken(subject, setup),)
    if same is not None:
        with suppress(BadInput, ForwardFailed):  # its inputs are others now
            return (_taken_as(subject, same, setup),)
    try:
        return (taken(subject, setup),)
    except NeedsInput:
        if len(others) > 1:
            raise
        return (_taken_as(subject, others[0], setup),)


def _taken_as(subject: Subject, other: Snapshot, setup: Setup) -> Snapshot:
    """The snapshot of a model on another one's inputs: by their names, or in their order if the names are others."""
    dtype, mode = (str(other.assumptions.get(key, getattr(setup, key))) for key in ("dtype", "mode"))
    same = replace(setup, inputs=other.inputs, dtype=dtype, mode=mode)
    try:
        return taken(subject, same)
    except BadInput:
        unnamed = tuple(text.partition("=")[2] for text in other.inputs)
        return taken(subject, replace(same, inputs=unnamed))


def _is_model(side: Side) -> bool:
    return not isinstance(side, Snapshot) and not (isinstance(side, str) and is_file(side))


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
