"""Where the law of one figure passes that of another: exactly, from the formulas themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from archcalc.analyses.metrics import BYTES, metric_named
from archcalc.errors import ArchcalcError, WrongUse
from archcalc.studies.law.interpolation import Law
from archcalc.studies.law.lattice import Lattice
from archcalc.studies.law.law import Laws
from archcalc.studies.law.polynomials import Formula, expression
from archcalc.studies.law.stretches import stretches
from archcalc.tracing import element_size

STORED = ("parameters", "elements")
"""Units that count elements of tensors, which take bytes."""


@dataclass(frozen=True)
class Stretch:
    """The values of a knob, from the first to the last (None: for ever), where the first figure is the larger one."""

    first_is_more: bool
    start: int
    end: int | None


@dataclass(frozen=True)
class Crossing:
    """Where the first figure is more than the second.

    In several knobs where `more` > `less`, both {} if the figures are equal everywhere, one of them if that side always
    wins. In one knob the `stretches` tell it value by value. `element_bytes` is what an element took where one figure
    counts bytes and the other elements; 0 where they count the same.
    """

    first: str
    second: str
    more: Formula
    less: Formula
    stretches: Sequence[Stretch]
    element_bytes: int = 0


def crossing(result: Laws, first: str, second: str) -> Crossing:
    """The crossing of two figures; WrongUse if they do not count the same, ArchcalcError if one of them has no law."""
    by_figure = {law.figure: law for law in result.laws}
    first, second = (metric_named(name).name for name in (first, second))
    names = (first, second)
    for name in names:
        if name not in by_figure:
            reason = next(
                (refused.reason for refused in result.refused if refused.figure == name), "it was not asked for"
            )
            raise ArchcalcError(f"no crossing: {name} has no law: {reason}.", "choose other knobs for  --over")
    differ = demand_comparable(first, second)
    size = element_size(str(result.report.trace.assumptions["dtype"])) if differ else 0
    laws = [_scaled(by_figure[name], size if size and metric_named(name).unit in STORED else 1) for name in names]
    if len(result.over) == 1:
        return Crossing(first, second, {}, {}, _in_one_knob(*laws), size)
    if any(len(law.pieces) > 1 for law in laws):
        sentence = "no crossing in several knobs: one of the laws is the highest of several formulas."
        raise ArchcalcError(sentence, "name one knob in  --over")
    return Crossing(first, second, *sides(laws[0].formula, laws[1].formula, result.knobs), (), size)


def demand_comparable(first: str, second: str) -> bool:
    """Whether one figure counts bytes and the other elements, False for the same; WrongUse for other pairs."""
    units = {metric_named(name).unit for name in (first, second)}
    if len(units) == 1 or units <= set(STORED):
        return False
    if units <= {BYTES, *STORED}:
        return True
    counted = " and ".join(f"{name} counts {metric_named(name).unit}" for name in (first, second))
    raise WrongUse(
        f"--cross compares what is counted alike: {counted}.", "for example  --cross params_bytes,peak_bytes"
    )


def _scaled(law: Law, factor: int) -> Law:
    """The law with all its formulas multiplied."""
    pieces = tuple(replace(p, formula={powers: c * factor for powers, c in p.formula.items()}) for p in law.pieces)
    return replace(law, pieces=pieces)


def sides(first: Formula, second: Formula, knobs: Sequence[str]) -> tuple[Formula, Formula]:
    """`first` > `second` without the factors that are positive everywhere: the two sides, coefficients positive.

    >>> sides({(2, 1): Fraction(2)}, {(1, 2): Fraction(2)}, ["n", "d"])  # 2·n²·d > 2·n·d² where n > d
    ({(1, 0): Fraction(1, 1)}, {(0, 1): Fraction(1, 1)})
    """
    import sympy

    symbols = [sympy.Symbol(knob, positive=True) for knob in knobs]
    numerator, _ = sympy.fraction(sympy.together(expression(first, knobs) - expression(second, knobs)))
    if not numerator:
        return {}, {}
    coefficient, factors = sympy.factor_list(numerator, *symbols)
    left = sympy.Poly(1 if coefficient > 0 else -1, *symbols)
    for factor, times in factors:
        poly = sympy.Poly(factor, *symbols)
        signs = {number > 0 for number in poly.coeffs()}
        if signs == {False}:
            left *= (-1) ** times
        elif len(signs) == 2 and times % 2:
            left *= poly
    terms = {powers: Fraction(int(c.p), int(c.q)) for powers, c in left.terms()}
    return {p: c for p, c in terms.items() if c > 0}, {p: -c for p, c in terms.items() if c < 0}


def _in_one_knob(first: Law, second: Law) -> list[Stretch]:
    """Which law is higher from value to value; equal ones count as what follows."""
    lattice = _common(first.lattice[0], second.lattice[0])
    of_first = [piece.formula for piece in first.pieces]
    formulas = [*of_first, *(piece.formula for piece in second.pieces)]
    made: list[Stretch] = []
    for formula, start, end in stretches(formulas, lattice.start, lattice.step or 1):
        inside = lattice.within(start, end)
        if inside is None:
            continue
        more = formula in of_first
        if made and made[-1].first_is_more is more:
            made[-1] = Stretch(more, made[-1].start, inside[1])
        else:
            made.append(Stretch(more, *inside))
    return made


def _common(one: Lattice, other: Lattice) -> Lattice:
    """The values at which both laws hold: they share their steps."""
    ends = [end for end in (one.until, other.until) if end is not None]
    return one.from_to(max(one.start, other.start), min(ends, default=None))
