"""Changes between two networks, layer by layer, through renames and insertions. Showing is a diff against nothing.

Layers are aligned in the order of the network: those of one type match, the better the more of description, shape and
parameters they share, and their place counts too. Layers that are left over are matched by path, then by signature.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from archcalc.studies.guard.snapshot import LAYER_FIGURES, LayerRecord, Snapshot

NEW, GONE, CHANGED, MOVED, SAME = "new", "gone", "changed", "moved", "="
LARGEST = 100_000
"""Pairs of layers that are compared one by one; longer stretches are cut at the layers that are the same."""


@dataclass(frozen=True)
class Change:
    """One layer before and after: `old` is None for a new layer, `new` is None for one that is gone."""

    old: LayerRecord | None
    new: LayerRecord | None

    @property
    def status(self) -> str:
        """One word: new, gone, changed, moved or =."""
        if self.old is None or self.new is None:
            return NEW if self.old is None else GONE
        if self.old.signature != self.new.signature:
            return CHANGED
        return SAME if self.old.path == self.new.path else MOVED

    @property
    def path(self) -> str:
        """The path in the new network, or in the old one if it is gone."""
        return self.new.path if self.new is not None else self.old.path if self.old is not None else ""

    def by(self, figure: str) -> int:
        """The difference of a figure, new minus old."""
        return int(getattr(self.new, figure, 0)) - int(getattr(self.old, figure, 0))


def diff(old: Snapshot, new: Snapshot) -> list[Change]:
    """Pair the layers of two networks, in the order of the new one; layers that are gone stand where they were."""
    pairs = [Change(a, b) for a, b in _aligned(list(old.layers), list(new.layers))]
    return list(_rejoined(pairs))


def totals(changes: Sequence[Change]) -> dict[str, int]:
    """The difference of each total, new minus old."""
    return {figure: sum(change.by(figure) for change in changes) for figure in LAYER_FIGURES}


Pair = tuple[LayerRecord | None, LayerRecord | None]


def _aligned(old: list[LayerRecord], new: list[LayerRecord]) -> Iterator[Pair]:
    """Pair equal layers at both ends, and align what lies between them."""
    first = 0
    while first < min(len(old), len(new)) and _identical(old[first], new[first]):
        first += 1
    last = 0
    while last < min(len(old), len(new)) - first and _identical(old[-1 - last], new[-1 - last]):
        last += 1
    yield from zip(old[:first], new[:first], strict=True)
    yield from _middle(old[first : len(old) - last], new[first : len(new) - last])
    yield from zip(old[len(old) - last :], new[len(new) - last :], strict=True)


def _identical(a: LayerRecord, b: LayerRecord) -> bool:
    return _identity(a) == _identity(b)


def _middle(old: Sequence[LayerRecord], new: Sequence[LayerRecord]) -> list[Pair]:
    """The best alignment; for many layers the better one of two that are cut at equal layers."""
    if len(old) * len(new) <= LARGEST:
        return _best(old, new)
    return max((_anchored(old, new, key) for key in (_identity, _signature)), key=_score)


def _anchored(
    old: Sequence[LayerRecord], new: Sequence[LayerRecord], key: Callable[[LayerRecord], Any], largest: int = LARGEST
) -> list[Pair]:
    """Layers with the same key are matched in the longest runs; stretches between them by the best alignment.

    difflib begins no run at a key of more than one layer in a hundred, which would cost the square of their number.
    A stretch of more than `largest` pairs stays unmatched: its layers are rejoined by path or signature later.
    """
    matcher = SequenceMatcher(None, [key(layer) for layer in old], [key(layer) for layer in new])
    pairs: list[Pair] = []
    i = j = 0
    for block in matcher.get_matching_blocks():
        before, after = old[i : block.a], new[j : block.b]
        if len(before) * len(after) <= largest:
            pairs += _best(before, after)
        else:
            pairs += [(layer, None) for layer in before]
            pairs += [(None, layer) for layer in after]
        pairs += zip(old[block.a : block.a + block.size], new[block.b : block.b + block.size], strict=True)
        i, j = block.a + block.size, block.b + block.size
    return pairs


def _score(pairs: Sequence[Pair]) -> int:
    """The sum of the likenesses of the pairs in an alignment."""
    return sum(_likeness(old, new) for old, new in pairs if old is not None and new is not None)


def _identity(layer: LayerRecord) -> tuple[str, tuple[Any, ...]]:
    return layer.path, layer.signature


def _signature(layer: LayerRecord) -> tuple[Any, ...]:
    return layer.signature


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
    """Join a layer that is gone and a new one into one change if their path, or else their signature, is the same."""
    gone = {id(change.old): change.old for change in changes if change.new is None and change.old is not None}
    new = [change.new for change in changes if change.old is None and change.new is not None]
    partner: dict[int, LayerRecord] = {}
    for key in (_path, _signature):
        waiting: dict[Any, deque[LayerRecord]] = defaultdict(deque)
        for layer in gone.values():
            waiting[key(layer)].append(layer)
        for layer in new:
            counts = layer.params or layer.macs or key is _path  # layers without figures are the same all too easily
            if id(layer) not in partner and counts and waiting[key(layer)]:
                partner[id(layer)] = waiting[key(layer)].popleft()
                del gone[id(partner[id(layer)])]
    taken = {id(layer) for layer in partner.values()}
    for change in changes:
        if change.old is None and change.new is not None:
            yield Change(partner.get(id(change.new)), change.new)
        elif change.new is not None or id(change.old) not in taken:
            yield change


def _path(layer: LayerRecord) -> str:
    return layer.path
