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


@lru_cache(4096)
def positions_met(h: int, kernel: int, stride: int, padding: int, dilation: int, out: int) -> int:
    """Of h positions those in any of `out` windows.

    >>> positions_met(56, 1, 2, 0, 1, 28), positions_met(56, 3, 2, 1, 1, 28), positions_met(56, 3, 2, 0, 1, 27)
    (28, 56, 55)
    """
    if dilation == 1 and kernel >= stride:
        return max(0, min(h, (out - 1) * stride + kernel - padding))
    places = {i * stride + j * dilation - padding for i in range(out) for j in range(kernel)}
    return len(places & set(range(h)))


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
