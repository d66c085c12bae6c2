"""Receptive fields: how much of the input one position of a tensor sees, per spatial axis, maximum over all paths."""

from __future__ import annotations

from fractions import Fraction

from archcalc.ops.axes import GLOBAL, LOST, NEUTRAL, WHOLE, Axis, Field, Seen
from archcalc.ops.call_view import CallView
from archcalc.ops.registry import known
from archcalc.tracing import Shape, Trace


def fields(trace: Trace) -> list[Field]:
    """For each tensor its field when it was last written, in the order of the trace's tensors.

    Inputs of rank 4 and 5 are N, C, then space; of rank 3 where a convolution or pooling reads them. Others have no
    place in space.
    """
    fields_: list[Field] = [NEUTRAL] * len(trace.tensors)
    read = {t for call in trace.calls if "conv" in call.op or "pool" in call.op for t in call.tensors()}
    for tensor in trace.input_tensors:
        rank = len(trace.shape(tensor))
        spatial = rank in (4, 5) or (rank == 3 and tensor in read)
        fields_[tensor] = (None, None, *(Axis(1, Fraction(1)) for _ in range(rank - 2))) if spatial else LOST
    for call in trace.calls:
        view = CallView(trace, call)
        seen = [(fields_[t], trace.shape(t)) for t in call.tensors() if fields_[t] is not NEUTRAL]
        for tensor in call.outputs:
            fields_[tensor] = _after(view, seen, trace.shape(tensor))
    return fields_


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
