"""The highest of several formulas in one knob: which it is at each value, decided exactly on whole numbers."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.studies.bisection import first
from archcalc.studies.law.envelope import Terms, from_start, moved
from archcalc.studies.law.polynomials import Formula

Line = list[int]
"""A polynomial in one variable: its coefficients, that of the lowest power first."""


def stretches(formulas: Sequence[Formula], start: int, step: int) -> list[tuple[Formula, int, int | None]]:
    """The highest formula of one knob at `start`, `start` + `step`, ...: its first and last value there.

    >>> from fractions import Fraction
    >>> stretches([{(1,): Fraction(9)}, {(2,): Fraction(1)}], 1, 2)
    [({(1,): Fraction(9, 1)}, 1, 9), ({(2,): Fraction(1, 1)}, 11, None)]
    """
    lines = [_line(terms, step) for terms in from_start(formulas, [start])]
    found, at = [], 0
    while True:
        here = at
        best = max(range(len(lines)), key=lambda n: [_at(lines[n], here + ahead) for ahead in range(len(lines[n]) + 1)])
        above = [_first_above(_minus(line, lines[best]), at) for line in lines]
        end = min((first for first in above if first is not None), default=None)
        last = None if end is None else start + step * (end - 1)
        found.append((formulas[best], start + step * at, last))
        if end is None:
            return found
        at = end


def _line(terms: Terms, step: int) -> Line:
    return [terms.get((power,), 0) * step**power for power in range(1 + max((p for (p,) in terms), default=0))]


def _at(line: Line, number: int) -> int:
    total = 0
    for coefficient in reversed(line):
        total = total * number + coefficient
    return total


def _minus(one: Line, other: Line) -> Line:
    length = max(len(one), len(other))
    padded = [[*line, *[0] * (length - len(line))] for line in (one, other)]
    return [a - b for a, b in zip(*padded, strict=True)]


def _first_above(line: Line, after: int) -> int | None:
    """The first whole number beyond `after` at which a polynomial is positive."""
    candidates = [after + 1, *(turn for turn in _turns(line) if turn > after + 1)]
    return next((number for number in candidates if _at(line, number) > 0), None)


def _turns(line: Line) -> list[int]:
    """The whole numbers from 1 on at which a polynomial becomes positive, or ceases to be.

    Between two turns of its differences it only rises, or only falls.
    """
    while line and not line[-1]:
        line = line[:-1]
    if len(line) < 2:
        return []
    turns, ends = [], [0, *_turns(_differences(line))]
    for begin, last in zip(ends, [*ends[1:], None], strict=True):
        end = _last_sign(line, begin) if last is None else last
        if _positive(line, begin) != _positive(line, end):
            turns.append(_turn(line, begin, end))
    return turns


def _last_sign(line: Line, first: int) -> int:
    """A number from which a polynomial that only rises or only falls has the sign of its highest power."""
    number = first + 1
    while _positive(line, number) != (line[-1] > 0):
        number *= 2
    return number


def _turn(line: Line, below: int, above: int) -> int:
    """The number between two at which a polynomial that only rises or only falls becomes or ceases to be positive."""
    before = _positive(line, below)
    return first(lambda number: _positive(line, number) != before, below + 1, above)


def _positive(line: Line, number: int) -> bool:
    return _at(line, number) > 0


def _differences(line: Line) -> Line:
    """The polynomial p(x + 1) - p(x)."""
    ahead = moved({(power,): coefficient for power, coefficient in enumerate(line)}, [1])
    return _minus(_line(ahead, 1), line)
