"""Views: the same elements in another order or in other groups, at no cost."""

from __future__ import annotations

from math import prod

from archcalc.ops.axes import LOST, Field, Seen
from archcalc.ops.call_view import CallView, differing, dim_of, integers, sizes_reason, swapped_dims
from archcalc.ops.registry import FREE, Op
from archcalc.tracing import Shape

VIEW = Op("view", "_unsafe_view", "reshape", work=FREE, rearranges=True)
FLATTEN = Op("flatten", work=FREE)
UNFLATTEN = Op("unflatten")
PERMUTE = Op("transpose", "t", "permute", work=FREE, rearranges=True)
SLICE = Op("slice", work=FREE, rearranges=True)
SPLIT = Op("split", "split_with_sizes", "chunk", work=FREE)
UNBIND = Op("unbind", work=FREE)
SELECT = Op("select", work=FREE, rearranges=True)
SQUEEZE = Op("unsqueeze", "squeeze", work=FREE, rearranges=True)
EXPAND = Op("expand", work=FREE, rearranges=True)
Op("detach", "alias", "lift_fresh", "clone", work=FREE, fuses=True, step=False)
Op(
    *"""
    _conj _fw_primal _lazy_clone _neg_view _nested_view_from_buffer _new_zeros_with_same_feature_meta _reshape_alias
    as_strided broadcast_to contiguous diagonal expand_as lift narrow numpy_T unfold unsafe_chunk unsafe_split
    unsafe_split_with_sizes view_as view_as_complex view_as_real
    """.split(),
    work=FREE,
)
for op in (EXPAND, SQUEEZE):
    op.reason(sizes_reason)


@VIEW.reason
@FLATTEN.reason
@UNFLATTEN.reason
def view_reason(call: CallView) -> str:
    """The same elements in other groups."""
    if call.output == call.inputs[0]:
        return ""
    before, after = differing(call.inputs[0], call.output)
    if prod(before) == prod(after) == 1:
        number = abs(len(before) - len(after))
        return f"{number} dim{'s' * (number > 1)} of size 1 {'dropped' if len(before) > len(after) else 'added'}"
    left, right = ("·".join(map(str, part)) or "1" for part in (before, after))
    return f"{left} = {right} elements" if prod(before) == prod(after) else f"{prod(call.output)} elements"


@VIEW.field
@FLATTEN.field
@UNFLATTEN.field
def view_field(call: CallView, seen: Seen, shape: Shape) -> Field:
    """Axes that stay the last dimensions, size for size, keep their place; merged or split ones lose it."""
    field, before = seen[0]
    tracked = [back for back in range(1, len(field) + 1) if field[-back] is not None]
    if any(back > len(shape) or before[-back] != shape[-back] for back in tracked):
        return LOST
    return tuple(field[-back] if back in tracked else None for back in range(len(shape), 0, -1))


@PERMUTE.reason
def permute_reason(call: CallView) -> str:
    """Dimensions change places."""
    if "dims" in call.attributes:
        return f"dims reordered to {', '.join(map(str, integers(call.attributes['dims'])))}"
    rank = len(call.output)
    first, second = swapped_dims(call, rank)
    return f"dims {first} and {second} swapped"


@PERMUTE.field
def permute_field(call: CallView, seen: Seen, shape: Shape) -> Field:
    """Axes move with their dimensions."""
    field, _ = seen[0]
    if "dims" in call.attributes:
        return tuple(field[d] for d in integers(call.attributes["dims"]))
    swapped = list(field)
    first, second = swapped_dims(call, len(field))
    swapped[first], swapped[second] = swapped[second], swapped[first]
    return tuple(swapped)


@SLICE.reason
def slice_reason(call: CallView) -> str:
    """⌈length / step⌉ along one dimension."""
    d = dim_of(call, len(call.output))
    if call.output == call.inputs[0]:
        return ""
    step = call.attributes.get("step")
    if isinstance(step, int) and step > 1:
        return f"⌈{call.inputs[0][d]}/{step}⌉ = {call.output[d]} along dim {d}"
    return f"{call.output[d]} of {call.inputs[0][d]} along dim {d}"


@SLICE.field
def slice_field(call: CallView, seen: Seen, shape: Shape) -> Field:
    """Every step-th position: the jump grows."""
    field, _ = seen[0]
    dim, stride = call.attributes.get("dim", 0), call.attributes.get("step", 1)
    along = int(dim) % max(len(field), 1) if isinstance(dim, int) else 0
    factor = stride if isinstance(stride, int) else 1
    return tuple(a.window(1, factor) if a and d == along else a for d, a in enumerate(field))


@SPLIT.reason
@UNBIND.reason
def split_reason(call: CallView) -> str:
    """One size is divided."""
    d = dim_of(call, len(call.inputs[0]))
    if call.output == call.inputs[0]:
        return ""
    if len(call.output) < len(call.inputs[0]):
        return f"dim {d} taken apart into {len(call.outputs)}"
    return f"{call.inputs[0][d]} = {' + '.join(str(shape[d]) for shape in call.outputs)} along dim {d}"


@SPLIT.field
def split_field(call: CallView, seen: Seen, shape: Shape) -> Field:
    """Positions are taken away; each one sees what it saw."""
    return seen[0][0]


@SELECT.reason
def select_reason(call: CallView) -> str:
    """One index of a dimension, which goes."""
    d = dim_of(call, len(call.inputs[0]))
    return f"one of {call.inputs[0][d]} along dim {d}"


@SELECT.field
@SQUEEZE.field
@UNBIND.field
def dropped_field(call: CallView, seen: Seen, shape: Shape) -> Field:
    """Dimensions come or go: the axes follow where the place of the change is told, else they are lost."""
    field, before = seen[0]
    dim = call.attributes.get("dim")
    if not isinstance(dim, int) or len(shape) == len(before):
        return field if len(shape) == len(before) else LOST
    if len(shape) > len(before):
        at = dim % max(len(shape), 1)
        return (*field[:at], None, *field[at:])
    at = dim % max(len(before), 1)
    return LOST if field[at] is not None else (*field[:at], *field[at + 1 :])
