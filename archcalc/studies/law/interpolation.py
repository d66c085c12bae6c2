"""How a figure grows with knobs: an exact formula found on a few small members and confirmed on others.

A law is given only where members that had no part in making it agree with it, some of them far away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import product
from math import prod

from archcalc.studies.bisection import first
from archcalc.studies.law.lattice import CALLS, FARTHER, NODES, SCALES, Evaluate, Lattice, Point, Refused
from archcalc.studies.law.polynomials import HIGHEST, WITNESSES, Formula, Powers, fewest_powers, leading, through, value

ENOUGH = 20_000
"""Op calls that a far member may always have, about a second: a dearer one must not exceed the network itself."""
SQUARE = 3
"""Nodes from which op calls are foretold: they grow at most with the square of a knob in the networks that we know."""
REPEATED = (1, 2, 3, 4, 6, 8, 16)
"""The factors for figures whose number of moments grows with a knob, so that members become dear."""


@dataclass(frozen=True)
class Piece:
    """A formula, and where it gives the law.

    In one knob from its first to its last value (None: for ever); in several knobs where it is at least as high as all
    of `bounds`, such as at the member `example`; no such member was met if it is empty. A law of a single piece has
    none of these.
    """

    formula: Formula
    first: int | None = None
    last: int | None = None
    bounds: tuple[Formula, ...] = ()
    example: Point = ()


@dataclass(frozen=True)
class Law:
    """A figure as the highest of formulas in the knobs, the lattice it holds on, and the members it was checked at."""

    figure: str
    pieces: tuple[Piece, ...]
    lattice: tuple[Lattice, ...]
    checked_at: tuple[Point, ...]

    @property
    def formula(self) -> Formula:
        """The formula of a law that has one piece."""
        (piece,) = self.pieces
        return piece.formula

    def value(self, point: Sequence[int]) -> Fraction:
        """The figure of a member."""
        return max(value(piece.formula, point) for piece in self.pieces)

    def has(self, point: Sequence[int]) -> bool:
        """Whether a member is in the domain."""
        return bool(point) and all(lattice.has(number) for lattice, number in zip(self.lattice, point, strict=True))

    @property
    def farthest(self) -> Point:
        """The largest member it was checked at."""
        return max(self.checked_at, key=prod)

    @property
    def powers(self) -> Formula:
        """The powers that decide how it grows, as terms: those of the last piece in one knob, else of all pieces."""
        decide = self.pieces[-1:] if len(self.lattice) == 1 else self.pieces
        return {powers: Fraction(1) for piece in decide for powers in leading(piece.formula)}

    @property
    def leading(self) -> list[tuple[int, ...]]:
        """The powers of the terms that nothing outgrows."""
        return leading(self.powers)


def law(figure: str, evaluate: Evaluate, on: Sequence[Lattice], own: Point = ()) -> Law | Refused:
    """The formula of a figure on lattices, confirmed on members that were not used to find it.

    Small members may follow another formula. `own` is the network itself, which has to agree with a law on a lattice
    that it is on.
    """
    reason = ""
    for scale in SCALES:
        result = _interpolated(figure, evaluate, [lattice.enlarged(scale) for lattice in on], own)
        if isinstance(result, Law):
            return result
        reason = result.reason if not reason or "no member" not in result.reason else reason
    return Refused(figure, reason)


def closed_law(figure: str, evaluate: Evaluate, on: Sequence[Lattice], own: Point = ()) -> Law | Refused:
    """The same for a figure that is the highest of moments which cannot be told apart: true up to the members checked.

    Another moment may be the highest anywhere, so that more members are checked: all corners of the domain, and some
    between its ends.
    """
    reason = ""
    for scale in REPEATED:
        result = _interpolated(figure, evaluate, [lattice.enlarged(scale) for lattice in on], own)
        if isinstance(result, Refused):
            reason = reason or result.reason
            continue
        ends = [_end(result, axis, own) for axis in range(len(on))]
        closed = tuple(lattice.from_to(lattice.start, end) for lattice, end in zip(result.lattice, ends, strict=True))
        corners = [*product(*zip((lattice.start for lattice in closed), ends, strict=True)), *_between(closed, ends)]
        seen = {
            point: figures[figure]
            for point in corners
            if point not in result.checked_at and (figures := evaluate(point)) is not None
        }
        if all(result.value(point) == number for point, number in seen.items()):
            return replace(result, lattice=closed, checked_at=(*result.checked_at, *seen))
        reason = reason or "another moment becomes the highest among larger members"
    return Refused(figure, reason)


def _end(found: Law, axis: int, own: Point) -> int:
    """The farthest value of a knob that a law was checked at, not counting a network that is farther than far members.

    Between such a network and the members beside it another moment may be the highest.
    """
    farthest = found.lattice[axis].far()[0]
    return max(point[axis] for point in found.checked_at if point != own or point[axis] <= farthest)


def _between(on: Sequence[Lattice], ends: Sequence[int]) -> list[Point]:
    """Members between the ends of a domain, in all knobs at once."""
    between = [[far for far in lattice.far() if far < end] for lattice, end in zip(on, ends, strict=True)]
    return list(zip(*between, strict=False))


def _interpolated(figure: str, evaluate: Evaluate, on: Sequence[Lattice], own: Point) -> Law | Refused:
    base = tuple(lattice.nodes()[2] for lattice in on)
    powers: list[Powers] = []

    def value_at(point: Point) -> int:
        figures = evaluate(point)
        if figures is None:
            raise LookupError(point)
        return figures[figure]

    try:
        for axis, lattice in enumerate(on):
            along = partial(at_node, base, axis)
            fitted = fewest_powers(lattice.nodes(), partial(_value_along, along, value_at))
            if fitted is None:
                return Refused(figure, f"no formula of powers up to {HIGHEST} goes through {lattice.words}")
            powers += fitted
        for extra in (0, 1):  # a power may have been hidden at the other knobs' base
            degrees = degrees_of(powers, extra)
            grid = [lattice.nodes()[: degree + 1] for lattice, degree in zip(on, degrees, strict=True)]
            formula = through(grid, [fitted.divisor for fitted in powers], value_at)
            result = Law(figure, (Piece(formula),), tuple(on), ())
            points = witnesses(evaluate, on, degrees, own if result.has(own) else ())
            wrong = [point for point in points if value(formula, point) != value_at(point)]
            if not wrong:
                return replace(result, checked_at=tuple(points))
    except LookupError as missing:
        return Refused(figure, f"there is no member at {missing.args[0]}")
    at = ", ".join(f"{lattice.knob} = {number}" for lattice, number in zip(on, wrong[0], strict=True))
    return Refused(figure, f"the formula through small members fails at {at}")


def _value_along(along: Callable[[int], Point], value_at: Callable[[Point], int], node: int) -> tuple[int]:
    """The figure at a node of one knob, as the only column of a row."""
    return (value_at(along(node)),)


def at_node(base: Point, axis: int, node: int) -> Point:
    """The base with another value of one knob."""
    return (*base[:axis], node, *base[axis + 1 :])


def degrees_of(powers: Sequence[Powers], extra: int) -> list[int]:
    """The degree in each knob of the formula to look for; `extra` more than one knob alone shows, if there are more."""
    return [min(fitted.degree + extra * (len(powers) > 1), NODES - 2) for fitted in powers]


def witnesses(evaluate: Evaluate, on: Sequence[Lattice], degrees: Sequence[int], own: Point = ()) -> list[Point]:
    """Members to confirm a formula: the next ones of the lattice, far ones in each knob and in all, and `own`.

    `own` is the network itself, () if it is not on the lattice.
    """
    small = [lattice.nodes()[min(2, len(lattice.nodes()) - 1)] for lattice in on]
    near = [
        tuple(lattice.nodes()[min(d + n, len(lattice.nodes()) - 1)] for lattice, d in zip(on, degrees, strict=True))
        for n in range(1, 1 + WITNESSES)
    ]
    far: list[Point] = []
    reached: list[int] = []
    for axis, lattice in enumerate(on):
        points = affordable(evaluate, lattice, partial(at_node, tuple(small), axis), own)
        reachable = next((point for point in points if evaluate(point) is not None), None)
        beyond = [at_node(tuple(small), axis, node) for node in lattice.nodes()[degrees[axis] + 1 + WITNESSES :]]
        far += [reachable] if reachable else [point for point in beyond if evaluate(point) is not None]
        reached.append(reachable[axis] if reachable else small[axis])
        if reachable and lattice.step and _as_many_calls(evaluate, reachable, tuple(small)):
            number = lattice.start + (reachable[axis] - lattice.start) * FARTHER
            farther = (*small[:axis], number, *small[axis + 1 :])
            if evaluate(farther) is not None:
                far.append(farther)
                reached[axis] = number
    together = tuple(reached)
    far += [together] if len(on) > 1 and evaluate(together) is not None else []
    return list(dict.fromkeys([*near, *far, *([own] if own else [])]))


def affordable(evaluate: Evaluate, lattice: Lattice, at: Callable[[int], Point], own: Point) -> list[Point]:
    """Far members along one knob, the farthest first, without those that are much dearer than the network itself.

    What a member costs is its number of op calls, foretold from the small ones; where it does not grow with the knob,
    all are left. The network itself is traced anyway: in one knob it is the far member, if it is farther than those.
    """
    numbers = lattice.far()
    limit = max(ENOUGH, _calls(evaluate, own), _calls(evaluate, at(lattice.nodes()[SQUARE - 1])))
    cheap = [number for number in numbers if expected_calls(evaluate, lattice, at, number) <= limit] or numbers[-1:]
    if len(own) == 1 and cheap[0] < own[0] <= numbers[0]:
        return [own]
    return [at(number) for number in cheap]


def expected_calls(evaluate: Evaluate, lattice: Lattice, at: Callable[[int], Point], number: int) -> Fraction:
    """The op calls of a member by the formula through those of the first nodes; 0 if they are not known."""
    nodes = lattice.nodes()[:SQUARE]
    return value(through([nodes], [0], lambda node: _calls(evaluate, at(*node))), [number])


def _calls(evaluate: Evaluate, point: Point) -> int:
    """The op calls of a member; 0 if there is none, or if they are not known."""
    figures = evaluate(point) if point else None
    return (figures or {}).get(CALLS, 0)


def _as_many_calls(evaluate: Evaluate, point: Point, other: Point) -> bool:
    """Whether two members take equally many op calls, so that a far one costs no more to trace."""
    a, b = evaluate(point) or {}, evaluate(other) or {}
    return bool(a.get(CALLS)) and a.get(CALLS) == b.get(CALLS)


def passes(formula: Formula) -> tuple[int, int] | None:
    """The highest power of a formula in one knob, and the first value at which that term exceeds the sum of all others.

    None where one term is all there is.

    >>> from fractions import Fraction
    >>> passes({(2,): Fraction(1), (1,): Fraction(6143)})
    (2, 6144)
    """
    if len(formula) < 2:
        return None
    (highest,) = max(formula)
    rest = {powers: coefficient for powers, coefficient in formula.items() if powers != (highest,)}

    def exceeds(number: int) -> bool:
        return abs(value({(highest,): formula[(highest,)]}, [number])) > abs(value(rest, [number]))

    above = 1
    while not exceeds(above) and above < 2**60:
        above *= 2
    above = first(exceeds, above // 2 + 1, above)
    return (highest, above) if above < 2**60 else None
