"""A table for the terminal: totals bold, lines light, shares with a bar; numbers are never cut."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from archcalc.render.document import NAMES, SHARE, Document, Table

BAR = 12
"""Cells of a bar that stands for the largest share."""
EIGHTHS = " ▏▎▍▌▋▊▉█"
SHORTEST_NAME = 12
GAP = 3
BOLD, DIM = "1", "2"
"""Select graphic rendition of a terminal: what `ESC [ n m` shows."""
NARROW = re.compile(
    "[ -~\u00a0-\u02ff\u0370-\u0373\u0391-\u03c9\u2010-\u2027\u2190-\u2199\u2200-\u22ff\u2500-\u259f\u2605]*"
)
"""Texts of letters and signs that take one cell of a terminal each; of all others rich has a table."""


def as_table(documents: Sequence[Document], width: int | None, colour: bool) -> str:
    """The documents one below the other, names shortened to fit `width` columns where it is given."""
    lines: list[str] = []
    for number, document in enumerate(documents):
        lines += [""] if number else []
        lines += _lines(document, width, colour)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _lines(document: Document, width: int | None, colour: bool) -> list[str]:
    first, *rest = document.head or [""]
    name, dot, about = first.partition(" · ")
    lines = [_styled(name, BOLD, colour) + _styled(dot + about, DIM, colour)]
    lines += [_styled(line, DIM, colour) for line in rest]
    for table in document.printed:
        lines += ["", *([table.title] if table.title else []), *_drawn(table, width, colour)]
    return [*lines, "", *(_styled(line, DIM, colour) for line in document.foot)]


def _styled(text: str, style: str, colour: bool) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if colour and text else text


def _drawn(table: Table, width: int | None, colour: bool) -> list[str]:
    """The head, a line, the rows, and the total behind an empty line."""
    table = _narrowed(table, width)
    head, body, total = table.cells()
    kinds, left = table.kinds(), table.left_aligned()
    limits = _widths([head, *body, *([total] if total else [])], kinds, width)
    rows = [[_shortened(cell, limit) for cell, limit in zip(line, limits, strict=True)] for line in body]
    if SHARE in kinds:
        rows = [[*row, bar_] for row, bar_ in zip(rows, _bars(table), strict=True)]
        head, left, total = [*head, ""], [*left, True], [*total, ""] if total else None
    widths = [max(map(cells, column)) for column in zip(head, *rows, *([total] if total else []), strict=True)]
    lines = [_row(head, widths, left, BOLD, colour), "─" * (sum(widths) + GAP * len(widths) - 1)]
    lines += [_row(row, widths, left, "", colour) for row in rows]
    return [*lines, *(["", _row(total, widths, left, BOLD, colour)] if total else [])]


def _row(texts: Sequence[str], widths: Sequence[int], left: Sequence[bool], style: str, colour: bool) -> str:
    """A line of cells, each padded to its column's width."""
    line = ""
    for cell, width, is_left in zip(texts, widths, left, strict=True):
        text = cell if is_left else cell.rstrip()
        space = " " * (width - cells(text))
        shown = _styled(text, style, colour and bool(style))
        line += (shown + space if is_left else space + shown) + " " * GAP
    return line


def cells(text: str) -> int:
    """The columns of a terminal that a text takes.

    >>> cells("3×3 ≥ 2"), cells("日本"), cells("e\u0301")
    (7, 4, 1)
    """
    if NARROW.fullmatch(text):
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _narrowed(table: Table, width: int | None) -> Table:
    """The table without the columns that give way, from the last on, until the others fit by their natural widths."""
    columns = list(table.columns)
    while width is not None and any(column.gives_way for column in columns):
        head, body, total = replace(table, columns=columns).cells()
        if sum(_natural([head, *body, *([total] if total else [])])) + GAP * len(columns) <= width:
            break
        last = max(number for number, column in enumerate(columns) if column.gives_way)
        del columns[last]
    return replace(table, columns=columns)


def _bars(table: Table) -> list[str]:
    shares = [0.0 if row["path" if "path" in row else "part"][:1] == "[" else row["share"] for row in table.rows]
    largest = max(shares, default=0.0) or 1.0
    return [bar(share / largest) for share in shares]


def bar(fraction: float) -> str:
    """A bar of up to BAR cells in eighths; nothing only for less than a sixteenth of a cell.

    >>> bar(1.0), bar(0.5), bar(0.0)
    ('████████████', '██████', '')
    """
    eighths = round(fraction * BAR * 8)
    return ("█" * (eighths // 8) + EIGHTHS[eighths % 8]).rstrip()


def _widths(lines: Sequence[Sequence[str]], kinds: Sequence[str], width: int | None) -> list[int]:
    """The width of each column. Only names are shortened, and only if the table then fits."""
    natural = _natural(lines)
    widths = list(natural)
    if width is None:
        return widths
    bars = BAR + GAP if SHARE in kinds else 0
    excess = sum(widths) + GAP * len(widths) + bars - width
    for column, kind in enumerate(kinds):
        if kind in NAMES and excess > 0:
            shorter = max(SHORTEST_NAME, widths[column] - excess)
            excess -= max(0, widths[column] - shorter)
            widths[column] = min(widths[column], shorter)
    return widths if excess <= 0 else natural


def _natural(lines: Sequence[Sequence[str]]) -> list[int]:
    """The widest cell of each column."""
    return [max(map(len, column)) for column in zip(*lines, strict=True)]


def _shortened(cell: str, limit: int) -> str:
    """A name cut in its middle.

    >>> _shortened("features.denseblock1.denselayer6.conv1", 21)
    'features.d…yer6.conv1'
    """
    if len(cell) <= limit:
        return cell
    keep = (limit - 1) // 2
    return f"{cell[:keep]}…{cell[-keep:]}"
