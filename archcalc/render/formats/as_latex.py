"""LaTeX: booktabs tables to paste into a paper."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.render.document import TEX, TEXT, Document, Table

SPECIAL = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "⌊": r"$\lfloor$",
    "⌋": r"$\rfloor$",
    "⌈": r"$\lceil$",
    "⌉": r"$\rceil$",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "→": r"$\to$",
    "²": r"\textsuperscript{2}",
    "★": r"$\star$",
}


def as_latex(documents: Sequence[Document]) -> str:
    """A tabular for each table, headed by a comment that says what it is; needs \\usepackage{booktabs}."""
    return "\n".join(_document(document) for document in documents)


def _document(document: Document) -> str:
    notes = document.footnotes(verbose=True, commands=False)
    comments = "\n".join(f"% {line}" for line in (*document.head, *notes, r"needs \usepackage{booktabs}"))
    return "\n\n".join([comments, *map(_table, document.printed)]) + "\n"


def _table(table: Table) -> str:
    head, body, total = table.cells()
    columns = "".join("l" if is_left else "r" for is_left in table.left_aligned())
    kinds = table.kinds()
    rows = [_line(cells, kinds) for cells in body]
    lines = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", _line(head), r"\midrule", *rows]
    if total:
        lines += [r"\midrule", _line(total)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _line(cells: Sequence[str], kinds: Sequence[str] = ()) -> str:
    kinds = kinds or [TEXT] * len(cells)
    line = " & ".join(_cell(cell, kind) for cell, kind in zip(cells, kinds, strict=True)) + r" \\"
    return f"{{}}{line}" if line.startswith(("[", "*")) else line  # the \\ before it would take them as its own


def _cell(cell: str, kind: str) -> str:
    return f"${cell}$" if kind == TEX else "".join(SPECIAL.get(c, c) for c in cell)
