"""The highest of several formulas in several knobs: which of them are the highest anywhere, and where each of them is.

A formula is left out only where it is proved never to exceed the others: the domain is cut into parts, and in each the
formula's coefficients are compared with those of one other formula, or of a mean of two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from math import comb, lcm, prod

from archcalc.studies.law.polynomials import Formula

Terms = dict[tuple[int, ...], int]
"""A polynomial in the distances from the start of the domain: coefficients by powers."""
PARTS = 300
"""Parts of the domain that a proof may look at; a formula about which nothing is proved by then is kept."""
DEEPEST = 16
"""How often a part may have been cut."""
FIRST_CUT = 4
"""Distance from the start at which the first cut along a knob is made; the next are made 8 times as far each."""
SAMPLES = 1000
"""Points of the domain, more and more distant, at which the highest formula is looked up."""


def highest(formulas: Sequence[Formula], starts: Sequence[int]) -> list[Formula]:
    """The formulas that make up the maximum of all from `starts` on in every knob; each highest somewhere, or unproved.

    >>> from fractions import Fraction
    >>> line, square, low = {(1,): Fraction(9)}, {(2,): Fraction(1)}, {(1,): Fraction(2), (0,): Fraction(1)}
    >>> highest([line, square, low], [1]) == [line, square]
    True
    """
    terms = from_start(formulas, starts)
    rest = _undominated(terms)
    kept = {_highest_at(point, terms, rest) for point in samples(len(starts))}
    for number in rest:
        if number not in kept and not _beneath(terms[number], [terms[other] for other in kept]):
            kept.add(number)
    return [formulas[number] for number in sorted(kept)]


def bounds(pieces: Sequence[Formula], number: int, starts: Sequence[int]) -> list[Formula]:
    """The pieces that one of them has to exceed to be the highest; those that follow from the others are left out."""
    terms = from_start(pieces, starts)
    here = terms[number]
    needed = [other for other in range(len(pieces)) if other != number]
    for other in list(needed):
        rest = [third for third in needed if third != other]
        if any(_follows(here, terms[other], terms[third]) for third in rest):
            needed = rest
    return [pieces[other] for other in needed]


def from_start(formulas: Sequence[Formula], starts: Sequence[int]) -> list[Terms]:
    """The formulas in the distances from the start, all multiplied by what some of them divide by."""
    common = lcm(*(coefficient.denominator for formula in formulas for coefficient in formula.values()))
    lowest = [min([0, *(powers[axis] for formula in formulas for powers in formula)]) for axis in range(len(starts))]
    whole = [
        {
            tuple(p - low for p, low in zip(powers, lowest, strict=True)): int(c * common)
            for powers, c in formula.items()
        }
        for formula in formulas
    ]
    return [moved(formula, starts) for formula in whole]


def moved(formula: Terms, starts: Sequence[int]) -> Terms:
    """A polynomial of whole powers in the distances from the start."""
    terms: Terms = {}
    for powers, coefficient in formula.items():
        for lower in product(*(range(power + 1) for power in powers)):
            factor = prod(comb(p, q) * start ** (p - q) for p, q, start in zip(powers, lower, starts, strict=True))
            terms[lower] = terms.get(lower, 0) + coefficient * factor
    return terms


def _undominated(terms: Sequence[Terms]) -> list[int]:
    """The numbers of those that no single other exceeds in every coefficient; the first of equal ones."""
    rest: list[int] = []
    for number, polynomial in enumerate(terms):
        if not any(_at_least(terms[other], polynomial) for other in rest):
            rest = [*(other for other in rest if not _at_least(polynomial, terms[other])), number]
    return rest


def _at_least(higher: Terms, lower: Terms) -> bool:
    return all(higher.get(powers, 0) >= lower.get(powers, 0) for powers in {*higher, *lower})


def samples(knobs: int) -> Iterator[tuple[int, ...]]:
    """Distances from the start of the domain, small and large ones in every knob."""
    a_knob = int(SAMPLES ** (1 / knobs))
    growth = 2 ** (24 / a_knob)
    distances = sorted({int(growth**exponent) - 1 for exponent in range(a_knob)})
    yield from product(distances, repeat=knobs)


def _highest_at(point: Sequence[int], terms: Sequence[Terms], among: Sequence[int]) -> int:
    return max(among, key=lambda number: _value(terms[number], point))


def _value(terms: Terms, point: Sequence[int]) -> int:
    total = 0
    for powers, coefficient in terms.items():
        total += coefficient * prod(base**power for base, power in zip(point, powers, strict=True))
    return total


# A proof. A part of the domain is the image of all variables >= 0. It is cut in two along one variable, or by the plane
# on which two variables are equal; in each half the polynomials are written in variables >= 0 again.


Cut = tuple[int, int]
"""Two axes whose variables are compared; the same axis twice if one variable is compared with a number."""


def _beneath(lower: Terms, higher: Sequence[Terms]) -> bool:
    """Whether it is proved that a polynomial nowhere in the domain exceeds the highest of others.

    Cuts along a single knob are tried first, then all kinds of cut by turns.
    """
    polynomials = [lower, *higher]
    knobs = len(next(powers for terms in polynomials for powers in terms))
    along: list[Cut] = [(axis, axis) for axis in range(knobs)]
    by_turns = [*along, *combinations(range(knobs), 2)]
    return any(_proved(polynomials, knobs, cuts) for cuts in ([], *([cut] for cut in along), by_turns))


def _proved(polynomials: Sequence[Terms], knobs: int, cuts: Sequence[Cut]) -> bool:
    """The proof with given cuts: whether the first polynomial is covered in every part that they make."""
    parts: list[tuple[int, tuple[int, ...], Sequence[Terms]]] = [(0, (FIRST_CUT,) * knobs, polynomials)]
    for looked_at in range(PARTS):
        if not parts:
            return True
        depth, at, part = parts.pop(0)
        if _covered(part[0], part[1:]):
            continue
        if not cuts or depth == DEEPEST or looked_at + len(parts) > PARTS:
            return False
        axis, other = cuts[depth % len(cuts)]
        if axis == other:
            top = max(powers[axis] for terms in part for powers in terms)
            parts.append((depth + 1, _with(at, axis, 1), [_below(terms, axis, at[axis], top) for terms in part]))
            parts.append((depth + 1, _with(at, axis, at[axis] * 8), [_beyond(terms, axis, at[axis]) for terms in part]))
        else:
            parts += [
                (depth + 1, at, [_sheared(terms, *axes) for terms in part]) for axes in ((axis, other), (other, axis))
            ]
    return not parts


def _with(numbers: Sequence[int], axis: int, number: int) -> tuple[int, ...]:
    return (*numbers[:axis], number, *numbers[axis + 1 :])


def _below(terms: Terms, axis: int, at: int, top: int) -> Terms:
    """The polynomial where a variable is less than `at`, in x = at·y/(1 + y), all multiplied by (1 + y)**top."""
    result: Terms = {}
    for powers, coefficient in terms.items():
        power = powers[axis]
        for more in range(top - power + 1):
            key = _with(powers, axis, power + more)
            result[key] = result.get(key, 0) + coefficient * at**power * comb(top - power, more)
    return result


def _beyond(terms: Terms, axis: int, at: int) -> Terms:
    """The polynomial where a variable is more than `at`, in the rest beyond."""
    knobs = len(next(iter(terms), ()))
    return moved(terms, _with((0,) * knobs, axis, at))


def _sheared(terms: Terms, axis: int, other: int) -> Terms:
    """The polynomial where one variable exceeds another: their sum in place of the larger one."""
    result: Terms = {}
    for powers, coefficient in terms.items():
        for given in range(powers[axis] + 1):
            key = _with(_with(powers, axis, powers[axis] - given), other, powers[other] + given)
            result[key] = result.get(key, 0) + coefficient * comb(powers[axis], given)
    return result


def _covered(lower: Terms, higher: Sequence[Terms]) -> bool:
    """Whether a polynomial has no larger coefficient than one of the others, or than a mean of two of them."""
    return any(_at_least(one, lower) for one in higher) or any(
        _mean_covers(lower, *pair) for pair in combinations(higher, 2)
    )


def _follows(first: Terms, second: Terms, third: Terms) -> bool:
    """Whether the first exceeds the second wherever it exceeds the third.

    True if first - second is some positive number of times first - third, and more in every coefficient.
    """
    least, most = (0, 1), (1, 0)  # as numerators and denominators; 1/0 is no limit
    for powers in {*first, *second, *third}:
        here = first.get(powers, 0)
        surplus, slope = here - second.get(powers, 0), here - third.get(powers, 0)
        if slope > 0 and surplus * most[1] < most[0] * slope:
            most = surplus, slope
        elif slope < 0 and -surplus * least[1] > least[0] * -slope:
            least = -surplus, -slope
        elif not slope and surplus < 0:
            return False
    return least[0] * most[1] <= most[0] * least[1]


def _mean_covers(lower: Terms, one: Terms, other: Terms) -> bool:
    """Whether w·one + (1 - w)·other has no smaller coefficient than `lower`, for some weight w from 0 to 1."""
    least, most = (0, 1), (1, 1)  # as numerators and denominators
    for powers in {*lower, *one, *other}:
        base = other.get(powers, 0)
        slope, wanted = one.get(powers, 0) - base, lower.get(powers, 0) - base
        if slope > 0 and wanted * least[1] > least[0] * slope:
            least = wanted, slope
        elif slope < 0 and -wanted * most[1] < most[0] * -slope:
            most = -wanted, -slope
        elif not slope and wanted > 0:
            return False
        if least[0] * most[1] > most[0] * least[1]:
            return False
    return True
