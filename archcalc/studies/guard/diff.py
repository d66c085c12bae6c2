"""What changed between two networks, layer by layer, through renames and insertions. Showing is a diff against nothing.

Layers are aligned in the order of the network: those of one type match, the better the more of description, shape and
parameters they share, and their place counts too. What is left over is matched by path, then by what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from archcalc.studies.guard.snapshot import FIGURES, LayerRecord, Snapshot

NEW, GONE, CHANGED, MOVED, SAME = "new", "gone", "changed", "moved", "="
LARGEST = 4_000_000
"""Pairs of layers that are compared one by one; above, unequal stretches are matched by path alone."""


@dataclass(frozen=True)
class Change:
    """One layer before and after; None where it was not, or is not any more."""

    old: LayerRecord | None
    new: LayerRecord | None

    @property
    def status(self) -> str:
        """What happened to it, in a word."""
        if self.old is None or self.new is None:
            return NEW if self.old is None else GONE
        if self.old.signature != self.new.signature:
            return CHANGED
        return SAME if self.old.path == self.new.path else MOVED

    @property
    def path(self) -> str:
        """Where it is now, or was."""
        return self.new.path if self.new is not None else self.old.path if self.old is not None else ""

    def by(self, figure: str) -> int:
        """How much a figure grew."""
        return int(getattr(self.new, figure, 0)) - int(getattr(self.old, figure, 0))


def diff(old: Snapshot, new: Snapshot) -> list[Change]:
    """Every layer of both, in the order of the new network, those that are gone where they were."""
    pairs = [Change(a, b) for a, b in _aligned(list(old.layers), list(new.layers))]
    return list(_rejoined(pairs))


def totals(changes: Sequence[Change]) -> dict[str, int]:
    """How much each figure grew in all."""
    return {figure: sum(change.by(figure) for change in changes) for figure in FIGURES}


Pair = tuple[LayerRecord | None, LayerRecord | None]


def _aligned(old: list[LayerRecord], new: list[LayerRecord]) -> Iterator[Pair]:
    """Equal beginnings and endings as they are; what lies between them by the best alignment."""
    first = 0
    while first < min(len(old), len(new)) and _identical(old[first], new[first]):
        first += 1
    last = 0
    while last < min(len(old), len(new)) - first and _identical(old[-1 - last], new[-1 - last]):
        last += 1
    yield from zip(old[:first], new[:first], strict=True)
    middle_old, middle_new = old[first : len(old) - last], new[first : len(new) - last]
    if len(middle_old) * len(middle_new) <= LARGEST:
        yield from _best(middle_old, middle_new)
    else:
        yield from ((layer, None) for layer in middle_old)
        yield from ((None, layer) for layer in middle_new)
    yield from zip(old[len(old) - last :], new[len(new) - last :], strict=True)


def _identical(a: LayerRecord, b: LayerRecord) -> bool:
    return a.path == b.path and a.signature == b.signature


def _best(old: Sequence[LayerRecord], new: Sequence[LayerRecord]) -> list[Pair]:
    """The alignment of the highest likeness in sum; by Needleman and Wunsch, gaps cost nothing."""
    rows, columns = len(old), len(new)
    scores = [[0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows - 1, -1, -1):
        for j in range(columns - 1, -1, -1):
            alike = _likeness(old[i], new[j])
            together = alike + scores[i + 1][j + 1] if alike else 0
            scores[i][j] = max(together, scores[i + 1][j], scores[i][j + 1])
    pairs: list[Pair] = []
    i = j = 0
    while i < rows or j < columns:
        alike = _likeness(old[i], new[j]) if i < rows and j < columns else 0
        if alike and scores[i][j] == alike + scores[i + 1][j + 1]:
            pairs.append((old[i], new[j]))
            i, j = i + 1, j + 1
        elif j >= columns or (i < rows and scores[i][j] == scores[i + 1][j]):
            pairs.append((old[i], None))
            i += 1
        else:
            pairs.append((None, new[j]))
            j += 1
    return pairs


def _likeness(a: LayerRecord, b: LayerRecord) -> int:
    """0 for layers of two types; a layer that is the same elsewhere counts more than another one in its place."""
    if a.type != b.type:
        return 0
    if a.signature == b.signature:
        return 24 + 3 * (a.path == b.path) + (_name(a) == _name(b))
    shared = (a.extra == b.extra) + (a.output == b.output) + (a.params == b.params) + (a.macs == b.macs)
    if a.path != b.path and not shared:
        return 1
    return 6 + 2 * shared + 4 * (a.path == b.path) + (_name(a) == _name(b))


def _name(layer: LayerRecord) -> str:
    return layer.path.rpartition(".")[2]


def _rejoined(changes: Sequence[Change]) -> Iterator[Change]:
    """What went at one place and came at another: the same path, or the same layer elsewhere."""
    gone = [change.old for change in changes if change.new is None and change.old is not None]
    partner: dict[int, LayerRecord] = {}
    new = [change.new for change in changes if change.old is None and change.new is not None]
    keys: tuple[Callable[[LayerRecord], Any], ...] = (lambda layer: layer.path, lambda layer: layer.signature)
    for key in keys:
        for layer in new:
            if id(layer) in partner or not (layer.params or layer.macs or key is keys[0]):
                continue
            match = next((one for one in gone if key(one) == key(layer)), None)
            if match is not None:
                partner[id(layer)] = match
                gone.remove(match)
    taken = {id(layer) for layer in partner.values()}
    for change in changes:
        if change.old is None and change.new is not None:
            yield Change(partner.get(id(change.new)), change.new)
        elif change.new is not None or id(change.old) not in taken:
            yield change
