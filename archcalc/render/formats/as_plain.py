"""Plain text: aligned columns two spaces apart, no lines, no colour; for logs, grep and awk."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.render.document import Document, Table


def as_plain(documents: Sequence[Document], verbose: bool = False) -> str:
    """The documents one below the other, with an empty line between."""
    return "\n".join(_document(document, verbose) for document in documents)


def _document(document: Document, verbose: bool) -> str:
    blocks = [
        "\n".join(document.head),
        *(_table(table) for table in document.printed),
        "\n".join(document.footnotes(verbose)),
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _table(table: Table) -> str:
    head, body, total = table.cells()
    lines = [head, *body, *([total] if total else [])]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    left = table.left_aligned()
    text = []
    for line in lines:
        cells = zip(line, widths, left, strict=True)
        text.append("  ".join(c.ljust(w) if is_left else c.rjust(w) for c, w, is_left in cells).rstrip())
    return "\n".join([table.title, *text] if table.title else text)
