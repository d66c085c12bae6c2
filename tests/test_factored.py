"""Formulas that are written without sympy are written as sympy writes them."""

from __future__ import annotations

from fractions import Fraction

import pytest
import sympy
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from archcalc.render.factored import factored
from archcalc.render.formulas import LETTERS, _written, as_latex, as_sympy, as_written, letters
from archcalc.studies.law.polynomials import Formula, expression

NUMBERS = st.builds(Fraction, st.sampled_from([1, 1, 2, 3, 4, 9, -1, -2, 157, 7_672]), st.sampled_from([1, 1, 1, 2, 3]))
KNOBS = st.lists(st.sampled_from([*LETTERS, "alpha", "out_width", "depth2"]), min_size=1, max_size=3, unique=True)


@st.composite
def formulas(draw: st.DrawFn) -> tuple[Formula, list[str]]:
    """A few terms in one to three knobs; a single term may be divided by powers of knobs."""
    knobs = draw(KNOBS)
    terms = draw(st.integers(1, 4))
    powers = st.tuples(*[st.integers(-2 if terms == 1 else 0, 3)] * len(knobs))
    return draw(st.dictionaries(powers, NUMBERS, min_size=terms, max_size=terms)), knobs


LAW = {(2,): Fraction(157, 3), (1,): Fraction(7_672, 3), (0,): Fraction(-29_714, 3)}
"""The parameters of densenet-bc-cifar in its depth."""


@given(formulas())
@example((LAW, ["depth"]))
@example(({(1, 1): Fraction(9), (2, 1): Fraction(9, 2)}, ["layers", "batch"]))
@example(({(0,): Fraction(7, 2)}, ["batch"]))
@example(({(-2,): Fraction(1)}, ["groups"]))
@settings(max_examples=60, deadline=None)
def test_a_formula_is_written_as_sympy_writes_it(given: tuple[Formula, list[str]]) -> None:
    formula, knobs = given
    assume(factored(formula) is not None)
    whole = sympy.factor(expression(formula, knobs))
    lettered = expression(formula, [letters(knobs)[knob] for knob in knobs])
    assert as_sympy(formula, knobs) == str(whole)
    assert as_latex(formula, knobs) == sympy.latex(sympy.factor(lettered))
    assert as_written(formula, knobs) == min(map(_written, (sympy.factor(lettered), sympy.expand(lettered))), key=len)


@pytest.mark.parametrize(
    ("formula", "plain"),
    [
        (LAW, True),
        ({(1, 1): Fraction(2), (2, 0): Fraction(2)}, True),  # 2·n·(d + n)
        ({(2,): Fraction(1), (0,): Fraction(-1)}, False),  # (n - 1)·(n + 1)
        (
            {(1, 1): Fraction(1), (1, 0): Fraction(1), (0, 1): Fraction(1), (0, 0): Fraction(1)},
            False,
        ),
        ({(1,): Fraction(-1), (0,): Fraction(2)}, False),  # a sign to choose
        ({}, False),
    ],
)
def test_sums_that_may_have_factors_are_left_to_sympy(formula: Formula, plain: bool) -> None:
    assert (factored(formula) is not None) is plain
