"""A table for the terminal, drawn by rich: totals bold, lines light, shares with a bar; numbers are never cut."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

from rich import box
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from archcalc.render.document import NAMES, SHARE, Document, Table

BAR = 12
"""Cells of a bar that stands for the largest share."""
EIGHTHS = " ▏▎▍▌▋▊▉█"
SHORTEST_NAME = 12
GAP = 3
NO_LIMIT = 100_000


def as_table(documents: Sequence[Document], width: int | None, colour: bool) -> str:
    """The documents one below the other, names shortened to fit `width` columns where it is given."""
    text = io.StringIO()
    console = Console(
        file=text,
        width=NO_LIMIT,
        force_terminal=colour,
        no_color=not colour,
        color_system="standard" if colour else None,
        legacy_windows=False,
        markup=False,
        highlight=False,
        emoji=False,
    )
    for number, document in enumerate(documents):
        console.print(Group(*([""] if number else []), *_parts(document, width)), crop=False, soft_wrap=True)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n"


def _parts(document: Document, width: int | None) -> list[Text | Padding | RichTable | str]:
    first, *rest = document.head or [""]
    name, dot, about = first.partition(" · ")
    parts: list[Text | Padding | RichTable | str] = [Text.assemble((name, "bold"), (dot + about, "dim"))]
    parts += [Text(line, style="dim") for line in rest]
    for table in document.printed:
        parts += ["", *([Text(table.title)] if table.title else []), _drawn(table, width)]
    return [*parts, "", *(Text(line, style="dim") for line in document.foot)]


def _drawn(table: Table, width: int | None) -> RichTable:
    table = _narrowed(table, width)
    head, body, total = table.cells()
    kinds, left = table.kinds(), table.left_aligned()
    lines = [head, *body, *([total] if total else [])]
    limits = _widths(lines, kinds, width)
    drawn = RichTable(box=box.SIMPLE_HEAD, padding=(0, GAP - 1, 0, 0), show_edge=False, header_style="bold")
    for title, is_left in zip(head, left, strict=True):
        drawn.add_column(title, justify="left" if is_left else "right", no_wrap=True, overflow="fold")
    bars = _bars(table) if SHARE in kinds else None
    if bars:
        drawn.add_column("", no_wrap=True, overflow="fold")
    for number, line in enumerate(body):
        cells = [_shortened(cell, limit) for cell, limit in zip(line, limits, strict=True)]
        drawn.add_row(*map(Text, [*cells, *([bars[number]] if bars else [])]))
    if total:
        drawn.add_row()
        drawn.add_row(*(Text(cell, style="bold") for cell in [*total, *([""] if bars else [])]))
    return drawn


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
