"""Formulas whose factors need no algebra: a number, powers of knobs, and one sum that has no factors of its own.

They are written as sympy writes them. To import it takes a fifth of the time that torch takes, and many laws are so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations
from math import gcd, isqrt, lcm

from archcalc.studies.law.polynomials import Formula

Powers = tuple[int, ...]


@dataclass(frozen=True)
class Factored:
    """A formula as number · knobs to their `powers` · the sum of `terms` (coefficients by powers; empty: no sum)."""

    number: Fraction
    powers: Powers
    terms: Mapping[Powers, int]


def factored(formula: Formula) -> Factored | None:
    """The factors of a formula; None where sympy has to find them, or to choose a sign.

    >>> factored({(2,): Fraction(9, 2), (1,): Fraction(9, 2)})
    Factored(number=Fraction(9, 2), powers=(1,), terms={(1,): 1, (0,): 1})
    >>> factored({(2,): Fraction(1), (0,): Fraction(-1)})  # (L - 1)·(L + 1)
    """
    if len(formula) == 1:
        ((powers, number),) = formula.items()
        divisors = sum(power < 0 for power in powers)
        alone = number == 1 and max(powers) <= 0  # sympy writes k**(-2)
        return Factored(number, powers, {}) if number > 0 and divisors < 2 - alone else None
    lowest = tuple(min(of_knob) for of_knob in zip(*formula, strict=True))
    if not formula or min(lowest) < 0:
        return None
    number = Fraction(gcd(*(c.numerator for c in formula.values())), lcm(*(c.denominator for c in formula.values())))
    terms = {
        tuple(p - low for p, low in zip(powers, lowest, strict=True)): int(c / number) for powers, c in formula.items()
    }
    return Factored(number, lowest, terms) if _positive(terms) and _has_no_factors(terms) else None


def _positive(terms: Mapping[Powers, int]) -> bool:
    """Whether the first term has a positive coefficient, in whatever order the knobs come."""
    knobs = range(len(next(iter(terms))))
    leading = (max(terms, key=lambda powers: [powers[knob] for knob in order]) for order in permutations(knobs))
    return all(terms[powers] > 0 for powers in leading)


def _has_no_factors(terms: Mapping[Powers, int]) -> bool:
    """Whether it is plain that a sum has no factors; it has no number and no knob in common.

    A sum of degree 1 in a knob, with a single term there, has none: a factor without the knob would divide that term
    and all others. A square without a rational root has none.
    """
    for knob in range(len(next(iter(terms)))):
        of_knob = [powers[knob] for powers in terms]
        if max(of_knob) == 1 and of_knob.count(1) == 1:
            return True
    used = [knob for knob in range(len(next(iter(terms)))) if any(powers[knob] for powers in terms)]
    if len(used) != 1:
        return False
    by_power = {powers[used[0]]: coefficient for powers, coefficient in terms.items()}
    a, b, c = (by_power.get(power, 0) for power in (2, 1, 0))
    root = b * b - 4 * a * c
    return max(by_power) == 2 and (root < 0 or isqrt(root) ** 2 != root)


def as_text(found: Factored, names: Sequence[str]) -> str:
    """The factors as `str` writes them in sympy.

    >>> as_text(Factored(Fraction(9, 2), (1,), {(1,): 1, (0,): 1}), ["layers"])
    '9*layers*(layers + 1)/2'
    """
    alone = found.number == 1 and not any(found.powers)
    total = " + ".join(monomial(Fraction(c), powers, names) for powers, c in _ordered(found.terms, names))
    total = total.replace("+ -", "- ")
    if found.terms and alone:
        return total
    return monomial(found.number, found.powers, names, [f"({total})"] if found.terms else [])


def as_tex(found: Factored, names: Sequence[str]) -> str:
    """The factors as `sympy.latex` writes them; names are single letters, or such as sympy leaves as they are."""
    total = " + ".join(_tex(Fraction(c), powers, names) for powers, c in _ordered(found.terms, names))
    total = total.replace("+ -", "- ")
    if found.terms and found.number.numerator == 1 and not any(found.powers):
        return total if found.number == 1 else f"\\frac{{{total}}}{{{found.number.denominator}}}"
    return _tex(found.number, found.powers, names, [f"\\left({total}\\right)"] if found.terms else [])


def _ordered(terms: Mapping[Powers, int], names: Sequence[str]) -> list[tuple[Powers, int]]:
    """The terms as sympy orders them: by the powers of the knobs in alphabetical order, the highest first."""
    order = sorted(range(len(names)), key=names.__getitem__)
    return sorted(terms.items(), key=lambda term: [term[0][knob] for knob in order], reverse=True)


def monomial(number: Fraction, powers: Powers, names: Sequence[str], more: Sequence[str] = ()) -> str:
    """A number times powers of knobs, and times `more`, as `str` writes it in sympy.

    >>> monomial(Fraction(-9, 2), (2, -1), ["n", "g"])
    '-9*n**2/(2*g)'
    """
    above, below = factors(number, powers, names, _starred, more)
    return in_one_line(number, above, below, "*")


def _tex(number: Fraction, powers: Powers, names: Sequence[str], more: Sequence[str] = ()) -> str:
    above, below = factors(number, powers, names, _superscript, more)
    text = f"\\frac{{{' '.join(above)}}}{{{' '.join(below)}}}" if below else " ".join(above)
    return f"{'-' * (number < 0)}{text}"


def _starred(name: str, power: int) -> str:
    return name if power == 1 else f"{name}**{power}"


def _superscript(name: str, power: int) -> str:
    return name if power == 1 else f"{name}^{{{power}}}"


def factors(
    number: Fraction,
    powers: Sequence[int],
    names: Sequence[str],
    raised: Callable[[str, int], str],
    more: Sequence[str] = (),
    digits: str = "",
) -> tuple[list[str], list[str]]:
    """The factors of a number, powers of knobs and `more`: those that multiply, and those that divide.

    The knobs come in alphabetical order; `raised` writes a power above 0, and `digits` is the format of whole numbers.
    """
    each = sorted((name, power) for name, power in zip(names, powers, strict=True) if power)
    above = [*(raised(name, power) for name, power in each if power > 0), *more]
    below = [raised(name, -power) for name, power in each if power < 0]
    size = abs(number.numerator)
    above = [*([format(size, digits)] if size != 1 or not above else []), *above]
    below = [*([format(number.denominator, digits)] if number.denominator != 1 else []), *below]
    return above, below


def in_one_line(number: Fraction, above: Sequence[str], below: Sequence[str], times: str) -> str:
    """The sign of a number, the factors that multiply, and behind a stroke those that divide."""
    stroke = f"/{below[0]}" if len(below) == 1 else f"/({times.join(below)})" if below else ""
    return f"{'-' if number < 0 else ''}{times.join(above)}{stroke}"
