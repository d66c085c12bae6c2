"""How a figure grows with knobs: an exact formula found on a few small members and confirmed on others.

Members are taken from a lattice, since formulas hold where strides divide sizes and heads divide widths. A law is given
only where members that had no part in making it agree with it, one of them far away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from math import prod

from archcalc.studies.law.polynomials import HIGHEST, WITNESSES, Formula, Powers, leading, powers_in, through, value

STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 256)
SIZE_STEPS = (32, 16, 8, 4, 2, 1)
"""Of an image's size the coarse lattice is tried first: most strides divide 32."""
FAR = {"batch": 90, "seq_len": 90, "size": 9}
"""How many steps away the far member is; 18 for knobs that make the network larger."""
FARTHER = 20
"""How many times as far another one is, where a member does not take more op calls for it."""
CALLS = "op calls"
"""The key under which a member says how many op calls it took."""
WIDE = 1024
"""A width that many powers of two divide."""
NODES = HIGHEST + 1 + WITNESSES
SCALES = (1, 2, 4, 8, 16, 32, 64, 256, 1024)
"""Factors by which the smallest members are enlarged if a figure follows no formula on small ones."""

Point = tuple[int, ...]
Evaluate = Callable[[Point], Mapping[str, int] | None]
"""The figures of a member, None where there is no such member."""


@dataclass(frozen=True)
class Lattice:
    """The values of a knob on which laws hold: every `step` from `start`, or powers of two where there is no step."""

    knob: str
    start: int
    step: int

    def nodes(self) -> list[int]:
        """The first values of the lattice, from which a formula is found."""
        if self.step:
            return [self.start + self.step * n for n in range(NODES)]
        return [self.start * 2**n for n in range(NODES - 1)]

    def far(self) -> list[int]:
        """Values far from the first ones, the farthest first."""
        if not self.step:
            return [self.start * 2**n for n in (NODES, NODES - 1)]
        steps = FAR.get(self.knob, 18)
        return [self.start + self.step * (NODES + n) for n in (steps, steps // 3, 2)]

    def has(self, number: int) -> bool:
        """Whether a value is on the lattice."""
        if self.step:
            return number >= self.start and (number - self.start) % self.step == 0
        return number >= self.start and (number // self.start).bit_count() == 1 and number % self.start == 0

    @property
    def words(self) -> str:
        """The lattice in words: depth = 10, 16, 22, ..."""
        return f"{self.knob} = {', '.join(map(str, self.nodes()[:3]))}, ..."


@dataclass(frozen=True)
class Law:
    """A figure as a formula in the knobs, the lattice it holds on, and the members it was checked at."""

    figure: str
    formula: Formula
    lattice: tuple[Lattice, ...]
    checked_at: tuple[Point, ...]

    @property
    def farthest(self) -> Point:
        """The largest member it was checked at."""
        return max(self.checked_at, key=prod)

    @property
    def leading(self) -> list[tuple[int, ...]]:
        """The powers of the terms that nothing outgrows."""
        return leading(self.formula)


@dataclass(frozen=True)
class Refused:
    """A figure for which no law was found, and why."""

    figure: str
    reason: str


def lattices(evaluate: Evaluate, base: Mapping[str, int]) -> tuple[Lattice, ...] | Refused:
    """A lattice for each knob on which all figures are formulas, around the base; Refused names a knob without one."""
    by_knob = {knob: _lattice(evaluate, base, knob) or _powers_of_two(evaluate, base, knob) for knob in base}
    without = [knob for knob, lattice in by_knob.items() if lattice is None]
    dividing = {knob: lattice.nodes()[-1] for knob, lattice in by_knob.items() if lattice and not lattice.step}
    if dividing and not without and len(dividing) < len(base):  # what is divided has to be divisible by all of them
        wider = {**base, **dividing}
        wider |= {knob: 8 * max(dividing.values()) for knob in base if knob not in dividing}
        by_knob |= {knob: _lattice(evaluate, wider, knob) for knob in base if knob not in dividing}
        without = [knob for knob, lattice in by_knob.items() if lattice is None]
    if without:
        reason = f"on no lattice of {without[0]} around {base[without[0]]} do the members follow a formula"
        return Refused("", reason)
    return tuple(lattice for lattice in by_knob.values() if lattice)


def _lattice(evaluate: Evaluate, base: Mapping[str, int], knob: str) -> Lattice | None:
    """The finest lattice through the base value on which the figures follow formulas of few powers."""
    best = None
    for step in SIZE_STEPS if knob == "size" else STEPS:
        lattice = _on_steps(evaluate, base, knob, step)
        if knob != "size" and lattice:
            return lattice
        if lattice is None and best:
            return best
        best = lattice or best
    return best


def _powers_of_two(evaluate: Evaluate, base: Mapping[str, int], knob: str) -> Lattice | None:
    """The powers of two of a knob that divides others, with the others large if their own values are too small."""
    for others in (base, {name: number if name == knob else WIDE for name, number in base.items()}):
        for start in (1, 2):
            powers = Lattice(knob, start, 0)
            if _follows(evaluate, others, knob, powers.nodes()):
                return powers
    return None


def _on_steps(evaluate: Evaluate, base: Mapping[str, int], knob: str, step: int) -> Lattice | None:
    first = base[knob] % step or step
    candidates = islice(count(first, step), 12 if step > 1 else 24)
    start = next((v for v in candidates if evaluate(_at(base, knob, v)) is not None), None)
    if start is None:
        return None
    for begin in dict.fromkeys((start, start + step, start + 3 * step)):
        lattice = Lattice(knob, begin, step)
        if _follows(evaluate, base, knob, lattice.nodes()):
            return lattice
    return None


def _follows(evaluate: Evaluate, base: Mapping[str, int], knob: str, nodes: Sequence[int]) -> bool:
    """Whether all the members exist and every figure is a formula of few powers there."""
    seen = []
    for node in nodes:
        figures = evaluate(_at(base, knob, node))
        if figures is None:
            return False
        seen.append(figures)
    names = [name for name in seen[0] if name != CALLS]
    return all(powers_in(nodes, [figures[name] for figures in seen]) for name in names)


def _at(base: Mapping[str, int], knob: str, node: int) -> Point:
    return tuple(node if name == knob else number for name, number in base.items())


def law(figure: str, evaluate: Evaluate, on: Sequence[Lattice], own: Point = ()) -> Law | Refused:
    """The formula of a figure on lattices, confirmed on members that were not used to find it.

    A peak is the highest of several moments: for small members another moment may be the highest. `own` is the network
    itself, which has to agree with a law on a lattice that it is on.
    """
    reason = ""
    for scale in SCALES:
        shifted = [_from(lattice, scale) for lattice in on]
        result = _interpolated(figure, evaluate, shifted, own)
        if isinstance(result, Law):
            return result
        reason = result.reason if not reason or "no member" not in result.reason else reason
    return Refused(figure, reason)


def _from(lattice: Lattice, scale: int) -> Lattice:
    if not lattice.step:
        return lattice
    return Lattice(lattice.knob, lattice.start + lattice.step * (scale - 1), lattice.step)


def _interpolated(figure: str, evaluate: Evaluate, on: Sequence[Lattice], own: Point) -> Law | Refused:
    base = {lattice.knob: lattice.nodes()[2] for lattice in on}
    powers: list[Powers] = []

    def value_at(point: Point) -> int:
        figures = evaluate(point)
        if figures is None:
            raise LookupError(point)
        return figures[figure]

    try:
        for lattice in on:
            nodes = lattice.nodes()
            fitted = powers_in(nodes, [value_at(_at(base, lattice.knob, node)) for node in nodes])
            if fitted is None:
                return Refused(figure, f"no formula of powers up to {HIGHEST} goes through {lattice.words}")
            powers.append(fitted)
        for extra in (0, 1):  # a power may have been hidden at the other knobs' base
            degrees = [min(fitted.degree + extra * (len(on) > 1), NODES - 2) for fitted in powers]
            grid = [lattice.nodes()[: degree + 1] for lattice, degree in zip(on, degrees, strict=True)]
            formula = through(grid, [fitted.divisor for fitted in powers], value_at)
            points = _witnesses(evaluate, on, degrees)
            points += [own] if _on(own, on) and own not in points else []
            wrong = [point for point in points if value(formula, point) != value_at(point)]
            if not wrong:
                return Law(figure, formula, tuple(on), tuple(points))
    except LookupError as missing:
        return Refused(figure, f"there is no member at {missing.args[0]}")
    at = ", ".join(f"{lattice.knob} = {number}" for lattice, number in zip(on, wrong[0], strict=True))
    return Refused(figure, f"the formula through small members fails at {at}")


def _on(point: Point, on: Sequence[Lattice]) -> bool:
    """Whether a member is on the lattices."""
    return bool(point) and all(lattice.has(number) for lattice, number in zip(on, point, strict=True))


def _witnesses(evaluate: Evaluate, on: Sequence[Lattice], degrees: Sequence[int]) -> list[Point]:
    """Members to confirm a formula: the next ones of the lattice, and far ones in each knob and in all."""
    small = [lattice.nodes()[min(2, len(lattice.nodes()) - 1)] for lattice in on]
    near = [
        tuple(lattice.nodes()[min(d + n, len(lattice.nodes()) - 1)] for lattice, d in zip(on, degrees, strict=True))
        for n in range(1, 1 + WITNESSES)
    ]
    far: list[Point] = []
    reached = []
    for axis, lattice in enumerate(on):
        points = [(*small[:axis], number, *small[axis + 1 :]) for number in lattice.far()]
        reachable = next((point for point in points if evaluate(point) is not None), None)
        far += [reachable] if reachable else []
        reached.append(reachable[axis] if reachable else small[axis])
        if reachable and lattice.step and lattice.knob in FAR and _as_many_calls(evaluate, reachable, tuple(small)):
            number = lattice.start + (reachable[axis] - lattice.start) * FARTHER
            farther = (*small[:axis], number, *small[axis + 1 :])
            far += [farther] if evaluate(farther) is not None else []
    together = tuple(reached)
    far += [together] if len(on) > 1 and evaluate(together) is not None else []
    return list(dict.fromkeys([*near, *far]))


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
    below = above // 2
    while above - below > 1:
        middle = (above + below) // 2
        below, above = (below, middle) if exceeds(middle) else (middle, above)
    return (highest, above) if above < 2**60 else None
