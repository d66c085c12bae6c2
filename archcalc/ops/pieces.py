"""Values that are a function of a tensor's indices: linear, or in a few pieces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

Number = float | None


@dataclass(frozen=True)
class Positions:
    """A tensor whose elements are `coefficients` · indices + `offset`; a dimension of size 1 has the coefficient 0."""

    coefficients: tuple[int, ...]
    offset: int = 0


@dataclass(frozen=True)
class Pieces:
    """A tensor whose elements are a function of x = `coefficients` · indices: `values[k]` for cuts[k-1] <= x < cuts[k].

    Truth is 1.0 and 0.0. `named` says that the values were concluded from a name and may be the other way round.
    """

    coefficients: tuple[int, ...]
    cuts: tuple[int, ...]
    values: tuple[Number, ...]
    named: bool = False

    def at(self, x: int) -> Number:
        """The value at x."""
        return self.values[sum(cut <= x for cut in self.cuts)]


Known = Positions | Pieces
Elementwise = Callable[..., Number]


def constant(value: Number, rank: int) -> Pieces:
    """The same value everywhere."""
    return Pieces((0,) * rank, (), (value,))


def causal(rank: int, named: bool = False) -> Pieces:
    """True where the last index is at most the one before it."""
    return Pieces((*(0,) * (rank - 2), -1, 1), (1,), (1.0, 0.0), named)


def merged(rule: Elementwise, operands: list[Pieces], rank: int) -> Known | None:
    """A pointwise function of pieces. Where two depend on different indices, the one that hides more keeps its own."""
    base = next((part for part in sorted(map(oriented, operands), key=_importance)), operands[0])
    parts = []
    for part in map(oriented, operands):
        depends = any(part.coefficients) and part.coefficients != base.coefficients
        parts.append(constant(None, rank) if depends else part)
    cuts = sorted({cut for part in parts for cut in part.cuts})
    places = [cuts[0] - 1, *cuts] if cuts else [0]
    values = tuple(rule(*(part.at(x) for part in parts)) for x in places)
    coefficients = base.coefficients if any(base.coefficients) else (0,) * rank
    return _joined(Pieces(coefficients, tuple(cuts), values, any(part.named for part in parts)))


def _importance(value: Pieces) -> int:
    """Functions of a difference of two indices first, then of one index, then constants."""
    varying = sum(1 for c in value.coefficients if c)
    return 0 if varying == 2 and sum(value.coefficients) == 0 else 1 if varying else 2


def _joined(value: Pieces) -> Pieces:
    """Without cuts between equal values."""
    kept = [cut for cut, (a, b) in zip(value.cuts, pairwise(value.values), strict=True) if a != b]
    values = [value.values[0], *(b for a, b in pairwise(value.values) if a != b)]
    return replace(value, cuts=tuple(kept), values=tuple(values))


def oriented(value: Pieces) -> Pieces:
    """The same with a positive last coefficient, so that equal functions have equal cuts."""
    if next((c for c in reversed(value.coefficients) if c), 1) > 0:
        return value
    turned = tuple(-c for c in value.coefficients)
    return replace(
        value, coefficients=turned, cuts=tuple(1 - cut for cut in reversed(value.cuts)), values=value.values[::-1]
    )


def padded(coefficients: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Coefficients as they are broadcast to a rank."""
    return (*(0,) * (rank - len(coefficients)), *coefficients)
