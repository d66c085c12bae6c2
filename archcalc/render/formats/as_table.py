"""A table for the terminal: totals bold, lines light, shares with a bar, fitted to the width; no number is cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from archcalc.render.document import NAMES, NEXT, Document, Drawing, Prose, Table
from archcalc.render.formats.fitting import BAR, GAP, Fitted, broken, fitted
from archcalc.text.wrapping import NARROW, SEPARATOR, cells, in_pieces, wrapped, wrapped_commands

EIGHTHS = " ▏▎▍▌▋▊▉█"
READABLE = 100
"""Columns of a paragraph where the terminal is wider, or there is none."""
BOLD, DIM = "1", "2"
"""Select graphic rendition of a terminal: what `ESC [ n m` shows."""


def as_table(documents: Sequence[Document], width: int | None, colour: bool, verbose: bool = False) -> str:
    """The documents one below the other, fitted to `width` columns where it is given; all footnotes if `verbose`."""
    lines: list[str] = []
    for number, document in enumerate(documents):
        lines += [""] if number else []
        lines += _lines(document, width, colour, verbose)
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _lines(document: Document, width: int | None, colour: bool, verbose: bool) -> list[str]:
    first, *rest = document.head or [""]
    lines = [_styled(line, BOLD, colour) for line in _broken(first, width)]
    lines += [_styled(line, DIM, colour) for line in _paragraphs(rest, width)]
    for table in document.printed:
        lines += ["", *(_broken(table.title, width) if table.title else []), *_drawn(table, width, colour)]
    return [*lines, "", *(_styled(line, DIM, colour) for line in _paragraphs(document.footnotes(verbose), width))]


def _paragraphs(lines: Sequence[str], width: int | None) -> Iterator[str]:
    """Lines broken to the width; a drawing that does not fit is left out as a whole, and a line says so."""
    drawing = max((cells(line) for line in lines if isinstance(line, Drawing)), default=0)
    too_wide = width is not None and drawing > width
    for number, line in enumerate(lines):
        if not isinstance(line, Drawing):
            yield from _broken(line, width)
        elif not too_wide:
            yield line
        elif not isinstance(lines[number - 1], Drawing):
            yield f"(the drawing takes {drawing} columns)"


def _broken(line: str, width: int | None) -> list[str]:
    """A line as those that fit: commands whole, paragraphs no wider than is good to read."""
    if isinstance(line, Prose):
        return wrapped(line, min(width or READABLE, READABLE), 0)
    if width is None or cells(line) <= width:
        return [line]
    if line.startswith(NEXT):
        return wrapped_commands(NEXT, line.removeprefix(NEXT).split(SEPARATOR), width)
    return wrapped(line, width)


def _styled(text: str, style: str, colour: bool) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if colour and text else text


def _drawn(table: Table, width: int | None, colour: bool) -> list[str]:
    """The head, a line, the rows, and the total behind an empty line; what was left out below."""
    lines: list[str] = []
    for part in fitted(table, width):
        lines += [""] if lines else []
        too_wide = width is not None and sum(part.widths) + GAP * (len(part.widths) - 1) > width
        lines += _records(part, width or 0) if too_wide else _part(part, colour)
        if part.left_out:
            note = f"left out at {width} columns: {', '.join(part.left_out)}"
            lines += [_styled(line, DIM, colour) for line in _broken(note, width)]
    return lines


def _records(part: Fitted, width: int) -> Iterator[str]:
    """A table that nothing makes fit, a cell a line below its heading's name, an empty line between rows."""
    for number, row in enumerate([*part.rows, *([part.total] if part.total else [])]):
        yield from [""] if number else []
        for title, cell, kind in zip(part.head, row, part.table.kinds(), strict=True):
            if cell.strip():
                text = f"{title}: {cell}" if title else cell
                yield from wrapped(text if kind in NAMES else in_pieces(text, width - 2), width)


def _part(part: Fitted, colour: bool) -> Iterator[str]:
    bars = _bars(part.table, part.bar) if part.bar else [""] * len(part.rows)
    yield from _row(part, part.head, "", BOLD, colour)
    yield "─" * (sum(part.widths) + GAP * (len(part.widths) - 1) + (GAP + max(map(cells, bars)) if part.bar else 0))
    for cells_, bar_ in zip(part.rows, bars, strict=True):
        yield from _row(part, cells_, bar_, "", colour)
    if part.total:
        yield ""
        yield from _row(part, part.total, "", BOLD, colour)


def _row(part: Fitted, texts: Sequence[str], bar_: str, style: str, colour: bool) -> Iterator[str]:
    """The lines of a row, each cell padded to its column's width; the bar stands in the first line."""
    left = part.table.left_aligned()
    columns = [broken(text, width) for text, width in zip(texts, part.widths, strict=True)]
    for number, line in enumerate(zip_longest(*columns, fillvalue="")):
        abreast = zip(line, part.widths, left, strict=True)
        shown = [_cell(text, width, is_left, style if colour else "") for text, width, is_left in abreast]
        yield (" " * GAP).join([*shown, *([bar_] if bar_ and not number else [])])


def _cell(text: str, width: int, is_left: bool, style: str) -> str:
    text = text if is_left else text.rstrip()
    space = " " * (width - cells(text))
    shown = _styled(text, style, bool(style))
    return shown + space if is_left else space + shown


def _bars(table: Table, width: int) -> list[str]:
    shares = [0.0 if row["path" if "path" in row else "part"][:1] == "[" else row["share"] for row in table.rows]
    largest = max(shares, default=0.0) or 1.0
    return [bar(share / largest, width) for share in shares]


def bar(fraction: float, width: int = BAR) -> str:
    """A bar of up to `width` cells in eighths; nothing only for less than a sixteenth of a cell.

    >>> bar(1.0), bar(0.5), bar(0.0)
    ('████████████', '██████', '')
    """
    eighths = round(fraction * width * 8)
    return ("█" * (eighths // 8) + EIGHTHS[eighths % 8]).rstrip()


__all__ = ["BAR", "NARROW", "as_table", "bar", "cells"]
