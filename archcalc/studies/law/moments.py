"""The law of a figure that is the highest of many moments, such as a peak: one formula for each moment.

Members that run the same ops have the same moments. Each moment has its own formula in the knobs, and the figure is the
highest of them: other moments take over as the knobs grow, which small members do not show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from archcalc.studies.law.envelope import bounds, highest, samples
from archcalc.studies.law.interpolation import Law, Piece, at_node, degrees_of
from archcalc.studies.law.lattice import FARTHER, Lattice, Point
from archcalc.studies.law.polynomials import WITNESSES, Formula, Powers, fewest_powers, through, value
from archcalc.studies.law.stretches import stretches

ENLARGED = (1, 2, 4, 8, 16, 32, 64)
"""Factors by which the smallest members are enlarged if they run other ops or kernels than larger ones."""


@dataclass(frozen=True)
class Moments:
    """A figure during each op call of a training step, and the names of the ops."""

    ops: tuple[str, ...]
    values: tuple[int, ...]


MomentsAt = Callable[[Point], Moments | None]
"""The moments of a member, None where there is no such member."""


class Unlike(Exception):
    """Members whose moments do not correspond, or follow no formula."""


def law_of_moments(figure: str, moments_at: MomentsAt, on: Sequence[Lattice], own: Point) -> Law | None:
    """The law of the highest moment; None where the moments of members do not correspond.

    Every moment is confirmed at members that were not used to find its formula. If far members contradict, larger
    members are tried; if those have no law either, the domain ends at the farthest that agrees.
    """
    if _repeats(moments_at, on):
        return None
    closed = None
    for scale in ENLARGED if any(lattice.step for lattice in on) else (1,):
        try:
            found = _law(figure, moments_at, tuple(lattice.enlarged(scale) for lattice in on), own)
        except Unlike:
            continue
        if all(lattice.until is None for lattice in found.lattice):
            return found
        closed = closed or found
    return closed


def _repeats(moments_at: MomentsAt, on: Sequence[Lattice]) -> bool:
    """Whether larger members run more ops, so that no two of them have the same moments."""
    for axis, lattice in enumerate(on):
        last = [moments_at(at_node(_base(on), axis, node)) for node in lattice.nodes()[-2:]]
        if len({len(moments.ops) for moments in last if moments}) > 1:
            return True
    return False


@dataclass(frozen=True)
class _Members:
    """The members that run given ops."""

    moments_at: MomentsAt
    ops: tuple[str, ...]

    def values(self, point: Point) -> tuple[int, ...]:
        """The figure at each moment of a member; Unlike if there is none, or if it runs other ops."""
        moments = self.moments_at(point)
        if moments is None or moments.ops != self.ops:
            raise Unlike
        return moments.values

    def exists(self, point: Point) -> bool:
        """Whether the member can be traced."""
        return self.moments_at(point) is not None


@dataclass(frozen=True)
class _Fitted:
    """The formulas that the moments follow, and for each moment the number of its formula."""

    members: _Members
    formulas: Sequence[Formula]
    numbers: Sequence[int]

    def holds(self, point: Point) -> bool:
        """Whether every moment of a member is what its formula gives."""
        try:
            values = self.members.values(point)
        except Unlike:
            return False
        by_formula = [value(formula, point) for formula in self.formulas]
        return all(by_formula[number] == figure for number, figure in zip(self.numbers, values, strict=True))


def _law(figure: str, moments_at: MomentsAt, on: tuple[Lattice, ...], own: Point) -> Law:
    """The law on lattices; Unlike where there is none."""
    base = _base(on)
    typical = moments_at(base)
    if typical is None:
        raise Unlike
    members = _Members(moments_at, typical.ops)
    powers = [_powers(members, on, axis) for axis in range(len(on))]
    for extra in (0, 1):  # a power may have been hidden at the other knobs' base
        degrees = degrees_of(powers, extra)
        fitted = _fitted(members, on, powers, degrees)
        near = [_diagonal(on, [degree + more for degree in degrees]) for more in range(1, 1 + WITNESSES)]
        if all(fitted.holds(point) for point in near):
            break
    else:
        raise Unlike
    lattices, far = _reached(fitted, on)
    points = [*near, *far]
    if own and all(lattice.has(number) for lattice, number in zip(lattices, own, strict=True)) and own not in points:
        if not fitted.holds(own):
            raise Unlike
        points.append(own)
    return Law(figure, _pieces(fitted.formulas, lattices), lattices, tuple(dict.fromkeys(points)))


def _base(on: Sequence[Lattice]) -> Point:
    return tuple(lattice.nodes()[2] for lattice in on)


def _diagonal(on: Sequence[Lattice], positions: Sequence[int]) -> Point:
    """The member at some position of each lattice."""
    each = zip(on, positions, strict=True)
    return tuple(lattice.nodes()[min(position, len(lattice.nodes()) - 1)] for lattice, position in each)


def _powers(members: _Members, on: Sequence[Lattice], axis: int) -> Powers:
    """The powers of one knob that all moments together need; Unlike if one of them follows no formula."""
    each = fewest_powers(on[axis].nodes(), lambda node: members.values(at_node(_base(on), axis, node)))
    if each is None:
        raise Unlike
    divisor = max(powers.divisor for powers in each)
    return Powers(max(powers.degree + divisor - powers.divisor for powers in each), divisor)


def _fitted(members: _Members, on: Sequence[Lattice], powers: Sequence[Powers], degrees: Sequence[int]) -> _Fitted:
    """A formula for each moment, through a grid of members; moments that are equal there share theirs."""
    grid = [lattice.nodes()[: degree + 1] for lattice, degree in zip(on, degrees, strict=True)]
    points = list(product(*grid))
    columns = list(zip(*(members.values(point) for point in points), strict=True))
    numbers = {column: number for number, column in enumerate(dict.fromkeys(columns))}
    divisors = [fitted.divisor for fitted in powers]
    formulas = [through(grid, divisors, dict(zip(points, column, strict=True)).__getitem__) for column in numbers]
    return _Fitted(members, formulas, [numbers[column] for column in columns])


def _reached(fitted: _Fitted, on: Sequence[Lattice]) -> tuple[tuple[Lattice, ...], list[Point]]:
    """The domain and the far members that agree, in each knob and at all corners; closed where one contradicts."""
    base = _base(on)
    lattices, far, reached = [], [], list(base)
    for axis, lattice in enumerate(on):
        until = None
        for number in _far(lattice):
            point = at_node(base, axis, number)
            if not fitted.members.exists(point):
                break
            if not fitted.holds(point):
                until = max(reached[axis], lattice.nodes()[-1])
                break
            far.append(point)
            reached[axis] = number
        lattices.append(lattice if until is None else lattice.from_to(lattice.start, until))
    return tuple(lattices), [*far, *_corners(fitted, lattices, reached)]


def _corners(fitted: _Fitted, on: Sequence[Lattice], reached: Sequence[int]) -> list[Point]:
    """The corners of what was reached that exist; Unlike if one of them contradicts."""
    ends = [(lattice.start, lattice.until or far) for lattice, far in zip(on, reached, strict=True)]
    corners = [point for point in product(*ends) if fitted.members.exists(point)]
    if not all(fitted.holds(point) for point in corners):
        raise Unlike
    return corners


def _far(lattice: Lattice) -> list[int]:
    """Values far from the first ones, the farthest last."""
    far = lattice.far()[::-1]
    return [*far, lattice.start + (far[-1] - lattice.start) * FARTHER] if lattice.step else far


def _pieces(formulas: Sequence[Formula], on: Sequence[Lattice]) -> tuple[Piece, ...]:
    """The formulas that are the highest somewhere, with the places where they are."""
    if len(on) == 1:
        return _in_one_knob(formulas, on[0])
    starts = [lattice.start for lattice in on]
    top = highest(formulas, starts)
    if len(top) == 1:
        return (Piece(top[0]),)
    examples = {}
    for point in reversed(list(_spread(on))):
        values = [value(formula, point) for formula in top]
        examples[values.index(max(values))] = point
    return tuple(
        Piece(formula, bounds=tuple(bounds(top, number, starts)), example=examples.get(number, ()))
        for number, formula in enumerate(top)
    )


def _spread(on: Sequence[Lattice]) -> Iterator[Point]:
    """Members of the domain from near its start to far away."""
    for steps in samples(len(on)):
        numbers = [
            lattice.start + lattice.step * ahead if lattice.step else lattice.start * 2 ** ahead.bit_length()
            for lattice, ahead in zip(on, steps, strict=True)
        ]
        if all(lattice.has(number) for lattice, number in zip(on, numbers, strict=True)):
            yield tuple(numbers)


def _in_one_knob(formulas: Sequence[Formula], lattice: Lattice) -> tuple[Piece, ...]:
    pieces = []
    for formula, first, last in stretches(formulas, lattice.start, lattice.step or 1):
        inside = lattice.within(first, last)
        if inside:
            pieces.append(Piece(formula, *inside))
    return (Piece(pieces[0].formula),) if len(pieces) == 1 else tuple(pieces)
