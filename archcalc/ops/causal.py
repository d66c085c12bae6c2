"""Masked attention: which products have scores that a mask hides, and what share of their MACs that is.

The values of masks are followed from how they are made (`mask_values`), or concluded from their names where they come
from outside (`sequence_mask`, `causal_mask`, `tril`). The scores that a mask covers, and the weights that a softmax
makes of them, are followed through copies, views and elementwise ops.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from archcalc.ops.bands import Band, Hidden, band_of
from archcalc.ops.mask_arithmetic import HIDES, argument
from archcalc.ops.mask_values import value_of
from archcalc.ops.names import base_name
from archcalc.ops.pieces import Known, Pieces, causal
from archcalc.ops.registry import EACH_OUTPUT, FREE, Causal, Op, known
from archcalc.tracing import Call, Trace

NAMES = ("causal", "sequence_mask", "tril", "subsequent", "look_ahead")


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
        return band_of(argument(call, word, self.values, len(shape)), shape, keys, truth)

    def _fused(self, number: int, call: Call) -> None:
        """Attention in one op: by its own flag, or by the mask it is given."""
        query, key = (self.trace.shape(call.inputs[word]) for word in ("query", "key"))  # type: ignore[arg-type]
        shape = (*query[:-1], key[-2])
        band = None
        if call.attributes.get("is_causal") is True:
            band = band_of(causal(len(shape)), shape, key[-2], truth=False)
        for word in ("attn_mask", "attn_bias"):
            tensor = call.inputs.get(word)
            if isinstance(tensor, int) and tensor in self.values:
                truth = False if self.trace.tensors[tensor].dtype == "bool" else None
                given = band_of(argument(call, word, self.values, len(shape)), shape, key[-2], truth)
                band = given.joined(band) if given else band
        if band is not None:
            self.hidden[number] = band.shares()


def _named_masks(trace: Trace) -> Iterator[tuple[int, Pieces]]:
    """Masks from outside, by their names: inputs and buffers of a square shape."""
    named = [(input_.name, tensor) for input_, tensor in zip(trace.inputs, trace.input_tensors, strict=False)]
    named += [(p.names[0].rpartition(".")[2], p.tensor) for p in trace.parameters if p.kind == "buffer"]
    for name, tensor in named:
        shape = trace.shape(tensor)
        square = len(shape) > 1 and shape[-1] == shape[-2] and prod(shape[:-2]) == 1
        if square and any(word in name for word in NAMES):
            yield tensor, causal(len(shape), named=True)
