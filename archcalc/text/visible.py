"""Texts of other people made safe to print: names, messages and values that may come from a stored file.

Characters that act on a terminal, on a reader or on a line (controls, line ends, right-to-left marks, what has no
width) are written as escapes. Formats then only escape what is special to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from unicodedata import category

ESCAPED = frozenset(("Cc", "Cf", "Cn", "Cs", "Zl", "Zp"))
"""Categories of Unicode that are shown as escapes: controls, formats, unassigned, surrogates, line ends."""
SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")
"""Beginnings of a cell that a spreadsheet takes for a formula."""
QUOTE, SEPARATOR = '"', re.compile('[",;|]')
NUMBER = re.compile(r"[-+]?(\d[\d,]*(\.\d*)?|\.\d+)(e[-+]?\d+)?\s?%?", re.IGNORECASE)


def visible(text: str) -> str:
    r"""The text in one line, each character that would act on its reader written as an escape.

    A line that begins with '::', or holds '##[', is a command to the log of a CI service, and is broken up.

    >>> visible("a\x1b[31m\n\u202eb"), visible("::error::x"), visible("größe · 3×3")
    ('a\\x1b[31m\\n\\u202eb', '\\x3a:error::x', 'größe · 3×3')
    """
    if not text.isprintable():
        text = "".join(_escape(c) if category(c) in ESCAPED else c for c in text)
    if "::" in text and text.lstrip().startswith("::"):
        text = text.replace("::", r"\x3a:", 1)
    return text.replace("##[", r"#\x23[")


def _escape(character: str) -> str:
    code = ord(character)
    form = rf"\x{code:02x}" if code < 0x100 else rf"\u{code:04x}" if code < 0x10000 else rf"\U{code:08x}"
    return SHORT.get(character, form)


def visible_json(text: str) -> str:
    r"""A JSON text whose strings hold any character, with the same characters as JSON's own escapes.

    >>> visible_json('"a\u202e\U000e0041"')
    '"a\\u202e\\udb40\\udc41"'
    """
    if not text.isprintable():
        text = "".join(_json_escape(c) if category(c) in ESCAPED and c != "\n" else c for c in text)
    return text.replace("##[", r"#\u0023[")


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(rf"\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def csv_cell(text: str) -> str:
    """The text of a CSV cell, with a ' before what a spreadsheet would take for a formula; numbers stay numbers.

    >>> csv_cell("=1+1"), csv_cell("-3"), csv_cell("+23.8 %"), csv_cell("@SUM(A1)")
    ("'=1+1", '-3', '+23.8 %', "'@SUM(A1)")
    """
    text = visible(text)
    formula = text.lstrip().startswith(FORMULA) and not NUMBER.fullmatch(text.strip())
    return f"'{text}" if formula else text


def csv_line(cells: Iterable[object]) -> str:
    r"""One line of CSV with its line end: texts as `csv_cell` gives them, nothing for None, the rest as Python has it.

    A cell with a separator of any country's spreadsheets in it is quoted, or its rest would be a cell of its own.

    >>> csv_line(["a;=b", -3, None, True])
    '"a;=b",-3,,True\n'
    """
    texts = ("" if cell is None else csv_cell(cell) if isinstance(cell, str) else str(cell) for cell in cells)
    return ",".join(f'"{text.replace(QUOTE, 2 * QUOTE)}"' if SEPARATOR.search(text) else text for text in texts) + "\n"


def shortened(text: str, limit: int = 80) -> str:
    """A long text cut behind its beginning.

    >>> shortened("9" * 5000, 5)
    '99999…'
    """
    return text if len(text) <= limit else f"{text[:limit]}…"
