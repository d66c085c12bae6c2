"""Values that are a function of a tensor's indices: linear, or in a few pieces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

Number = float | None


@dataclass(frozen=True)
class Positions:
    """A tensor whose elements are `coefficients` · indices + `offset`; a dimension of size 1 has the coefficient 0.

    With a `divisor` they are divided by it and rounded down; if `absolute`, their sign is dropped.
    """

    coefficients: tuple[int, ...]
    offset: int = 0
    divisor: int = 1
    absolute: bool = False

    @property
    def plain(self) -> bool:
        """Whether the elements are linear in the indices."""
        return self.divisor == 1 and not self.absolute


@dataclass(frozen=True)
class Pieces:
    """A tensor whose elements are a function of x = `coefficients` · indices: `values[k]` for cuts[k-1] <= x < cuts[k].

    Truth is 1.0 and 0.0. `named` says that the values were concluded from a name and may be the other way round. With
    `chunk`, the numbers of the chunks that two indices lie in, `values` hold where these are equal, and `apart`, for
    the same pieces, where they are not.
    """

    coefficients: tuple[int, ...]
    cuts: tuple[int, ...]
    values: tuple[Number, ...]
    named: bool = False
    chunk: tuple[Positions, Positions] | None = None
    apart: tuple[Number, ...] = ()

    def at(self, x: int, apart: bool = False) -> Number:
        """The value at x; for `apart`, the one of indices in different chunks."""
        return (self.apart if apart and self.chunk else self.values)[sum(cut <= x for cut in self.cuts)]


Known = Positions | Pieces
Elementwise = Callable[..., Number]


def constant(value: Number, rank: int) -> Pieces:
    """The same value everywhere."""
    return Pieces((0,) * rank, (), (value,))


def causal(rank: int, named: bool = False) -> Pieces:
    """True where the last index is at most the one before it."""
    return Pieces((*(0,) * (rank - 2), -1, 1), (1,), (1.0, 0.0), named)


def in_chunks(one: Positions, other: Positions, same: Number, apart: Number) -> Pieces:
    """A function of whether two indices, divided by the size of a chunk, lie in the same one."""
    query, key = sorted((one, other), key=lambda part: part.coefficients[::-1])
    difference = tuple(k - q for q, k in zip(query.coefficients, key.coefficients, strict=True))
    return oriented(Pieces(difference, (), (same,), chunk=(query, key), apart=(apart,)))


def merged(rule: Elementwise, operands: list[Pieces], rank: int) -> Known | None:
    """A pointwise function of pieces. Where two depend on different indices, the one that hides more keeps its own."""
    base = next((part for part in sorted(map(oriented, operands), key=_importance)), operands[0])
    chunk = base.chunk or next((part.chunk for part in operands if part.chunk), None)
    parts = []
    for part in map(oriented, operands):
        depends = any(part.coefficients) and part.coefficients != base.coefficients
        parts.append(constant(None, rank) if depends or part.chunk not in (None, chunk) else part)
    cuts = sorted({cut for part in parts for cut in part.cuts})
    places = [cuts[0] - 1, *cuts] if cuts else [0]
    values = tuple(rule(*(part.at(x) for part in parts)) for x in places)
    apart = tuple(rule(*(part.at(x, apart=True) for part in parts)) for x in places) if chunk else ()
    coefficients = base.coefficients if any(base.coefficients) else (0,) * rank
    return _joined(Pieces(coefficients, tuple(cuts), values, any(part.named for part in parts), chunk, apart))


def _importance(value: Pieces) -> int:
    """Functions of a difference of two indices first, then of one index, then constants."""
    varying = sum(1 for c in value.coefficients if c)
    return 0 if varying == 2 and sum(value.coefficients) == 0 else 1 if varying else 2


def _joined(value: Pieces) -> Pieces:
    """Without cuts between equal values."""
    both = list(zip(value.values, value.apart or value.values, strict=True))
    kept = [0, *(place for place, (a, b) in enumerate(pairwise(both), 1) if a != b)]
    apart = tuple(value.apart[place] for place in kept) if value.chunk else ()
    cuts = tuple(value.cuts[place - 1] for place in kept[1:])
    return replace(value, cuts=cuts, values=tuple(value.values[place] for place in kept), apart=apart)


def oriented(value: Pieces) -> Pieces:
    """The same with a positive last coefficient, so that equal functions have equal cuts."""
    if next((c for c in reversed(value.coefficients) if c), 1) > 0:
        return value
    turned = tuple(-c for c in value.coefficients)
    cuts = tuple(1 - cut for cut in reversed(value.cuts))
    return replace(value, coefficients=turned, cuts=cuts, values=value.values[::-1], apart=value.apart[::-1])


def padded(coefficients: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Coefficients as they are broadcast to a rank."""
    return (*(0,) * (rank - len(coefficients)), *coefficients)


def broadcast(value: Known, rank: int) -> Known:
    """What is known of a tensor after it was broadcast to a rank."""
    wide = replace(value, coefficients=padded(value.coefficients, rank))
    if isinstance(wide, Positions) or not wide.chunk:
        return wide
    query, key = (replace(part, coefficients=padded(part.coefficients, rank)) for part in wide.chunk)
    return replace(wide, chunk=(query, key))
