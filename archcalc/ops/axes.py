"""Places in space: how much of the input a position of a tensor sees along each dimension, and how far neighbours are.

Per axis a field has a size r (in input positions; WHOLE once pooling, normalisation or a product spans the axis) and a
jump j, the distance between neighbours. A window of k with stride s and dilation d makes r + d(k-1)·j and j·s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf

from archcalc.tracing import Shape

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

Seen = Sequence[tuple[Field, Shape]]
"""The fields and shapes of those inputs of an op call that have a place in space."""

NEUTRAL: Field = ()
"""A tensor that does not depend on the input: parameters and constants join as if they were not there."""
LOST: Field = (None,) * 99
"""A tensor whose dimensions have no place in space any more, such as after flattening."""
GLOBAL: Field = (Axis(WHOLE, Fraction(1)),) * 99
"""A tensor without a place in space of which every element sees the whole input, such as after global pooling."""
