"""Markdown: tables that GitHub renders."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.render.document import Document, Table


def as_markdown(documents: Sequence[Document]) -> str:
    """The documents one below the other."""
    return "\n".join(_document(document) for document in documents)


def _document(document: Document) -> str:
    first, *rest = [_escaped(line) for line in document.head] or [""]
    blocks = [f"**{first}**" if first else "", "  \n".join(rest), *map(_table, document.printed)]
    blocks.append("  \n".join(_escaped(line) for line in document.foot))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _table(table: Table) -> str:
    head, body, total = table.cells()
    rule = [":--" if is_left else "--:" for is_left in table.left_aligned()]
    lines = [map(_escaped, head), rule, *(map(_escaped, row) for row in body)]
    if total:
        lines.append([f"**{_escaped(cell)}**" if cell else "" for cell in total])
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{_escaped(table.title)}\n\n{rows}" if table.title else rows


def _escaped(text: str) -> str:
    """The text with Markdown's special characters escaped."""
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("&", "&amp;")
