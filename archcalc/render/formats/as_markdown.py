"""Markdown: tables that GitHub renders."""

from __future__ import annotations

import re
from collections.abc import Sequence

from archcalc.render.document import Document, Table


def as_markdown(documents: Sequence[Document]) -> str:
    """The documents one below the other."""
    return "\n".join(_document(document) for document in documents)


def _document(document: Document) -> str:
    first, *rest = document.head or [""]
    blocks = [
        f"**{escaped(first)}**" if first else "",
        "  \n".join(map(escaped_line, rest)),
        *map(_table, document.printed),
    ]
    blocks.append("  \n".join(map(escaped_line, document.footnotes(verbose=True, commands=False))))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _table(table: Table) -> str:
    head, body, total = table.cells()
    rule = [":--" if is_left else "--:" for is_left in table.left_aligned()]
    lines = [map(escaped, head), rule, *(map(escaped, row) for row in body)]
    if total:
        lines.append([f"**{escaped(cell)}**" if cell else "" for cell in total])
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{escaped_line(table.title)}\n\n{rows}" if table.title else rows


SPECIAL = re.compile(
    r"""
    (?P<mark> [\\`*_\[\]<>|~] )                   # emphasis, code, links, tags, cells
    | (?P<entity> [&$] | :(?=//) | (?<=www)\. )   # entities, formulas, addresses
    | (?P<reference> @(?=\w) | \#(?=\d) )         # mentions of people and issues
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""What Markdown, or GitHub where it shows Markdown, would take for more than text."""
BLOCK = re.compile(r"\s*(?:\d+(?=[.)])|(?=[-+=#]))")
"""The beginning of a line that is a list, a heading or a rule, up to the mark that makes it one."""


def escaped(text: str) -> str:
    r"""A text within a line that Markdown shows as it is: no emphasis, tags, links, formulas, mentions.

    >>> escaped("a_b|c"), escaped("https://x.org @you #1")
    ('a\\_b\\|c', 'https&#58;//x.org @&#8203;you #&#8203;1')
    """
    return SPECIAL.sub(_escape, text)


def escaped_line(text: str) -> str:
    r"""A text that is a line of its own: no list, heading or rule either.

    >>> escaped_line("# x"), escaped_line("1. x"), escaped_line("3 layers")
    ('\\# x', '1\\. x', '3 layers')
    """
    start = BLOCK.match(text)
    end = start.end() if start else 0
    return f"{escaped(text[:end])}{chr(92) if start else ''}{escaped(text[end:])}"


def _escape(match: re.Match[str]) -> str:
    mark = match[0]
    if match["mark"]:
        return f"\\{mark}"
    return f"{mark}&#8203;" if match["reference"] else "&amp;" if mark == "&" else f"&#{ord(mark)};"
