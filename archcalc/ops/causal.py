"""Masked attention: which products have scores that a mask hides, and what share of their MACs that is.

The values of masks are followed from how they are made (`mask_values`), or concluded from their names where they come
from outside (`sequence_mask`, `causal_mask`, `tril`). The scores that a mask covers, and the weights that a softmax
makes of them, are followed through copies, views and elementwise ops.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import prod

from archcalc.ops.mask_arithmetic import HIDES, argument
from archcalc.ops.mask_values import value_of
from archcalc.ops.names import base_name
from archcalc.ops.pieces import Known, Number, Pieces, causal, oriented
from archcalc.ops.registry import EACH_OUTPUT, FREE, Causal, Op, known
from archcalc.tracing import Call, Shape, Trace

NAMES = ("causal", "sequence_mask", "tril", "subsequent", "look_ahead")


@dataclass(frozen=True)
class Hidden:
    """The shares of a product's MACs that a mask hides: of keys behind the query, and of others (a sliding window)."""

    causal: Fraction
    window: Fraction


@dataclass(frozen=True)
class Band:
    """The scores of n queries and m keys that a mask hides: `values[k]` if cuts[k-1] <= key - query < cuts[k].

    1 is hidden, 0 is visible, and None, which is not known, counts as visible.
    """

    n: int
    m: int
    cuts: tuple[int, ...]
    values: tuple[Number, ...]

    def shares(self) -> Hidden:
        """What is hidden, as shares of the n · m scores.

        A mask is causal if it hides all keys from one place on, and this place is the first behind the query's own;
        the queries are the first or the last n of the m positions.
        """
        below = [0, *(self._pairs_below(cut) for cut in self.cuts), self.n * self.m]
        pairs = [end - start for start, end in pairwise(below)]
        hidden = sum(count for count, value in zip(pairs, self.values, strict=True) if value)
        behind = bool(self.cuts and self.values[-1]) and 1 <= self.cuts[-1] <= max(0, self.m - self.n) + 1
        later = pairs[-1] if behind else 0
        whole = max(1, self.n * self.m)
        return Hidden(Fraction(later, whole), Fraction(hidden - later, whole))

    def _pairs_below(self, cut: int) -> int:
        """Pairs of a query i and a key j with j - i < cut: the sum over i of i + cut, within 0 and m."""
        first = min(self.n, max(0, -cut))
        full = min(self.n, max(first, self.m - cut))
        between = (full - first) * (first + full - 1) // 2 + cut * (full - first)
        return between + self.m * (self.n - full)

    def joined(self, other: Band | None) -> Band:
        """What this or the other mask hides."""
        if other is None or (self.n, self.m) != (other.n, other.m):
            return self
        cuts = tuple(sorted({*self.cuts, *other.cuts}))
        places = [cuts[0] - 1, *cuts] if cuts else [0]
        return replace(self, cuts=cuts, values=tuple(max(self.at(x), other.at(x)) for x in places))

    def at(self, d: int) -> float:
        """Whether pairs with this d are hidden, as 1 or 0."""
        return self.values[sum(cut <= d for cut in self.cuts)] or 0.0


@dataclass(frozen=True)
class Scores:
    """Scores, or weights that a softmax made of them: the product that they come from, and what a mask hides."""

    product: int
    hidden: Band | None = None
    weights: bool = False


def hidden_macs(trace: Trace) -> dict[int, Hidden]:
    """For each product whose scores a mask hides in part, by its number among the calls, the shares of its MACs."""
    entries = [known(call.op) for call in trace.calls]
    if not any(_part(entry) in (Causal.SOFTMAX, Causal.FUSED) for entry in entries):
        return {}
    walk = _Walk(trace)
    for number, (call, entry) in enumerate(zip(trace.calls, entries, strict=True)):
        walk.pass_(number, call, entry)
    return {number: shares for number, shares in walk.hidden.items() if shares.causal or shares.window}


def _part(entry: Op | None) -> Causal | None:
    return entry.causal if entry is not None else None


class _Walk:
    """The walk through the calls of a trace: what is known of each tensor so far."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.values: dict[int, Known] = dict(_named_masks(trace))
        self.scores: dict[int, Scores] = {}
        self.hidden: dict[int, Hidden] = {}
        self._in_storage: dict[int, set[int]] = {}

    def pass_(self, number: int, call: Call, entry: Op | None) -> None:
        """Look at one call."""
        if not call.outputs:
            return
        made, value = self._scores_after(number, call, entry), value_of(self.trace, call, self.values)
        first = call.outputs[0]
        if first in call.tensors():  # written in place: what else lies in the storage is not known any more
            for tensor in self._in_storage.get(self.trace.tensors[first].storage, set()):
                self.values.pop(tensor, None)
        for tensor in call.outputs:
            self.scores.pop(tensor, None)
            self.values.pop(tensor, None)
            if made is not None:
                self.scores[tensor] = made
        if value is not None:
            self.values[first] = value
            self._in_storage.setdefault(self.trace.tensors[first].storage, set()).add(first)

    def _scores_after(self, number: int, call: Call, entry: Op | None) -> Scores | None:
        part = _part(entry)
        carried = next((self.scores[t] for t in call.tensors() if t in self.scores), None)
        if part is Causal.FUSED:
            self._fused(number, call)
            return None
        if part is Causal.PRODUCT:
            if carried is not None and carried.weights:
                self.hidden[number] = self.hidden[carried.product]
            added = "self" in call.inputs and len(list(call.tensors())) > 2  # baddbmm and addmm add their first tensor
            return Scores(number, self._band(call, number, "self") if added else None)
        if carried is None:
            return None
        if part is Causal.SOFTMAX:
            return self._softmax(call, carried)
        if entry is None or entry.work not in (FREE, EACH_OUTPUT):
            return None
        return carried if carried.weights else replace(carried, hidden=self._masked(call, carried))

    def _softmax(self, call: Call, scores: Scores) -> Scores | None:
        """Weights, if a mask hides some of the scores and the softmax goes over the keys."""
        last = len(self.trace.shape(call.outputs[0])) - 1
        if scores.hidden is None or call.attributes.get("dim") not in (-1, last):
            return None
        self.hidden[scores.product] = scores.hidden.shares()
        return replace(scores, weights=True)

    def _masked(self, call: Call, scores: Scores) -> Band | None:
        """What is hidden after an elementwise op: more, if it adds a mask or fills by one."""
        name, before = base_name(call.op), scores.hidden
        here = {t for t in call.tensors() if t in self.scores}
        band = None
        if name == "add":
            other = next((word for word in ("other", "self") if call.inputs.get(word) not in here), "")
            band = self._band(call, scores.product, other) if other in call.inputs else None
        elif name == "masked_fill" and self._hides(call, "value"):
            band = self._band(call, scores.product, "mask", truth=True)
        elif name == "where" and call.inputs.get("self") in here and self._hides(call, "other"):
            band = self._band(call, scores.product, "condition", truth=False)
        elif name == "where" and call.inputs.get("other") in here and self._hides(call, "self"):
            band = self._band(call, scores.product, "condition", truth=True)
        return before if band is None else band.joined(before)

    def _hides(self, call: Call, word: str) -> bool:
        """Whether a filling hides what it replaces: it is very negative, or one number that is not known."""
        value = argument(call, word, self.values, 0)
        tensor = call.inputs.get(word)
        if isinstance(tensor, int) and tensor not in self.values:
            return prod(self.trace.shape(tensor)) == 1
        return isinstance(value, Pieces) and all(part is not None and part <= HIDES for part in value.values)

    def _band(self, call: Call, product: int, word: str, truth: bool | None = None) -> Band | None:
        """The scores that an argument hides: where it is `truth`, or, for None, where it is very negative."""
        shape = self.trace.shape(call.outputs[0])
        keys = self.trace.shape(self.trace.calls[product].outputs[0])[-1]
        return _band_of(argument(call, word, self.values, len(shape)), shape, keys, truth)

    def _fused(self, number: int, call: Call) -> None:
        """Attention in one op: by its own flag, or by the mask it is given."""
        query, key = (self.trace.shape(call.inputs[word]) for word in ("query", "key"))  # type: ignore[arg-type]
        shape = (*query[:-1], key[-2])
        band = None
        if call.attributes.get("is_causal") is True:
            band = _band_of(causal(len(shape)), shape, key[-2], truth=False)
        for word in ("attn_mask", "attn_bias"):
            tensor = call.inputs.get(word)
            if isinstance(tensor, int) and tensor in self.values:
                truth = False if self.trace.tensors[tensor].dtype == "bool" else None
                given = _band_of(argument(call, word, self.values, len(shape)), shape, key[-2], truth)
                band = given.joined(band) if given else band
        if band is not None:
            self.hidden[number] = band.shares()


def _band_of(mask: Known, shape: Shape, keys: int, truth: bool | None) -> Band | None:
    """The scores that a mask hides, if it depends on the difference of key and query alone; else None."""
    if not isinstance(mask, Pieces):
        return None
    mask = oriented(mask)
    alone = len(shape) > 1 and shape[-2] == 1  # one query, whose index is always 0
    row = len(shape) - 2 if alone else next((d for d, c in enumerate(mask.coefficients) if c == -1), -1)
    wanted = tuple(1 if d == len(shape) - 1 else -1 if d == row and not alone else 0 for d in range(len(shape)))
    if row < 0 or mask.coefficients != wanted:
        return None
    if mask.named and truth is None and not any(value is not None and value <= HIDES for value in mask.values):
        truth = False
    hides = [None if value is None else float(_is(value, truth)) for value in mask.values]
    band = Band(shape[row], keys, mask.cuts, tuple(hides))
    if mask.named and band.at(0):  # a query sees at least itself, so the mask was the other way round
        band = replace(band, values=tuple(None if value is None else 1 - value for value in hides))
    return band if any(band.values) else None


def _is(value: float, truth: bool | None) -> bool:
    return value <= HIDES if truth is None else bool(value) is truth


def _named_masks(trace: Trace) -> Iterator[tuple[int, Pieces]]:
    """Masks from outside, by their names: inputs and buffers of a square shape."""
    named = [(input_.name, tensor) for input_, tensor in zip(trace.inputs, trace.input_tensors, strict=False)]
    named += [(p.names[0].rpartition(".")[2], p.tensor) for p in trace.parameters if p.kind == "buffer"]
    for name, tensor in named:
        shape = trace.shape(tensor)
        square = len(shape) > 1 and shape[-1] == shape[-2] and prod(shape[:-2]) == 1
        if square and any(word in name for word in NAMES):
            yield tensor, causal(len(shape), named=True)
