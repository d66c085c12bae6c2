"""Formulas as people write them: `9·k²·L·(L + 1)/2`, a big O, LaTeX; and as sympy reads them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import Any

from archcalc.render.factored import Factored, as_tex, as_text, factored, factors, in_one_line, monomial
from archcalc.studies.law.polynomials import Formula, expression

LETTERS = {
    "depth": "L", "layers": "L", "num_layers": "L", "growth_rate": "k", "kernel": "k", "width": "w",
    "widen_factor": "w",
    "groups": "g", "d_model": "d", "heads": "h", "seq_len": "n", "batch": "B", "size": "S", "channels": "C",
    "in_channels": "Cin", "out_channels": "Cout", "reduction": "r", "input_size": "I", "hidden_size": "H",
    "vocab_size": "V", "d_ff": "f", "num_classes": "K", "src_len": "n", "tgt_len": "t",
}  # fmt: skip
"""The field's own letters for knobs; a knob without one, and the second of two with the same, is called by its name."""
SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def letters(knobs: Sequence[str]) -> dict[str, str]:
    """A letter for each knob.

    >>> letters(["layers", "growth_rate", "depth"])
    {'layers': 'L', 'growth_rate': 'k', 'depth': 'depth'}
    """
    chosen: dict[str, str] = {}
    for knob in knobs:
        letter = LETTERS.get(knob, knob)
        chosen[knob] = knob if letter in chosen.values() else letter
    return chosen


def as_written(formula: Formula, knobs: Sequence[str]) -> str:
    """The formula in letters, in factors where that is shorter.

    >>> from fractions import Fraction
    >>> as_written({(2,): Fraction(9, 2), (1,): Fraction(9, 2)}, ["layers"])
    '9·L·(L + 1)/2'
    """
    names = [letters(knobs)[knob] for knob in knobs]
    if not formula:
        return "0"
    plain = factored(formula)
    if plain is not None:
        return min(_factors(plain, names), _expanded(formula, names), key=len)
    import sympy

    whole = expression(formula, names)
    texts = [_written(form) for form in (sympy.factor(whole), sympy.expand(whole))]
    return min(texts, key=len)


def as_sympy(formula: Formula, knobs: Sequence[str]) -> str:
    """The formula in the knobs' own names, as sympy.sympify reads it."""
    plain = factored(formula)
    if plain is not None:
        return as_text(plain, knobs)
    import sympy

    return str(sympy.factor(expression(formula, knobs)))


def as_latex(formula: Formula, knobs: Sequence[str]) -> str:
    """The formula in LaTeX, in letters."""
    names = [letters(knobs)[knob] for knob in knobs]
    plain = factored(formula)
    if plain is not None and all(len(name) == 1 or name in LETTERS.values() for name in names):
        return as_tex(plain, names)
    import sympy

    return str(sympy.latex(sympy.factor(expression(formula, names))))


def inequality(higher: Formula, lower: Formula) -> tuple[Formula, Formula]:
    """`higher` >= `lower` with what both have in common removed: the two sides, all coefficients positive.

    >>> from fractions import Fraction
    >>> inequality({(2,): Fraction(6), (1,): Fraction(1)}, {(2,): Fraction(2), (1,): Fraction(9)})
    ({(1,): Fraction(1, 1)}, {(0,): Fraction(2, 1)})
    """
    difference = {powers: higher.get(powers, 0) - lower.get(powers, 0) for powers in {**higher, **lower}}
    terms = {powers: Fraction(c) for powers, c in difference.items() if c}
    if not terms:
        return {}, {}
    shared = Fraction(gcd(*(c.numerator for c in terms.values())), lcm(*(c.denominator for c in terms.values())))
    lowest = [min(powers) for powers in zip(*terms, strict=True)]
    terms = {tuple(p - low for p, low in zip(powers, lowest, strict=True)): c / shared for powers, c in terms.items()}
    return {p: c for p, c in terms.items() if c > 0}, {p: -c for p, c in terms.items() if c < 0}


def big_o(powers: Sequence[tuple[int, ...]], names: Sequence[str]) -> str:
    """The terms that no other term outgrows, as a big O.

    >>> big_o([(2, 1), (1, 2)], ["n", "d"]), big_o([(0,)], ["n"]), big_o([(1, -1)], ["n", "r"]), big_o([], ["n"])
    ('O(n²·d + n·d²)', 'O(1)', 'O(n/r)', 'O(1)')
    """
    return f"O({' + '.join(_term(term, names) for term in powers) or 1})"


def _term(powers: tuple[int, ...], names: Sequence[str]) -> str:
    above = [_power(name, power) for name, power in zip(names, powers, strict=True) if power > 0]
    below = [_power(name, -power) for name, power in zip(names, powers, strict=True) if power < 0]
    return in_one_line(Fraction(1), above or ["1"], below, "·")


def _power(base: str, power: int) -> str:
    return base if power == 1 else f"{base}{str(power).translate(SUPERSCRIPTS)}"


def _factors(found: Factored, names: Sequence[str]) -> str:
    """A number, the knobs and a sum with ·, ² and fractions."""
    whole = {powers: Fraction(coefficient) for powers, coefficient in found.terms.items()}
    alone = found.number == 1 and not any(found.powers)
    total = _expanded(whole, names) if whole else ""
    return total if total and alone else _multiplied(found.number, found.powers, names, total)


def _expanded(formula: Formula, names: Sequence[str]) -> str:
    """The sum of the terms, the highest powers first and numbers last."""
    terms = sorted(formula.items(), key=lambda term: (-sum(term[0]), monomial(term[1], term[0], names)))
    return " + ".join(_multiplied(number, powers, names) for powers, number in terms).replace("+ -", "- ")


def _multiplied(number: Fraction, powers: Sequence[int], names: Sequence[str], total: str = "") -> str:
    """A product: the number, the knobs, a sum; divisors after a stroke."""
    above, below = factors(number, powers, names, _power, [f"({total})"] if total else [], ",")
    return in_one_line(number, above, below, "·")


def _written(term: Any) -> str:
    """An expression of sympy with ·, ² and fractions."""
    if term.is_Add:
        terms = sorted(term.args, key=_order)
        text = " + ".join(_written(term) for term in terms)
        return text.replace("+ -", "- ")
    if term.is_Rational:
        return f"{term.p:,}" if term.q == 1 else f"{term.p:,}/{term.q:,}"
    if term.is_Symbol:
        return str(term.name)
    if term.is_Pow:
        base, power = term.args
        inner = f"({_written(base)})" if base.is_Add else _written(base)
        return _power(inner, int(power)) if power > 0 else f"1/{_power(inner, -int(power))}"
    return _product(term)


def _product(term: Any) -> str:
    """A product: the number, the symbols, the sums; divisors after a stroke."""
    number, others = term.as_coeff_mul()
    size = abs(number)
    above = [factor for factor in others if not (factor.is_Pow and factor.args[1] < 0)]
    below = [1 / factor for factor in others if factor not in above]
    above.sort(key=lambda factor: (factor.is_Add or (factor.is_Pow and factor.args[0].is_Add), str(factor)))
    words = [f"({_written(factor)})" if factor.is_Add else _written(factor) for factor in above]
    numbers = [f"{size.p:,}"] if size.p != 1 or not words else []
    divided = [f"{size.q:,}"] if size.q != 1 else []
    divided += [f"({_written(factor)})" if factor.is_Add else _written(factor) for factor in below]
    return in_one_line(number, [*numbers, *words], divided, "·")


def _order(term: Any) -> tuple[int, str]:
    """Highest powers first, numbers last."""
    degree = sum(power for _, power in term.as_powers_dict().items() if power.is_Integer and _.is_Symbol)
    return (-int(degree), str(term))


def numbers(point: Sequence[int], knobs: Sequence[str]) -> str:
    """A member by its knobs.

    >>> numbers((40, 12), ["depth", "growth_rate"])
    'L = 40, k = 12'
    """
    return ", ".join(f"{letter} = {number:,}" for letter, number in zip(letters(knobs).values(), point, strict=True))
