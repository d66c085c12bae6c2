"""Receptive fields: how much of the input one position of a tensor sees, per spatial axis, maximum over all paths."""

from __future__ import annotations

from fractions import Fraction

from archcalc.ops.axes import GLOBAL, LOST, NEUTRAL, WHOLE, Axis, Field, Seen
from archcalc.ops.call_view import CallView
from archcalc.ops.reductions import EACH_INPUT
from archcalc.ops.registry import known
from archcalc.tracing import Shape, Trace


def fields(trace: Trace) -> list[Field]:
    """For each tensor its field when it was last written, in the order of the trace's tensors.

    Inputs that are maps are N, C, then space. Others have no place in space.
    """
    fields_: list[Field] = [NEUTRAL] * len(trace.tensors)
    for tensor in trace.input_tensors:
        rank = len(trace.shape(tensor))
        spatial = (None, None, *(Axis(1, Fraction(1)) for _ in range(rank - 2)))
        fields_[tensor] = spatial if _is_map(trace, tensor) else LOST
    for call in trace.calls:
        view = CallView(trace, call)
        seen = [(fields_[t], trace.shape(t)) for t in call.tensors() if fields_[t] is not NEUTRAL]
        for tensor in call.outputs:
            fields_[tensor] = _after(view, seen, trace.shape(tensor))
    return fields_


WINDOWS = ("conv", "pool", "upsample", "im2col", "grid_sampler")
"""Parts of the names of ops that read an input as a map."""


def _is_map(trace: Trace, tensor: int) -> bool:
    """Whether an input is a map: of rank 3 if a window slides over it, of rank 4 or 5 unless it is read otherwise.

    Queries, keys and masks of attention have rank 4 as images do; but a matrix product reads them, and truth values
    mask, and no window slides over them.
    """
    rank = len(trace.shape(tensor))
    if rank not in (3, 4, 5):
        return False
    made, multiplied = {tensor}, False
    for call in trace.calls:
        if made.isdisjoint(call.tensors()):
            continue
        op = known(call.op)
        if any(word in call.op for word in WINDOWS):
            return True
        if op is not None and op.formula is not None:
            multiplied = True
        elif rank > 3 and (op is None or op.work is not EACH_INPUT):
            made.update(call.outputs)
    return rank > 3 and not multiplied and trace.tensors[tensor].dtype != "bool"


def _after(call: CallView, seen: Seen, shape: Shape) -> Field:
    """The field of an output: by the op's rule where all inputs have a place in space, else what they come to."""
    if not seen:
        return NEUTRAL
    placed = [(field, before) for field, before in seen if field is not LOST and field is not GLOBAL]
    everywhere = any(field is GLOBAL for field, _ in seen)
    if not placed:
        return GLOBAL if everywhere else LOST
    op = known(call.op)
    field = ((op and op.field_rule) or aligned)(call, placed, shape)
    if field is LOST:
        whole = any(axis is not None and axis.size == WHOLE for field_, _ in placed for axis in field_)
        return GLOBAL if whole or everywhere else LOST
    if everywhere:
        return tuple(axis and axis.whole() for axis in field)
    return field if len(placed) == len(seen) else LOST


def aligned(call: CallView, seen: Seen, shape: Shape) -> Field:
    """Elementwise, concatenation, views: fields join dimension by dimension, aligned at the last one.

    A view that merges or splits spatial dimensions loses them.
    """
    joined: list[Axis | None] = [None] * len(shape)
    for field, before in seen:
        for back in range(1, len(field) + 1):
            axis = field[-back]
            if axis is None:
                continue
            if back > len(shape) or (shape[-back] not in (before[-back], 1) and before[-back] != 1):
                return LOST
            joined[-back] = _join(joined[-back], axis)
    return tuple(joined)


def _join(a: Axis | None, b: Axis) -> Axis:
    return b if a is None else Axis(max(a.size, b.size), max(a.jump, b.jump))
