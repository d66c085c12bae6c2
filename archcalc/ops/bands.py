"""The scores that a mask hides, by the distance of query and key, and by the chunks that they lie in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise

from archcalc.ops.mask_arithmetic import HIDES
from archcalc.ops.pieces import Known, Number, Pieces, Positions, oriented
from archcalc.tracing import Shape


@dataclass(frozen=True)
class Hidden:
    """The shares of a product's MACs that a mask hides: of keys behind the query, and of others (a sliding window)."""

    causal: Fraction
    window: Fraction


@dataclass(frozen=True)
class Chunks:
    """Chunks of `size` positions; query i stands at position i + `query`, key j at j + `key`."""

    size: int
    query: int
    key: int

    def pairs_below(self, cut: int, n: int, m: int) -> int:
        """Pairs of a query i of n and a key j of m in the same chunk, with j - i < cut.

        >>> Chunks(4, 0, 0).pairs_below(1, 10, 10)  # two chunks of 4 and one of 2: 10 + 10 + 3
        23
        """
        total = 0
        for number in range(self.query // self.size, (self.query + n - 1) // self.size + 1):
            start, end = number * self.size, (number + 1) * self.size
            rows = max(0, start - self.query), min(n, end - self.query)
            keys = max(0, start - self.key), min(m, end - self.key)
            if rows[1] > rows[0] and keys[1] > keys[0]:
                total += pairs_below(cut + rows[0] - keys[0], rows[1] - rows[0], keys[1] - keys[0])
        return total


def pairs_below(cut: int, n: int, m: int) -> int:
    """Pairs of a query i of n and a key j of m with j - i < cut: the sum over i of i + cut, within 0 and m.

    >>> pairs_below(1, 4, 4)  # query i sees i + 1 keys: 1 + 2 + 3 + 4
    10
    """
    first = min(n, max(0, -cut))
    full = min(n, max(first, m - cut))
    between = (full - first) * (first + full - 1) // 2 + cut * (full - first)
    return between + m * (n - full)


@dataclass(frozen=True)
class Band:
    """The scores of n queries and m keys that a mask hides: `values[k]` if cuts[k-1] <= key - query < cuts[k].

    1 is hidden, 0 is visible, and None, which is not known, counts as visible. With `chunks` the values hold for pairs
    in the same chunk, and `apart` for the others.
    """

    n: int
    m: int
    cuts: tuple[int, ...]
    values: tuple[Number, ...]
    chunks: Chunks | None = None
    apart: tuple[Number, ...] = ()

    def shares(self) -> Hidden:
        """The hidden scores, as shares of all n · m.

        A mask is causal if it hides all keys from one place on, and this place is the first behind the query's own;
        the queries are the first or the last n of the m positions. All else that it hides is a window's, or a chunk's.
        """
        pairs = self._pairs([pairs_below(cut, self.n, self.m) for cut in self.cuts], self.n * self.m)
        together = pairs
        if self.chunks is not None:
            below = [self.chunks.pairs_below(cut, self.n, self.m) for cut in self.cuts]
            together = self._pairs(below, self.chunks.pairs_below(self.n + self.m, self.n, self.m))
        apart = self.apart or self.values
        hidden = sum(
            near * bool(value) + (count - near) * bool(far)
            for count, near, value, far in zip(pairs, together, self.values, apart, strict=True)
        )
        behind = bool(self.cuts and self.values[-1] and apart[-1])
        later = pairs[-1] if behind and 1 <= self.cuts[-1] <= max(0, self.m - self.n) + 1 else 0
        whole = max(1, self.n * self.m)
        return Hidden(Fraction(later, whole), Fraction(hidden - later, whole))

    @staticmethod
    def _pairs(below: list[int], all_: int) -> list[int]:
        """The pairs in each piece, from those below each cut."""
        return [end - start for start, end in pairwise([0, *below, all_])]

    def joined(self, other: Band | None) -> Band:
        """The mask that hides the scores of both; this one alone if their sizes or chunks differ."""
        if other is None or (self.n, self.m) != (other.n, other.m):
            return self
        if self.chunks and other.chunks and self.chunks != other.chunks:
            return self
        cuts = tuple(sorted({*self.cuts, *other.cuts}))
        places = [cuts[0] - 1, *cuts] if cuts else [0]
        values, apart = (tuple(max(self.at(x, far), other.at(x, far)) for x in places) for far in (False, True))
        chunks = self.chunks or other.chunks
        return Band(self.n, self.m, cuts, values, chunks, apart if chunks else ())

    def at(self, d: int, apart: bool = False) -> float:
        """Whether pairs with this d are hidden, as 1 or 0; for `apart`, pairs in different chunks."""
        values = self.apart if apart and self.chunks else self.values
        return values[sum(cut <= d for cut in self.cuts)] or 0.0


def band_of(mask: Known, shape: Shape, keys: int, truth: bool | None) -> Band | None:
    """The scores that a mask hides where it is `truth`, or, for None, where it is very negative.

    None for a mask that depends on anything but the difference of key and query, and the chunks that they lie in.
    """
    if not isinstance(mask, Pieces):
        return None
    mask = oriented(mask)
    alone = len(shape) > 1 and shape[-2] == 1  # one query, whose index is always 0
    row = len(shape) - 2 if alone else next((d for d, c in enumerate(mask.coefficients) if c == -1), -1)
    wanted = tuple(1 if d == len(shape) - 1 else -1 if d == row and not alone else 0 for d in range(len(shape)))
    if row < 0 or mask.coefficients != wanted:
        return None
    if mask.named and truth is None and not any(value is not None and value <= HIDES for value in mask.values):
        truth = False
    hides, apart = ([_is(value, truth) for value in values] for values in (mask.values, mask.apart))
    chunks = _chunks(mask.chunk, row, alone) if mask.chunk else None
    if mask.chunk and chunks is None:
        return None
    band = Band(shape[row], keys, mask.cuts, tuple(hides), chunks, tuple(apart))
    if mask.named and band.at(0):  # a query sees at least itself, so the mask was the other way round
        band = replace(band, values=tuple(None if value is None else 1 - value for value in hides))
    return band if any(band.values) or any(band.apart) else None


def _chunks(chunk: tuple[Positions, Positions], row: int, alone: bool) -> Chunks | None:
    """The chunks of queries and keys, if their indices count them one by one."""
    query, key = chunk
    last = len(key.coefficients) - 1
    ones = [tuple(int(d == place) for d in range(last + 1)) for place in (row, last)]
    if key.coefficients != ones[1] or query.coefficients != ((0,) * (last + 1) if alone else ones[0]):
        return None
    return Chunks(key.divisor, query.offset, key.offset)


def _is(value: Number, truth: bool | None) -> Number:
    if value is None:
        return None
    return float(value <= HIDES if truth is None else bool(value) is truth)
