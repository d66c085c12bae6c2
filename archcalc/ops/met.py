"""Which elements of a map the windows of an op meet: those between windows, and behind the last one, are not read.

A 1x1 convolution at a stride of 2, the shortcut of a residual network, reads a quarter of its map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from math import prod

from archcalc.ops.call_view import integers
from archcalc.ops.traffic import Moved, Operands, Rule, each_once
from archcalc.tracing import Shape

Met = Callable[[Operands], Fraction]
"""The part of a map that an op reads."""
MANY = 1 << 20
"""Places in windows that are looked at one by one; of more, those are counted that one element of the kernel meets."""


@lru_cache(4096)
def positions_met(h: int, kernel: int, stride: int, padding: int, dilation: int, out: int) -> int:
    """Of h positions those in any of `out` windows.

    >>> positions_met(56, 1, 2, 0, 1, 28), positions_met(56, 3, 2, 1, 1, 28), positions_met(56, 3, 2, 0, 1, 27)
    (28, 56, 55)
    """
    reach = (kernel - 1) * dilation + 1
    if (dilation == 1 and kernel >= stride) or (stride == 1 and out >= dilation):
        return max(0, min(h, (out - 1) * stride + reach - padding))
    if out * kernel > MANY:
        return max(len(_inside(h, stride, padding - tap * dilation, out)) for tap in range(kernel))
    return len({i * stride + tap * dilation - padding for tap in range(kernel) for i in range(out)} & set(range(h)))


def _inside(h: int, stride: int, before: int, out: int) -> range:
    """The windows i of which the place i · stride - before is one of h."""
    return range(max(0, -(-before // stride)), min(out, (h - 1 + before) // stride + 1))


def by_convolution(operands: Operands) -> Fraction:
    """The part of its input that a convolution reads, or its backward for the gradient of the weight."""
    weight, name = operands.shape("weight"), _name(operands)
    if operands.attributes.get("transposed") is True or len(weight) < 3:
        return Fraction(1)
    out = operands.shape("grad_output") or operands.output
    return _met(operands, operands.shape(name), weight[2:], out)


def by_pooling(operands: Operands) -> Fraction:
    """The part of its input that pooling reads."""
    return _met(operands, operands.shape("self"), integers(operands.attributes.get("kernel_size")), operands.output)


def by_taps(taps: int) -> Met:
    """The part of a map that an interpolation reads: so many neighbours of each result on each axis."""

    def met(operands: Operands) -> Fraction:
        before, after = operands.shape(_name(operands)), operands.output
        pairs = list(zip(before[2:], after[2:], strict=False))
        return _share([min(h, taps * new) for h, new in pairs], [h for h, _ in pairs])

    return met


def reads_met(met: Met) -> Rule:
    """The rule of ops that read a part of their map, and the rest of their inputs whole."""

    def rule(operands: Operands) -> Moved:
        moved = each_once(operands)
        return Moved(moved.read - passed_over(operands, met), moved.written)

    return rule


def passed_over(operands: Operands, met: Met) -> int:
    """Bytes of a map that an op does not read."""
    part = met(operands)
    return 0 if part == 1 else int((1 - part) * operands.bytes_of(_name(operands)))


def _name(operands: Operands) -> str:
    return "input" if operands.has("input") else "self"


def _met(operands: Operands, before: Shape, kernel: Sequence[int], after: Shape) -> Fraction:
    dims = len(kernel)
    if not dims or len(before) < dims or len(after) < dims:
        return Fraction(1)
    stride = _numbers(operands, "stride", dims, kernel)
    padding = _numbers(operands, "padding", dims, [0] * dims)
    dilation = _numbers(operands, "dilation", dims, [1] * dims)
    met = map(positions_met, before[-dims:], kernel, stride, padding, dilation, after[-dims:])
    return _share(list(met), before[-dims:])


def _share(met: Sequence[int], of: Sequence[int]) -> Fraction:
    return Fraction(prod(met), prod(of)) if prod(of) else Fraction(1)


def _numbers(operands: Operands, name: str, dims: int, default: Sequence[int]) -> Sequence[int]:
    """An attribute of one or `dims` numbers; `default` where it is not given."""
    numbers = integers(operands.attributes.get(name))
    return numbers * dims if len(numbers) == 1 else numbers or default
