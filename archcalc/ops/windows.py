"""Pooling, and the size that a sliding window leaves."""

from __future__ import annotations

from fractions import Fraction
from math import prod

from archcalc.ops.axes import Field, Seen
from archcalc.ops.call_view import CallView, integers, once
from archcalc.ops.met import by_pooling, reads_met
from archcalc.ops.reductions import EACH_INPUT
from archcalc.ops.registry import Op, Work
from archcalc.tracing import Shape


def window(h: int, k: int, s: int, p: int, d: int, out: int, ceil: bool = False) -> str:
    """The output size of a sliding window with its numbers, as short as they allow.

    >>> window(224, 7, 2, 3, 1, 112), window(56, 1, 1, 0, 1, 56), window(32, 3, 1, 2, 2, 32)
    ('⌊(224+2·3-7)/2⌋+1 = 112', '56-1+1 = 56', '32+2·2-2·(3-1)-1+1 = 32')
    """
    padded = f"{h}+2·{p}" if p else f"{h}"
    reach = f"{k}" if d == 1 else f"{d}·({k}-1)-1"
    if s == 1:
        return f"{padded}-{reach}+1 = {out}"
    left, right = ("⌈", "⌉") if ceil else ("⌊", "⌋")
    return f"{left}({padded}-{reach})/{s}{right}+1 = {out}"


def _taps(call: CallView) -> int:
    """Each output element meets every element of its window; one number of the kernel stands for all dimensions."""
    dims = len(call.output) - 2
    return prod(call.output) * prod(call.numbers("kernel_size", dims))


POOLING = Op(
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "max_pool2d_with_indices", "max_pool3d_with_indices",
    work=Work("the window an output element", _taps), traffic=reads_met(by_pooling),
)  # fmt: skip
ADAPTIVE = Op(
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d", work=EACH_INPUT
)
OTHERS = Op("adaptive_avg_pool1d", "fractional_max_pool2d", "fractional_max_pool3d", work=EACH_INPUT)


@POOLING.reason
def pooling_reason(call: CallView) -> str:
    """The convolution's rule, rounded up in ceil mode."""
    x = call.inputs[0]
    dims = len(integers(call.attributes["kernel_size"])) or 2
    k = call.numbers("kernel_size", dims)
    s = call.numbers("stride", dims) if integers(call.attributes.get("stride")) else k
    p, d = call.numbers("padding", dims), call.numbers("dilation", dims, 1)
    ceil = call.attributes.get("ceil_mode") is True
    offset = len(x) - dims
    return once([window(x[offset + i], k[i], s[i], p[i], d[i], call.output[offset + i], ceil) for i in range(dims)])


@POOLING.field
def pooling_field(call: CallView, seen: Seen, shape: Shape) -> Field:
    """As a convolution with the same window."""
    field, _ = seen[0]
    dims = len(integers(call.attributes["kernel_size"])) or 1
    kernel = call.numbers("kernel_size", dims)
    stride = call.numbers("stride", dims) if integers(call.attributes.get("stride")) else kernel
    dilation = call.numbers("dilation", dims, 1)
    out = list(field)
    for i in range(dims):
        axis = field[len(field) - dims + i]
        out[len(field) - dims + i] = axis and axis.window(kernel[i], stride[i], dilation[i])
    return tuple(out)


@ADAPTIVE.reason
def adaptive_reason(call: CallView) -> str:
    """The output size is what was asked for."""
    return f"adaptive: output {'x'.join(map(str, call.numbers('output_size', 2)))}"


@ADAPTIVE.field
def adaptive_field(call: CallView, seen: Seen, shape: Shape) -> Field:
    """Windows of ⌊i·H/H'⌋ to ⌈(i+1)·H/H'⌉: the longest of them, at a stride of H/H'."""
    field, before = seen[0]
    out = list(field)
    for dim, axis in enumerate(field):
        if axis is not None and shape[dim] != before[dim]:
            h, new = before[dim], shape[dim]
            longest = max(-(-(i + 1) * h // new) - i * h // new for i in range(new))
            out[dim] = axis.whole() if new == 1 else axis.window(longest, Fraction(h, new))
    return tuple(out)
