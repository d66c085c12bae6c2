"""Exact interpolation: the formula that goes through a figure's values, in powers of the knobs.

A power may be negative: a figure that falls with a knob, such as weights in groups, is a polynomial divided by a power
of it. Everything is reckoned in fractions; nothing is fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

HIGHEST = 4
"""The highest power that is looked for."""
WITNESSES = 2
"""Values more than a formula needs that must lie on it, before it counts as found."""
FEWEST = 5
"""Values that are looked at before a formula counts as found, however low its powers: as many as a square needs."""
DIVISORS = range(3)
"""The powers of a knob by which a formula may be divided."""
Formula = Mapping[tuple[int, ...], Fraction]
"""Coefficients by the powers of the knobs; what is missing is 0."""


@dataclass(frozen=True)
class Powers:
    """The powers of a knob in a formula: values times knob**`divisor` are a polynomial of `degree`."""

    degree: int
    divisor: int = 0


def powers_in(nodes: Sequence[int], values: Sequence[int]) -> Powers | None:
    """The lowest powers of one knob that all the values agree with; None where no formula of few powers does.

    >>> powers_in([1, 2, 3, 4], [5, 9, 13, 17]), powers_in([1, 2, 4, 8], [64, 32, 16, 8])
    (Powers(degree=1, divisor=0), Powers(degree=0, divisor=1))
    """
    for divisor in DIVISORS:
        scaled = [Fraction(value) * node**divisor for node, value in zip(nodes, values, strict=True)]
        degree = _degree(nodes, scaled)
        if degree <= min(HIGHEST, len(nodes) - 1 - WITNESSES):
            return Powers(degree, divisor)
    return None


def fewest_powers(nodes: Sequence[int], values_at: Callable[[int], Sequence[int]]) -> list[Powers] | None:
    """The powers of one knob in each of several figures, from as few nodes as tell them; None if one has no formula.

    `values_at` gives the figures at a node. It is called for one node after the other, and for no more once every
    figure is a formula with enough witnesses, or one of them can be none, whatever follows.
    """
    rows: list[Sequence[int]] = []
    for number, node in enumerate(nodes, 1):
        rows.append(values_at(node))
        if number < min(FEWEST, len(nodes)):
            continue
        columns = set(zip(*rows, strict=True))
        found = [powers_in(nodes[:number], column) for column in columns]
        each = [powers for powers in found if powers]
        if len(each) == len(found):
            return each
        if any(_powerless(nodes[:number], column) for column in columns):
            return None
    return None


def _powerless(nodes: Sequence[int], values: Sequence[int]) -> bool:
    """Whether no formula of few powers goes through these values, with or without witnesses."""
    return all(
        _degree(nodes, [Fraction(value) * node**divisor for node, value in zip(nodes, values, strict=True)]) > HIGHEST
        for divisor in DIVISORS
    )


def _degree(nodes: Sequence[int], values: Sequence[Fraction]) -> int:
    """The degree of the polynomial through all the points: its last divided difference that is not zero."""
    differences, degree = list(values), 0
    for order in range(1, len(nodes)):
        differences = [
            (differences[i + 1] - differences[i]) / (nodes[i + order] - nodes[i]) for i in range(len(differences) - 1)
        ]
        if differences[0]:
            degree = order
    return degree


def through(
    grid: Sequence[Sequence[int]], divisors: Sequence[int], value_at: Callable[[tuple[int, ...]], int]
) -> Formula:
    """The formula through a whole grid of points, one list of nodes a knob, as many as its powers."""
    table = {point: Fraction(value_at(point)) * _scale(point, divisors) for point in product(*grid)}
    coefficients: dict[tuple[int, ...], Fraction] = table
    for axis, nodes in enumerate(grid):
        coefficients = _along(coefficients, axis, nodes)
    shifted = {tuple(p - d for p, d in zip(powers, divisors, strict=True)): c for powers, c in coefficients.items()}
    return {powers: c for powers, c in shifted.items() if c}


def _scale(point: Sequence[int], divisors: Sequence[int]) -> int:
    scale = 1
    for value, divisor in zip(point, divisors, strict=True):
        scale *= value**divisor
    return scale


def _along(
    table: Mapping[tuple[int, ...], Fraction], axis: int, nodes: Sequence[int]
) -> dict[tuple[int, ...], Fraction]:
    """Values at the nodes of one axis replaced by the coefficients of its powers."""
    lines: dict[tuple[int, ...], dict[int, Fraction]] = {}
    for point, value in table.items():
        lines.setdefault((*point[:axis], *point[axis + 1 :]), {})[point[axis]] = value
    formula = {}
    for rest, line in lines.items():
        for power, coefficient in enumerate(_coefficients(nodes, [line[node] for node in nodes])):
            formula[(*rest[:axis], power, *rest[axis:])] = coefficient
    return formula


def _coefficients(nodes: Sequence[int], values: Sequence[Fraction]) -> list[Fraction]:
    """Newton's form, multiplied out: the coefficients of 1, x, x², ..."""
    differences = list(values)
    for order in range(1, len(nodes)):
        for i in range(len(nodes) - 1, order - 1, -1):
            differences[i] = (differences[i] - differences[i - 1]) / (nodes[i] - nodes[i - order])
    coefficients = [Fraction(0)]
    for difference, node in zip(reversed(differences), reversed(nodes), strict=True):
        shifted = [Fraction(0), *coefficients]
        coefficients = [a - node * b for a, b in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
        coefficients[0] += difference
    return coefficients[: len(nodes)]


def value(formula: Formula, point: Sequence[int]) -> Fraction:
    """The value of a formula.

    >>> value({(2,): Fraction(1, 2), (1,): Fraction(1, 2)}, [10])
    Fraction(55, 1)
    """
    total = Fraction(0)
    for powers, coefficient in formula.items():
        term = coefficient
        for base, power in zip(point, powers, strict=True):
            term *= Fraction(base) ** power
        total += term
    return total


def leading(formula: Formula) -> list[tuple[int, ...]]:
    """The powers of the terms that no other term outgrows in every knob: what stands in a big O.

    >>> leading({(2, 1): Fraction(2), (1, 2): Fraction(4), (1, 1): Fraction(9)})
    [(2, 1), (1, 2)]
    """
    powers = list(formula)

    def outgrown(term: tuple[int, ...]) -> bool:
        return any(other != term and all(a >= b for a, b in zip(other, term, strict=True)) for other in powers)

    return sorted((term for term in powers if not outgrown(term)), reverse=True)


def expression(formula: Formula, names: Sequence[str]) -> Any:
    """The formula as an expression of sympy, its symbols named as the knobs are."""
    import sympy

    symbols = [sympy.Symbol(name, positive=True) for name in names]
    terms = []
    for powers, coefficient in formula.items():
        term = sympy.Rational(coefficient.numerator, coefficient.denominator)
        for symbol, power in zip(symbols, powers, strict=True):
            term *= symbol**power
        terms.append(term)
    return sympy.Add(*terms)
