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

from archcalc.ops.elementwise import MOVEMENT, POINTWISE, base_name
from archcalc.tracing.records import Call, Trace

PRODUCTS = frozenset(("bmm", "baddbmm", "mm", "addmm", "matmul"))
SOFTMAXES = frozenset(("_softmax", "_safe_softmax", "softmax"))
COMPARISONS = frozenset(("le", "lt", "ge", "gt"))
NAMES = ("causal", "sequence_mask", "tril", "subsequent", "look_ahead")


class Role(Flag):
    """What is known of a tensor."""

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
    if not any(base_name(call.op) in SOFTMAXES for call in trace.calls):
        return {}
    roles = [Role.NOTHING] * len(trace.tensors)
    product: dict[int, int] = {}  # tensor of scores -> the call that made them
    hidden: dict[int, Fraction] = {}
    for tensor in _named_masks(trace):
        roles[tensor] = Role.MASK
    for number, call in enumerate(trace.calls):
        name = base_name(call.op) or ""
        inputs = list(call.tensors())
        carried = next((t for t in inputs if roles[t] & CARRIED), None)
        role = _role(trace, call, name, [roles[t] for t in inputs])
        if name in PRODUCTS:
            if carried is not None and roles[carried] & Role.WEIGHTS:
                hidden[number] = hidden[product[carried]]
            origin = number
        elif carried is not None:
            origin = product[carried]
        else:
            origin = -1
        if name in SOFTMAXES and role & Role.WEIGHTS:
            n, m = trace.shape(call.outputs[0])[-2:]
            if n == m:
                hidden[origin] = Fraction(n - 1, 2 * n)
            else:
                role = Role.NOTHING
        for tensor in call.outputs:
            roles[tensor] = role
            product[tensor] = origin
    return hidden


def _role(trace: Trace, call: Call, name: str, roles: list[Role]) -> Role:
    """What an op makes of what it is given."""
    if name in ("tril", "triu"):
        return Role.MASK
    if name == "arange":
        return Role.POSITIONS
    if name in PRODUCTS:
        masked = bool(roles) and bool(roles[0] & Role.MASK) and name in ("baddbmm", "addmm")
        return Role.MASKED_SCORES if masked else Role.SCORES
    if name in SOFTMAXES:
        return Role.WEIGHTS if any(role & Role.MASKED_SCORES for role in roles) else Role.NOTHING
    if name not in MOVEMENT and name not in POINTWISE:
        return Role.NOTHING
    carried = next((role & CARRIED for role in roles if role & CARRIED), None)
    if carried is not None:
        masked = bool(carried & Role.SCORES) and any(role & Role.MASK for role in roles)
        return Role.MASKED_SCORES if masked else carried
    if any(role & Role.MASK for role in roles):
        return Role.MASK
    places = [role for role in roles if role & Role.POSITIONS]
    if name in COMPARISONS and len(places) == 2 and len(trace.shape(call.outputs[0])) > 1:
        return Role.MASK
    return Role.POSITIONS if places else Role.NOTHING


def _named_masks(trace: Trace) -> Iterator[int]:
    """Masks from outside, by their names: inputs and buffers of a square shape."""
    named = [(one.name, tensor) for one, tensor in zip(trace.inputs, trace.input_tensors, strict=False)]
    named += [(p.names[0].rpartition(".")[2], p.tensor) for p in trace.parameters if p.kind == "buffer"]
    for name, tensor in named:
        shape = trace.shape(tensor)
        square = len(shape) > 1 and shape[-1] == shape[-2] and prod(shape[:-2]) == 1
        if square and any(word in name for word in NAMES):
            yield tensor
