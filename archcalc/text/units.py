"""Counts, bytes, shares and shapes as text: one function to format each, one to parse it back.

Formats round to four significant figures and never cut; exact values travel as integers (JSON, CSV).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from math import log10

from archcalc.text.visible import shortened

SI_UNITS = ("", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q")
BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
SECOND_UNITS = ("ns", "µs", "ms", "s")
FOUR_FIGURES = Context(prec=4, rounding=ROUND_HALF_EVEN)
EXACT = Context(prec=60)
"""Integers divided by their unit must not be rounded twice: 60 figures hold every size we can meet."""


def exact(value: int) -> str:
    """Every digit, in groups of three.

    >>> exact(25557032)
    '25,557,032'
    """
    return f"{value:,}"


def si(value: int) -> str:
    """A count with an SI prefix and at most four significant figures.

    >>> si(1814073344), si(512), si(999_950)
    ('1.814 G', '512', '1.000 M')
    """
    return _scaled(value, 1000, SI_UNITS).rstrip()


def size(value: int) -> str:
    """Bytes in binary units and at most four significant figures.

    >>> size(102228128), size(512), size(2**40)
    ('97.49 MiB', '512 B', '1.000 TiB')
    """
    return _scaled(value, 1024, BYTE_UNITS)


@dataclass(frozen=True)
class Scale:
    """One unit for several figures, and the decimals that tell the smallest of them to three digits."""

    factor: Decimal
    unit: str
    decimals: int

    def text(self, value: float | None) -> str:
        """A figure in this unit, without it; '' for none.

        >>> Scale(Decimal(1000), "k", 2).text(1234567)
        '1,234.57'
        """
        return "" if value is None else f"{EXACT.divide(Decimal(value), self.factor):,.{self.decimals}f}"


MOST_DECIMALS = 3
"""Decimals of counts in one unit: for more a smaller unit is chosen."""


def one_scale(values: Sequence[float], base: int, units: Sequence[str], first: Decimal = Decimal(1)) -> Scale:
    """The largest unit in which all values but 0 have three digits with at most MOST_DECIMALS decimals.

    `first` is what the first of the units is worth; whole numbers stay whole in it.

    >>> one_scale([593_000_000, 2_998_000_000], 1000, SI_UNITS)
    Scale(factor=Decimal('1000000000'), unit='G', decimals=3)
    >>> one_scale([512, 4096], 1024, BYTE_UNITS).unit, one_scale([5, 7], 1000, [""]).text(1234)
    ('KiB', '1,234')
    >>> one_scale([0.0002, 0.0125], 1000, SECOND_UNITS, Decimal("1e-9")).unit
    'ms'
    """
    sizes = [Decimal(abs(value)) for value in values if value]
    for power, unit in reversed(list(enumerate(units))) if sizes else ():
        factor = first * base**power
        decimals = max(0, 2 - EXACT.divide(min(sizes), factor).adjusted())
        if factor <= max(sizes) and decimals <= MOST_DECIMALS:
            return Scale(factor, unit, decimals if power else 0)
    return Scale(first, units[0], 0)


def plural(number: int, noun: str) -> str:
    """A number of things.

    >>> plural(1, "layer"), plural(1200, "layer")
    ('1 layer', '1,200 layers')
    """
    return f"{number:,} {noun}{'s' * (number != 1)}"


def share(part: int, whole: int) -> str:
    """A part of a whole in percent with one decimal; a share of nothing is 0.

    >>> share(1, 3), share(0, 0)
    ('33.3 %', '0.0 %')
    """
    return f"{100 * part / whole if whole else 0.0:.1f} %"


def difference(ours: int, theirs: int) -> str:
    """The relative difference of two figures, signed, in percent; '=' when they are equal.

    >>> difference(2278604, 2278760), difference(7, 7)
    ('-0.007 %', '=')
    """
    if ours == theirs:
        return "="
    if not theirs:
        return "new"
    percent = 100 * (ours - theirs) / theirs
    return f"{percent:+.3f} %" if abs(percent) < 0.05 else f"{percent:+.1f} %"


def shape(dimensions: Sequence[int]) -> str:
    """A shape as the field writes it in one word.

    >>> shape((1, 3, 224, 224)), shape(())
    ('1x3x224x224', 'scalar')
    """
    return "x".join(map(number, dimensions)) if len(dimensions) else "scalar"


LONGEST = 40
"""Digits of a number that are written out; no size of a tensor has more than 19."""


def number(value: int) -> str:
    """A whole number of any length; of a very long one how many digits it has, since Python refuses to write it.

    >>> number(-12), number(10**5000)
    ('-12', '(a number of 5,001 digits)')
    """
    if abs(value) < 10**LONGEST:
        return str(value)
    digits = int(abs(value).bit_length() * log10(2))
    return f"(a number of {digits + (abs(value) >= 10**digits):,} digits)"


def parse_shape(text: str) -> tuple[int, ...]:
    """Read '1x3x224x224' (also with ',' or '×' between the sizes); ValueError for anything else.

    >>> parse_shape("2x3x224x224"), parse_shape("16"), parse_shape("scalar")
    ((2, 3, 224, 224), (16,), ())
    """
    if text.strip().lower() == "scalar":
        return ()
    parts = re.split(r"\s*[x×,]\s*", text.strip().lower())
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"'{shortened(text)}' is not a shape such as 1x3x224x224")
    if any(len(part) > LONGEST for part in parts):
        raise ValueError(f"'{shortened(text)}' is no shape: a size has at most {LONGEST} digits")
    return tuple(map(int, parts))


def parse_count(text: str) -> int:
    """Read a count with or without an SI prefix (B, billion, reads as G); ValueError for anything else.

    >>> parse_count("2.5 M"), parse_count("25,557,032"), parse_count("1e9")
    (2500000, 25557032, 1000000000)
    """
    match = re.fullmatch(r"([-+]?[\d.,_]+(?:e\+?\d+)?)\s*([kKMGBTPEZYRQ]?)", text.strip())
    return _parsed(text, match, "a count such as 2,500,000 or 2.5 M", _count_unit)


def rounds_to(value: int, printed: str) -> bool:
    """Whether `value`, rounded to the digits that were printed, is the printed count.

    >>> rounds_to(25_557_032, "25.6M"), rounds_to(60_965_224, "60M")
    (True, False)
    """
    return abs(Decimal(value) - parse_count(printed)) <= last_digit(printed) / 2


def last_digit(printed: str) -> Decimal:
    """The value of 1 in the last printed digit of a count.

    >>> last_digit("25.6M")
    Decimal('100000')
    """
    digits = printed.rstrip("kKMGB ").replace(",", "")
    exponent = Decimal(digits).as_tuple().exponent
    assert isinstance(exponent, int), "a count is finite"
    return Decimal(parse_count(printed)) / Decimal(digits) * Decimal(1).scaleb(exponent)


def parse_size(text: str) -> int:
    """Read a number of bytes: B, KiB, MiB, ... are binary, kB, MB, GB, ... decimal; ValueError otherwise.

    >>> parse_size("24GiB"), parse_size("1.5 kB"), parse_size("4096")
    (25769803776, 1500, 4096)
    """
    match = re.fullmatch(r"([-+]?[\d.,_]+(?:e\+?\d+)?)\s*([kKMGTPEZY]?i?B?)", text.strip())
    return _parsed(text, match, "a size such as 24GiB", _byte_unit)


def _count_unit(unit: str) -> int:
    return int(1000 ** _prefix("G" if unit == "B" else unit))


def _byte_unit(unit: str) -> int:
    return int((1024 if "i" in unit else 1000) ** _prefix(unit.rstrip("B").rstrip("i")))


def _prefix(letter: str) -> int:
    return SI_UNITS.index("k" if letter == "K" else letter)


def _parsed(text: str, match: re.Match[str] | None, wanted: str, factor: Callable[[str], int]) -> int:
    if match is None:
        raise ValueError(f"'{shortened(text)}' is not {wanted}")
    digits, unit = match.groups()
    try:
        value = EXACT.multiply(Decimal(digits.replace(",", "").replace("_", "")), Decimal(factor(unit)))
    except ArithmeticError:
        value = Decimal("inf")
    if not value.is_finite() or value.adjusted() >= LONGEST:
        raise ValueError(f"'{shortened(text)}' is not {wanted}")
    return int(value)


def _scaled(value: int, base: int, units: Sequence[str]) -> str:
    """`value` in the largest unit that keeps it below `base` once rounded; whole numbers stay whole."""
    if abs(value) < base:
        return f"{value} {units[0]}"
    scaled = [(_divided(value, base**power), unit) for power, unit in enumerate(units[1:], start=1)]
    number, unit = next(((number, unit) for number, unit in scaled if abs(number) < base), scaled[-1])
    decimals = max(0, 3 - number.adjusted())
    return f"{number:,.{decimals}f} {unit}"


def _divided(value: int, unit: int) -> Decimal:
    return FOUR_FIGURES.create_decimal(EXACT.divide(Decimal(value), Decimal(unit)))
