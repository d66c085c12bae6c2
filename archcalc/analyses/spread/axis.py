"""A divided axis of a tensor, and where views, transpositions and slices put it.

An axis is known by the product of the sizes before it in row-major order, so that a view, which changes sizes and not
that order, leaves it where it is: 2·1024 stands before the features of (2, 1024, 768) and of (2048, 768) alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from archcalc.tracing import Shape

COLUMNS, SEQUENCE, SUM = "columns", "sequence", "sum"
"""The axes that ranks divide: features, heads or words; positions of the sequence; terms of a sum not yet added up."""
PACKED = 3
"""Queries, keys and values that one weight projects."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A divided axis: the product of the sizes `before` it, its `size`, and the kind of what is divided.

    `packed` axes are queries, keys and values in a row, each of which is divided. An `uneven` one may be divided with a
    remainder: words of a vocabulary, which frameworks pad.
    """

    before: int
    size: int
    kind: str = COLUMNS
    packed: bool = False
    uneven: bool = False

    def place(self, shape: Shape) -> tuple[int, int]:
        """The dimension of `shape` that holds the axis, and the factor of that dimension before it.

        >>> Axis(2048, 768).place((2, 1024, 768)), Axis(2, 1024).place((2048, 768))
        ((2, 1), (0, 2))
        """
        before = 1
        for dimension, size in enumerate(shape):
            if before * size > self.before:
                return dimension, max(1, self.before // before)
            before *= size
        return len(shape) - 1, 1

    def at(self, shape: Shape, dimension: int, outer: int = 1) -> Axis:
        """The same axis in a dimension of another shape."""
        return replace(self, before=prod(shape[:dimension]) * outer)

    def local(self, size: int, ranks: int) -> int:
        """The bytes on the rank that has most of a tensor of `size` bytes.

        >>> Axis(1, 768).local(3072, 4), Axis(1, 50257, uneven=True).local(50257, 8)
        (768, 6283)
        """
        if self.kind == SUM:
            return size
        return -(-self.size // ranks) * size // self.size


def viewed(axis: Axis, shape: Shape) -> Axis:
    """The axis in a view: where its dimension is split, the first of the new ones is divided (heads, of features).

    >>> viewed(Axis(2048, 768), (2, 1024, 12, 64)).size
    12
    >>> viewed(Axis(2048, 2304, packed=True), (2, 1024, 3, 12, 64))
    Axis(before=6144, size=12, kind='columns', packed=False, uneven=False)
    """
    if axis.kind == SUM:
        return axis
    dimension, _ = axis.place(shape)
    rest = prod(shape[: dimension + 1]) // axis.before
    if rest >= axis.size:
        return axis
    if axis.packed and rest == PACKED:
        return viewed(replace(axis, before=axis.before * PACKED, size=axis.size // PACKED, packed=False), shape)
    return replace(axis, size=rest)


def moved(axis: Axis, shape: Shape, result: Shape, order: Sequence[int]) -> Axis:
    """The axis where dimension `order[i]` of `shape` becomes dimension `i` of the result.

    >>> moved(Axis(2048, 12), (2, 1024, 12, 64), (2, 12, 1024, 64), (0, 2, 1, 3)).before
    2
    """
    if axis.kind == SUM:
        return axis
    dimension, outer = axis.place(shape)
    return axis.at(result, list(order).index(dimension), outer)


def cut(axis: Axis, shape: Shape, result: Shape) -> Axis:
    """The axis in a slice, or in several tensors put in a row: result has as many dimensions as `shape`.

    >>> cut(Axis(2048, 2304, packed=True), (2, 1024, 2304), (2, 1024, 768)).size
    768
    """
    if axis.kind == SUM:
        return axis
    dimension, outer = axis.place(shape)
    old, new = shape[dimension], result[dimension]
    if old == new:
        return axis.at(result, dimension, outer)
    inside = max(1, outer * new // old) if outer > 1 else 1
    ragged = axis.uneven or axis.kind == SEQUENCE
    return replace(axis.at(result, dimension, inside), size=max(1, new // inside), packed=False, uneven=ragged)
