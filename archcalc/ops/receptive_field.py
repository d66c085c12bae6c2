"""Receptive fields: how much of the input one position of a tensor sees, per spatial axis, maximum over all paths.

Per axis a field has a size r (in input positions; WHOLE once pooling, normalisation or a product spans the axis)
and a jump j, the distance between neighbours. A window of k with stride s and dilation d makes r + d(k-1)·j and
j·s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf

from archcalc.ops.elementwise import base_name
from archcalc.ops.shape_reasons import Numbers, integers, swapped_dims
from archcalc.tracing.records import Call, Shape, Trace

WHOLE = inf


@dataclass(frozen=True)
class Axis:
    """Field size and jump along one spatial axis."""

    size: float
    jump: Fraction

    def window(self, kernel: int, stride: Fraction | int, dilation: int = 1) -> Axis:
        """After a sliding window."""
        return Axis(self.size + float(dilation * (kernel - 1) * self.jump), self.jump * stride)

    def whole(self) -> Axis:
        """After an op that sees the whole axis."""
        return Axis(WHOLE, self.jump)


Field = tuple[Axis | None, ...]
"""One entry for each dimension of a tensor; None for dimensions without a place in space (batch, channels)."""

NEUTRAL: Field = ()
"""A tensor that does not depend on the input: parameters and constants join as if they were not there."""
LOST: Field = (None,) * 99
"""A tensor whose dimensions have no place in space any more, such as after flattening."""
GLOBAL: Field = (Axis(WHOLE, Fraction(1)),) * 99
"""A tensor without a place in space of which every element sees the whole input, such as after global pooling."""


def fields(trace: Trace) -> list[Field]:
    """For each tensor its field when it was last written, in the order of the trace's tensors.

    Inputs of rank 4 and 5 are N, C, then space; of rank 3 where a convolution or pooling reads them. Others have no
    place in space.
    """
    found: list[Field] = [NEUTRAL] * len(trace.tensors)
    read = {t for call in trace.calls if "conv" in call.op or "pool" in call.op for t in call.tensors()}
    for tensor in trace.input_tensors:
        rank = len(trace.shape(tensor))
        spatial = rank in (4, 5) or (rank == 3 and tensor in read)
        found[tensor] = (None, None, *(Axis(1, Fraction(1)) for _ in range(rank - 2))) if spatial else LOST
    for call in trace.calls:
        numbers = Numbers(trace, call)
        seen = [(found[t], trace.shape(t)) for t in call.tensors() if found[t] is not NEUTRAL]
        for tensor in call.outputs:
            found[tensor] = _after(call, numbers, seen, trace.shape(tensor))
    return found


def _after(call: Call, numbers: Numbers, seen: Sequence[tuple[Field, Shape]], shape: Shape) -> Field:
    """The field of an output: by the op's rule where all inputs have a place in space, else what they come to."""
    if not seen:
        return NEUTRAL
    placed = [(field, before) for field, before in seen if field is not LOST and field is not GLOBAL]
    everywhere = any(field is GLOBAL for field, _ in seen)
    if not placed:
        return GLOBAL if everywhere else LOST
    field = STEPS.get(base_name(call.op) or "", aligned)(numbers, placed, shape)
    if field is LOST:
        whole = any(axis is not None and axis.size == WHOLE for one, _ in placed for axis in one)
        return GLOBAL if whole or everywhere else LOST
    if everywhere:
        return tuple(axis and axis.whole() for axis in field)
    return field if len(placed) == len(seen) else LOST


Step = Callable[[Numbers, Sequence[tuple[Field, Shape]], Shape], Field]
STEPS: dict[str, Step] = {}


def step(*names: str) -> Callable[[Step], Step]:
    """Register how some ops change the field; all others keep it where the sizes stay."""

    def register(function: Step) -> Step:
        STEPS.update(dict.fromkeys(names, function))
        return function

    return register


def aligned(n: Numbers, seen: Sequence[tuple[Field, Shape]], shape: Shape) -> Field:
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


@step("view", "_unsafe_view", "reshape", "flatten", "unflatten")
def view(n: Numbers, seen: Sequence[tuple[Field, Shape]], shape: Shape) -> Field:
    """Axes that stay the last dimensions, size for size, keep their place; merged or split ones lose it."""
    field, before = seen[0]
    tracked = [back for back in range(1, len(field) + 1) if field[-back] is not None]
    if any(back > len(shape) or before[-back] != shape[-back] for back in tracked):
        return LOST
    return tuple(field[-back] if back in tracked else None for back in range(len(shape), 0, -1))


@step("convolution", "_convolution")
def convolution(n: Numbers, seen: Sequence[tuple[Field, Shape]], shape: Shape) -> Field:
    """Makes r + d(k-1)·j and j·s; transposed r + ⌊d(k-1)/s⌋·j and j/s."""
    field, _ = seen[0]
    kernel = n.named["weight"][2:]
    stride, dilation = (n.numbers(a, len(kernel), 1) for a in ("stride", "dilation"))
    out: list[Axis | None] = [None, None]
    for i, k in enumerate(kernel):
        axis = field[2 + i] if len(field) == len(shape) else None
        if axis is None:
            return LOST
        if n.attributes.get("transposed") is True:
            reach = dilation[i] * (k - 1) // stride[i]
            out.append(axis.window(reach + 1, Fraction(1, stride[i])))
        else:
            out.append(axis.window(k, stride[i], dilation[i]))
    return tuple(out)


@step("max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool1d", "avg_pool2d", "avg_pool3d")
def pooling(n: Numbers, seen: Sequence[tuple[Field, Shape]], shape: Shape) -> Field:
    """As a convolution with the same window."""
    field, _ = seen[0]
    dims = len(integers(n.attributes["kernel_size"])) or 1
    kernel = n.numbers("kernel_size", dims)
    stride = n.numbers("stride", dims) if integers(n.attributes.get("stride")) else kernel
    dilation = n.numbers("dilation", dims, 1)
    out = list(field)
    for i in range(dims):
        axis = field[len(field) - dims + i]
        out[len(field) - dims + i] = axis and axis.window(kernel[i], stride[i], dilation[i])
    return tuple(out)


@step("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d")
def adaptive(n: Numbers, seen: Sequence[tuple[Field, Shape]], shape: Shape) -> Field:
    """Windows of ⌊i·H/H'⌋ to ⌈(i+1)·H/H'⌉: the longest of them, at a stride of H/H'."""
    field, before = seen[0]
    out = list(field)
    for dim, axis in enumerate(field):
        if axis is not None and shape[dim] != before[dim]:
            h, new = before[dim], shape[dim]
            longest = max(-(-(i + 1) * h // new) - i * h // new for i in range(new))
            out[dim] = axis.whole() if new == 1 else axis.window(longest, Fraction(h, new))
    return tuple(out)


@step("mean", "sum", "amax", "amin", "max", "min", "var", "std", "prod", "logsumexp", "var_mean")
def reduction(n: Numbers, seen: Sequence[tuple[Field, Shape]], shape: Shape) -> Field:
    """A reduced axis is seen whole: it stays as an axis of size 1, or goes and is lost."""
    field, before = seen[0]
    reduced = {d % len(before) for d in integers(n.attributes.get("dim"))} or set(range(len(before)))
    if len(shape) == len(before):
        return tuple(a.whole() if a and d in reduced else a for d, a in enumerate(field))
    kept = tuple(axis for d, axis in enumerate(field) if d not in reduced)
    if any(field[d] is not None for d in reduced):
        return LOST if any(kept) else GLOBAL
    return kept


@step("_softmax", "_log_softmax", "_safe_softmax", "cumsum")
def along_dim(n: Numbers, seen: Sequence[tuple[Field, Shape]], shape: Shape) -> Field:
    """Every position of the dimension sees all of it."""
    field, _ = seen[0]
    dim = n.attributes.get("dim")
    along = int(dim) % len(shape) if isinstance(dim, int) else -1
    return tuple(a.whole() if a and d == along else a for d, a in enumerate(field))


@step("native_layer_norm", "native_group_norm", "_fused_rms_norm")
def normalised(n: Numbers, seen: Sequence[tuple[Field, Shape]], shape: Shape) -> Field:
    """Statistics over a spatial axis reach all of it; batch norm's are constants in evaluation."""
    field, _ = seen[0]
    spanned = len(integers(n.attributes.get("normalized_shape"))) or len(shape)
    return tuple(a.whole() if a and d >= len(shape) - spanned else a for d, a in enumerate(field))


@step("mm", "addmm", "bmm", "baddbmm", "linear", "mv", "embedding")
def product(n: Numbers, seen: Sequence[tuple[Field, Shape]], shape: Shape) -> Field:
    """Matrix products mix positions; what has a place in space is lost."""
    return LOST


@step("transpose", "t", "permute")
def permute(n: Numbers, seen: Sequence[tuple[Field, Shape]], shape: Shape) -> Field:
    """Axes move with their dimensions."""
    field, _ = seen[0]
    if "dims" in n.attributes:
        return tuple(field[d] for d in integers(n.attributes["dims"]))
    swapped = list(field)
    first, second = swapped_dims(n, len(field))
    swapped[first], swapped[second] = swapped[second], swapped[first]
    return tuple(swapped)


@step("slice")
def slice_(n: Numbers, seen: Sequence[tuple[Field, Shape]], shape: Shape) -> Field:
    """Every step-th position: the jump grows."""
    field, _ = seen[0]
    dim, stride = n.attributes.get("dim", 0), n.attributes.get("step", 1)
    along = int(dim) % len(field) if isinstance(dim, int) else 0
    factor = stride if isinstance(stride, int) else 1
    return tuple(a.window(1, factor) if a and d == along else a for d, a in enumerate(field))


@step(
    "constant_pad_nd", "reflection_pad2d", "replication_pad2d", "reflection_pad1d", "replication_pad1d", "roll", "split"
)
@step("split_with_sizes", "chunk")
def kept(n: Numbers, seen: Sequence[tuple[Field, Shape]], shape: Shape) -> Field:
    """Positions are added or taken away; each one sees what it saw."""
    return seen[0][0]


@step("upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_nearest1d", "upsample_linear1d")
def upsample(n: Numbers, seen: Sequence[tuple[Field, Shape]], shape: Shape) -> Field:
    """Neighbours come closer; interpolation looks at 2 (linear) or 4 (cubic) of them."""
    field, before = seen[0]
    taps = next((taps for kind, taps in (("nearest", 1), ("cubic", 4)) if kind in n.op), 2)
    return tuple(a and a.window(taps, Fraction(before[d], shape[d])) for d, a in enumerate(field))


@step("pixel_shuffle", "pixel_unshuffle")
def pixel_shuffle(n: Numbers, seen: Sequence[tuple[Field, Shape]], shape: Shape) -> Field:
    """Channels become positions of one neighbourhood, or neighbours become channels."""
    field, before = seen[0]
    out: list[Axis | None] = []
    for dim, axis in enumerate(field):
        ratio = Fraction(before[dim], shape[dim])
        out.append(axis and axis.window(max(1, int(ratio)), ratio))
    return tuple(out)


@step("select", "unsqueeze", "squeeze", "unbind")
def dropped(n: Numbers, seen: Sequence[tuple[Field, Shape]], shape: Shape) -> Field:
    """Dimensions come or go: the axes follow where the place of the change is told, else they are lost."""
    field, before = seen[0]
    dim = n.attributes.get("dim")
    if not isinstance(dim, int) or len(shape) == len(before):
        return field if len(shape) == len(before) else LOST
    if len(shape) > len(before):
        at = dim % len(shape)
        return (*field[:at], None, *field[at:])
    at = dim % len(before)
    return LOST if field[at] is not None else (*field[:at], *field[at + 1 :])
