"""Causal attention: which products have a score that a causal mask hides, and how many of their MACs that is.

A causal mask is found by how it is made: by tril or triu, by comparing two ranges of positions, or by its name where it
comes from outside (`sequence_mask`, `causal_mask`, `tril`). The scores it covers, and the weights the softmax makes of
them, are followed through copies, views and elementwise ops.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Flag, auto
from fractions import Fraction
from math import prod

from archcalc.ops.registry import EACH_OUTPUT, FREE, Causal, Op, known
from archcalc.tracing import Call, Trace

NAMES = ("causal", "sequence_mask", "tril", "subsequent", "look_ahead")


class Role(Flag):
    """The role of a tensor in attention; several may hold."""

    NOTHING = 0
    POSITIONS = auto()
    MASK = auto()
    SCORES = auto()
    MASKED_SCORES = auto()
    WEIGHTS = auto()


CARRIED = Role.SCORES | Role.MASKED_SCORES | Role.WEIGHTS


def hidden_macs(trace: Trace) -> dict[int, Fraction]:
    """For each product, by its number among the calls, the share of its MACs that a causal mask hides.

    With n queries and as many keys the query i sees i keys: (n - 1) / 2n of the products are hidden. Attention with
    another number of keys is left alone.
    """
    entries = [known(call.op) for call in trace.calls]
    if not any(_part(entry) is Causal.SOFTMAX for entry in entries):
        return {}
    roles = [Role.NOTHING] * len(trace.tensors)
    product: dict[int, int] = {}  # tensor of scores -> the call that made them
    hidden: dict[int, Fraction] = {}
    for tensor in _named_masks(trace):
        roles[tensor] = Role.MASK
    for number, (call, entry) in enumerate(zip(trace.calls, entries, strict=True)):
        part = _part(entry)
        inputs = list(call.tensors())
        carried = next((t for t in inputs if roles[t] & CARRIED), None)
        role = _role(trace, call, entry, [roles[t] for t in inputs])
        if part is Causal.PRODUCT:
            if carried is not None and roles[carried] & Role.WEIGHTS:
                hidden[number] = hidden[product[carried]]
            origin = number
        elif carried is not None:
            origin = product[carried]
        else:
            origin = -1
        if part is Causal.SOFTMAX and role & Role.WEIGHTS:
            n, m = trace.shape(call.outputs[0])[-2:]
            if n == m:
                hidden[origin] = Fraction(n - 1, 2 * n)
            else:
                role = Role.NOTHING
        for tensor in call.outputs:
            roles[tensor] = role
            product[tensor] = origin
    return hidden


def _part(entry: Op | None) -> Causal | None:
    return entry.causal if entry is not None else None


def _role(trace: Trace, call: Call, entry: Op | None, roles: list[Role]) -> Role:
    """The role of an op's result, from its op and the roles of its inputs."""
    part = _part(entry)
    if part is Causal.MASK:
        return Role.MASK
    if part is Causal.POSITIONS:
        return Role.POSITIONS
    if part is Causal.PRODUCT:  # baddbmm and addmm add their first tensor
        masked = bool(roles) and bool(roles[0] & Role.MASK) and len(roles) > 2
        return Role.MASKED_SCORES if masked else Role.SCORES
    if part is Causal.SOFTMAX:
        return Role.WEIGHTS if any(role & Role.MASKED_SCORES for role in roles) else Role.NOTHING
    if entry is None or entry.work not in (FREE, EACH_OUTPUT):
        return Role.NOTHING
    carried = next((role & CARRIED for role in roles if role & CARRIED), None)
    if carried is not None:
        masked = bool(carried & Role.SCORES) and any(role & Role.MASK for role in roles)
        return Role.MASKED_SCORES if masked else carried
    if any(role & Role.MASK for role in roles):
        return Role.MASK
    places = [role for role in roles if role & Role.POSITIONS]
    if part is Causal.COMPARISON and len(places) == 2 and len(trace.shape(call.outputs[0])) > 1:
        return Role.MASK
    return Role.POSITIONS if places else Role.NOTHING


def _named_masks(trace: Trace) -> Iterator[int]:
    """Masks from outside, by their names: inputs and buffers of a square shape."""
    named = [(input_.name, tensor) for input_, tensor in zip(trace.inputs, trace.input_tensors, strict=False)]
    named += [(p.names[0].rpartition(".")[2], p.tensor) for p in trace.parameters if p.kind == "buffer"]
    for name, tensor in named:
        shape = trace.shape(tensor)
        square = len(shape) > 1 and shape[-1] == shape[-2] and prod(shape[:-2]) == 1
        if square and any(word in name for word in NAMES):
            yield tensor
