"""A table fitted to the width of a terminal: what gives way, in which order. Numbers are never cut.

The bar gives way first, then headings break at words, then the columns that may be left out go (FLOPs are twice the
MACs), then names are shortened in the middle, then texts break at words, and then types, shares and shapes go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from archcalc.render.document import LEFT, NAMES, SHAPE, SHARE, TEXT, TYPE, Column, Table
from archcalc.text.wrapping import cells, in_pieces, longest_word, pieces, words, wrapped

GAP = 3
"""Columns of a terminal between two of a table."""
BAR, SHORTEST_BAR, LONGEST_BAR = 12, 4, 24
"""Columns of a bar that stands for the largest share: without a width, at least, and at most in a wide terminal."""
SHORT_NAME, SHORTEST_NAME = 24, 12
"""A name is not shortened further than to the first before texts break, and never further than to the second."""
LAST_TO_GO = (TYPE, SHARE, SHAPE)
"""Kinds of column that are left out where nothing else helps."""
BREAKS = LEFT - NAMES
"""Kinds of column whose texts may break at words."""


@dataclass(frozen=True)
class Fitted:
    """A table as text with the width of each column, that of the bar (0: no bar), and the headings left out."""

    table: Table
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    total: Sequence[str] | None
    widths: Sequence[int]
    bar: int = 0
    left_out: Sequence[str] = field(default=())


def fitted(table: Table, width: int | None) -> Iterator[Fitted]:
    """The table fitted to `width` columns (None: no limit); one with a column for each row in several parts."""
    if width is None:
        yield _natural(table, BAR)
        return
    if not table.transposed:
        yield _fitted(table, width)
        return
    for first, last in _parts(table, width):
        stars = frozenset((number - first, key) for number, key in table.stars if first <= number < last)
        yield _fitted(replace(table, rows=table.rows[first:last], stars=stars), width)


def _parts(table: Table, width: int) -> Iterator[tuple[int, int]]:
    """The stretches of rows [first, last) whose columns fit side by side beside the headings."""
    names, *columns = _natural(table, 0).widths
    first, used = 0, names
    for number, needs in enumerate(columns):
        if number > first and used + GAP + needs > width:
            yield first, number
            first, used = number, names
        used += GAP + needs
    yield first, len(columns)


def _natural(table: Table, bar: int) -> Fitted:
    head, body, total = table.cells()
    lines = [head, *body, *([total] if total else [])]
    widths = [max(map(cells, column)) for column in zip(*lines, strict=True)]
    return Fitted(table, head, body, total, widths, bar if SHARE in table.kinds() else 0)


def _fitted(table: Table, width: int) -> Fitted:
    """The table with as little given way as the width demands; as it is, if nothing makes it fit."""
    shown, left_out = table, list[str]()
    while True:
        whole = _natural(shown, 0)
        for limits in (_heads, _short_names, _texts, _pieces):
            widths = _squeezed(whole, limits, width)
            if _taken(widths) <= width:
                bar = _bar(whole, widths, width)
                return replace(_shortened(whole, widths), bar=bar, left_out=left_out)
            if limits is _heads and (column := _first_to_go(shown)):
                break
        else:
            column = _last_to_go(shown)
        if column is None:
            return _natural(table, 0)
        left_out.append(column.title)
        shown = replace(shown, columns=[other for other in shown.columns if other is not column])


def _first_to_go(table: Table) -> Column | None:
    """The column that gives way before all others; of equal ones the last."""
    giving = [column for column in reversed(table.columns) if column.gives_way and not table.transposed]
    return min(giving, key=lambda column: column.gives_way, default=None)


def _last_to_go(table: Table) -> Column | None:
    """A type, a share or a shape, which are left out where texts and names are as narrow as can be."""
    found = (column for kind in LAST_TO_GO for column in reversed(table.columns[1:]) if column.kind == kind)
    return None if table.transposed else next(found, None)


Limits = Callable[[Fitted], list[int]]
"""The least width of each column at some stage."""


def _heads(whole: Fitted) -> list[int]:
    """Headings break at words."""
    return [max(longest_word(head), least) for head, least in zip(whole.head, _widest(whole), strict=True)]


def _short_names(whole: Fitted) -> list[int]:
    """Names are shortened somewhat."""
    return _with_names(whole, SHORT_NAME, texts=False)


def _texts(whole: Fitted) -> list[int]:
    """Names are as short as they get, and texts break at words."""
    return _with_names(whole, SHORTEST_NAME, texts=True)


def _pieces(whole: Fitted) -> list[int]:
    """Long words of texts break at their signs, too."""
    return [
        max(cells(piece) for line in _lines(whole) for word in words(line[number]) or [""] for piece in pieces(word))
        if kind == TEXT
        else least
        for number, (least, kind) in enumerate(zip(_texts(whole), whole.table.kinds(), strict=True))
    ]


def _lines(whole: Fitted) -> list[Sequence[str]]:
    return [whole.head, *whole.rows, *([whole.total] if whole.total else [])]


def _with_names(whole: Fitted, shortest: int, texts: bool) -> list[int]:
    least = []
    lines = [*whole.rows, *([whole.total] if whole.total else [])]
    for number, (natural, kind) in enumerate(zip(_heads(whole), whole.table.kinds(), strict=True)):
        if kind in NAMES:
            least.append(max(min(natural, shortest), longest_word(whole.head[number])))
        elif texts and kind in BREAKS:
            least.append(max(longest_word(line[number]) for line in (whole.head, *lines)))
        else:
            least.append(natural)
    return least


def _widest(whole: Fitted) -> list[int]:
    """The widest cell of each column below its heading."""
    lines = [*whole.rows, *([whole.total] if whole.total else [])]
    return [max((cells(line[number]) for line in lines), default=0) for number in range(len(whole.head))]


def _squeezed(whole: Fitted, limits: Limits, width: int) -> list[int]:
    """The widths, each cut down towards its limit until all fit: names first, then the widest."""
    widths, least, kinds = list(whole.widths), limits(whole), whole.table.kinds()
    names = [number for number, kind in enumerate(kinds) if kind in NAMES and limits is not _heads]
    floors = [max(limit, SHORT_NAME) if number in names else limit for number, limit in enumerate(least)]
    for each in names if limits is not _heads else ():
        excess = _taken(widths) - width
        if excess > 0:
            widths[each] = max(min(widths[each], floors[each]), widths[each] - excess)
    while (excess := _taken(widths) - width) > 0:
        able = [number for number in range(len(widths)) if widths[number] > least[number]]
        texts = [number for number in able if number not in names] or able
        if not able:
            break
        widths[max(texts, key=lambda number: widths[number])] -= 1
    return widths


def _taken(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _bar(whole: Fitted, widths: Sequence[int], width: int) -> int:
    """The columns that are left for a bar."""
    room = width - _taken(widths) - GAP
    return min(LONGEST_BAR, room) if SHARE in whole.table.kinds() and room >= SHORTEST_BAR else 0


def _shortened(whole: Fitted, widths: Sequence[int]) -> Fitted:
    """Names cut in their middle to the widths of their columns."""
    kinds = whole.table.kinds()
    rows = [
        [
            shortened(cell, width) if kind in NAMES else cell
            for cell, width, kind in zip(row, widths, kinds, strict=True)
        ]
        for row in whole.rows
    ]
    return replace(whole, rows=rows, widths=widths)


def shortened(name: str, limit: int) -> str:
    """A name cut in its middle, with twice as much of its end, which tells neighbours apart, as of its beginning.

    >>> shortened("features.denseblock1.denselayer6.conv1", 21)
    'featur…selayer6.conv1'
    """
    if cells(name) <= limit:
        return name
    keep = (limit - 1) // 3
    return f"{name[:keep]}…{name[keep + 1 - limit :]}"


def broken(cell: str, width: int) -> list[str]:
    """A cell as the lines that it takes in a column of `width`."""
    return wrapped(in_pieces(cell, width), width, 0) if cells(cell) > width else [cell]
