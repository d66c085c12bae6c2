"""The lattice of members on which figures are formulas: every so many steps of a knob, or its powers of two.

Formulas hold where strides divide sizes and heads divide widths, so that members are taken from such a lattice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice

from archcalc.studies.law.polynomials import HIGHEST, WITNESSES, powers_in

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
    until: int | None = None
    """The last value of a closed domain; None where the law goes on."""

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
        if number < self.start or (self.until is not None and number > self.until):
            return False
        if self.step:
            return (number - self.start) % self.step == 0
        return (number // self.start).bit_count() == 1 and number % self.start == 0

    def enlarged(self, scale: int) -> Lattice:
        """The same lattice with a start `scale` times as many steps away; powers of two stay as they are."""
        return replace(self, start=self.start + self.step * (scale - 1)) if self.step else self

    def from_to(self, first: int, last: int | None) -> Lattice:
        """Its part from `first` to `last`, both of them on the lattice."""
        return replace(self, start=first, until=last)

    def within(self, first: int, last: int | None) -> tuple[int, int | None] | None:
        """The first and the last value of the domain from `first` to `last` (None: no last one); None without any.

        >>> Lattice("groups", 1, 0).within(3, 20), Lattice("depth", 10, 6, 40).within(22, None)
        ((4, 16), (22, 40))
        """
        last = self.until if last is None else last if self.until is None else min(last, self.until)
        if self.step:
            steps = max(0, -(-(first - self.start) // self.step))
            first = self.start + self.step * steps
            last = None if last is None else last - (last - self.start) % self.step
        else:
            first = next(self.start * 2**n for n in count() if self.start * 2**n >= first)
            last = (
                None
                if last is None
                else self.start * 2 ** ((last // self.start).bit_length() - 1)
                if last >= self.start
                else 0
            )
        return (first, last) if last is None or first <= last else None

    def text(self, name: str) -> str:
        """The lattice in words.

        >>> Lattice("depth", 10, 6).text("L"), Lattice("batch", 1, 1, 2).text("B"), Lattice("width", 8, 8, 80).text("w")
        ('L = 10, 16, 22, ...', 'B = 1, 2', 'w = 8, 16, 24, ..., 80')
        """
        shown = [str(number) for number in self.nodes()[:5] if self.has(number)]
        if len(shown) == 5:
            shown[3:] = ["...", *([] if self.until is None else [str(self.until)])]
        return f"{name} = {', '.join(shown)}"

    @property
    def words(self) -> str:
        """The lattice in words, by the name of its knob."""
        return self.text(self.knob)


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
