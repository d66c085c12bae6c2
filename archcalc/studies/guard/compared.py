"""`diff`: two sides, each a model, a snapshot of one or several, or a stored trace."""

from __future__ import annotations

from archcalc.engine import Setup
from archcalc.errors import WrongUse
from archcalc.render.document import Document
from archcalc.render.pages import diff as diffs
from archcalc.studies.guard.diff import SAME
from archcalc.studies.guard.diff import diff as changes_of
from archcalc.studies.guard.snapshot import Snapshot
from archcalc.studies.guard.take import named

NOTHING = Snapshot("nothing", (), {}, {}, ())


def compared(old: str, new: str, setup: Setup, *, everything: bool) -> tuple[list[Document], bool]:
    """A document for each pair of models, and whether anything changed; settings apply to models, not to files."""
    olds, news = (named(one, setup if _is_model(one) else Setup()) for one in (old, new))
    if setup != Setup() and not (_is_model(old) or _is_model(new)):
        raise WrongUse("both sides are files: their inputs and knobs cannot be changed.", "leave the options out")
    documents, changed = [], False
    for before, after in _pairs(olds, news):
        changes = changes_of(before, after)
        documents.append(diffs.diff(before, after, changes, everything=everything))
        changed |= any(change.status != SAME for change in changes)
    return documents, changed


def _is_model(reference: str) -> bool:
    return not reference.endswith(".json") or ":" in reference


def _pairs(olds: tuple[Snapshot, ...], news: tuple[Snapshot, ...]) -> list[tuple[Snapshot, Snapshot]]:
    """The models of both sides by name; two single ones are a pair whatever they are called."""
    if len(olds) == len(news) == 1:
        return [(olds[0], news[0])]
    before, after = {one.reference: one for one in olds}, {one.reference: one for one in news}
    both = sorted(before.keys() & after.keys())
    if min(len(olds), len(news)) == 1:
        if not both:
            hint = f"they are  {', '.join((*before, *after))}"
            raise WrongUse(f"{len(olds)} models on one side and {len(news)} on the other, none of one name.", hint)
        return [(before[name], after[name]) for name in both]
    names = sorted(before.keys() | after.keys())
    return [(before.get(name, NOTHING), after.get(name, NOTHING)) for name in names]
