"""HTML: each table as one, every text escaped; for notebooks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from archcalc.render.document import Document, Table


def as_html(documents: Sequence[Document]) -> str:
    """Lines before, tables, lines after, one document below the other."""
    return "\n".join(line for document in documents for line in _lines(document)) + "\n"


def _lines(document: Document) -> Iterator[str]:
    yield from (f"<p>{escape(line)}</p>" for line in document.head if line)
    for table in document.printed:
        yield from _table(table)
    yield from (
        f"<p><small>{escape(line)}</small></p>" for line in document.footnotes(verbose=True, commands=False) if line
    )


def _table(table: Table) -> Iterator[str]:
    head, body, total = table.cells()
    sides = ["left" if left else "right" for left in table.left_aligned()]
    yield "<table>"
    yield f"<thead>{_row(head, sides, 'th')}</thead>"
    yield f"<tbody>{''.join(_row(line, sides, 'td') for line in body)}</tbody>"
    if total:
        yield f"<tfoot>{_row(total, sides, 'th')}</tfoot>"
    yield "</table>"


def _row(cells: Sequence[str], sides: Sequence[str], tag: str) -> str:
    texts = [f'<{tag} style="text-align:{side}">{escape(cell)}' for cell, side in zip(cells, sides, strict=True)]
    return f"<tr>{''.join(f'{text}</{tag}>' for text in texts)}</tr>"
