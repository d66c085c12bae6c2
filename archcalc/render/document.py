"""Tables: columns and cells with raw values. A format may round a cell; a view may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from archcalc.text import units
from archcalc.text.durations import duration
from archcalc.text.visible import visible

NAME, LAYER, GROUP, TYPE, TEXT, TEX, EXACT, SI, BYTES, SHARE, SHAPE, FIELD, NUMBER, TIME = (
    "name", "layer", "group", "type", "text", "tex", "exact", "si", "bytes", "share", "shape", "field", "number",
    "time",
)  # fmt: skip
"""The kinds of column: names and layers may be shortened in the middle, all else is printed whole; a group once.

What is TEX already is not escaped in LaTeX.
"""
NAMES = frozenset((NAME, LAYER))
LEFT = frozenset((NAME, LAYER, GROUP, TYPE, TEXT, TEX, SHAPE))
NEXT = "next: "
"""How the line of commands to try next begins; only formats that are read beside a shell print it."""


@dataclass(frozen=True)
class Column:
    """One column: the key of its values in the rows, its heading, and the kind of its values.

    A column that gives way is left out of a terminal that is too narrow for all columns, the one with the lowest number
    first; 0 stays.
    """

    key: str
    title: str
    kind: str
    gives_way: int = 0

    def text(self, row: Mapping[str, Any]) -> str:
        """The value of a row as people read it, safe to print; '' if it has none."""
        return visible(self._text(row))

    def _text(self, row: Mapping[str, Any]) -> str:
        value = row.get(self.key)
        if value is None:
            return ""
        if self.kind == LAYER:
            name = f"{value or 'the model'} (itself)" if row.get("itself") else value or "the model"
            return f"{name} x{row['times']}" if row.get("times", 1) > 1 else name
        if self.kind == NAME:
            return f"{value}*" if row.get("default") else str(value)
        if self.kind == TYPE:
            inside, calls = row.get("modules", 1) // row.get("times", 1) - 1, row.get("calls", 1)
            text = f"{value} ({inside})" if value and inside else value
            return f"{text}, {calls} calls" if value and calls > 1 and not inside else text
        if self.kind == SHAPE:
            return shapes_text(value)
        if self.kind == FIELD:
            return field_text(value)
        if self.kind == TIME:
            return value if isinstance(value, str) else duration(value)
        if self.kind == SHARE:
            return f"{100 * value:.1f} %"
        if isinstance(value, bool) or not isinstance(value, int):
            return f"{value:g}" if isinstance(value, float) else str(value)
        return {EXACT: units.exact, SI: units.si, BYTES: units.size}.get(self.kind, str)(value)


@dataclass(frozen=True)
class Table:
    """Rows of raw values. A row may hold more than the columns show; machine formats give all of it.

    `total` is the last row; `at_least` names the columns whose total is a lower bound. `transposed` asks the
    formats for people to print one column a row. `stars` marks cells by the number of their row and the key of
    their column.
    """

    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Any]]
    total: Mapping[str, Any] | None = None
    at_least: frozenset[str] = frozenset()
    title: str = ""
    transposed: bool = False
    stars: frozenset[tuple[int, str]] = frozenset()

    def __post_init__(self) -> None:
        """The title is made safe to print."""
        object.__setattr__(self, "title", visible(self.title))

    def cells(self) -> tuple[list[str], list[list[str]], list[str] | None]:
        """Headings, cells and total as text, in the orientation for people."""
        head = [visible(column.title) for column in self.columns]
        body = [[self._text(number, column) for column in self.columns] for number in range(len(self.rows))]
        if self.transposed:
            first, *rest = [[title, *cells] for title, *cells in zip(head, *body, strict=True)]
            return first, rest, None
        if self.total is None:
            return head, body, None
        marks = ("≥ " if column.key in self.at_least else "" for column in self.columns)
        total = [mark + column.text(self.total) for mark, column in zip(marks, self.columns, strict=True)]
        return head, body, total

    def _text(self, number: int, column: Column) -> str:
        text = column.text(self.rows[number])
        if self.stars and column.kind not in LEFT:
            return f"{text} ★" if (number, column.key) in self.stars else f"{text}  "
        repeats = column.kind == GROUP and number and text == column.text(self.rows[number - 1])
        return "" if repeats else text

    def left_aligned(self) -> list[bool]:
        """For each printed column whether it is aligned left."""
        if self.transposed:
            return [True, *(False for _ in self.rows)]
        return [column.kind in LEFT for column in self.columns]

    def kinds(self) -> list[str]:
        """The kind of each printed column."""
        if self.transposed:
            return [NAME, *(NUMBER for _ in self.rows)]
        return [column.kind for column in self.columns]


class Prose(str):
    """A paragraph: formats that have lines break it at words."""


class Drawing(str):
    """A line of a drawing in characters: it is never broken."""


CONVENTION = "convention: "
"""How the footnote begins that says what was counted; it is never left out."""


def _in_one_line(recurring: Sequence[str]) -> list[str]:
    """The names of recurring footnotes; of a convention, which comes first, also what stands before its brackets.

    >>> _in_one_line(["convention: 1 MAC = 2 FLOPs (and more)", "new tensors: made here"])
    ['convention: 1 MAC = 2 FLOPs · -v: new tensors']
    """
    names = ", ".join(line.partition(":")[0] for line in recurring if not line.startswith(CONVENTION))
    said = [line.partition(" (")[0] for line in recurring if line.startswith(CONVENTION)]
    return [" · ".join([*said, *([f"-v: {names}"] if names else [])])] if recurring else []


def _safe(line: str) -> str:
    """A line that is safe to print, of the same sort."""
    return type(line)(visible(line))


@dataclass(frozen=True)
class Document:
    """An answer: its verdict and lines before, tables, lines after, and what machine formats say around the rows.

    The first line of the head is the verdict: the answer in one line. `recurring` are footnotes that say the same under
    every answer of a command: they are printed where all is asked for (-v), and named in one line elsewhere.

    The rows are those of the last table, or `records` where machines want them in another form than people. A
    `picture` is what a file for pictures gets in place of all that. Lines and cells for people are safe to print in
    every format; rows and envelope keep the values as they are.
    """

    command: str
    head: Sequence[str]
    tables: Sequence[Table]
    foot: Sequence[str] = ()
    envelope: Mapping[str, Any] = field(default_factory=dict)
    records: Sequence[Mapping[str, Any]] | None = None
    picture: bytes | None = None
    recurring: Sequence[str] = ()

    def __post_init__(self) -> None:
        """The lines around the tables are made safe to print."""
        object.__setattr__(self, "head", [_safe(line) for line in self.head])
        object.__setattr__(self, "foot", [_safe(line) for line in self.foot])
        object.__setattr__(self, "recurring", [_safe(line) for line in self.recurring])

    def footnotes(self, verbose: bool, commands: bool = True) -> list[str]:
        """The lines after the tables; recurring ones in full if `verbose`, the commands to try next if `commands`."""
        last = [line for line in self.foot if line.startswith(NEXT)]
        lines = [line for line in self.foot if line not in last]
        lines += self.recurring if verbose else _in_one_line(self.recurring)
        return [*lines, *(last if commands else [])]

    @property
    def printed(self) -> list[Table]:
        """The tables that have something to print."""
        return [table for table in self.tables if table.rows]

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The rows that machine formats give."""
        if self.records is not None:
            return self.records
        return self.tables[-1].rows if self.tables else ()


def shapes_text(value: Any) -> str:
    """One shape, or several with commas, equal neighbours once with their number.

    >>> shapes_text([1, 3, 224, 224]), shapes_text([[1, 64], [1, 32], [1, 32]])
    ('1x3x224x224', '1x64, 2 of 1x32')
    """
    if not value or not isinstance(value[0], list | tuple):
        return units.shape(value)
    runs = [(units.shape(shape_), len(list(same))) for shape_, same in groupby(value)]
    return ", ".join(f"{times} of {text}" if times > 1 else text for text, times in runs)


def field_text(value: Sequence[float | None]) -> str:
    """A size per spatial axis, once when they agree; 'all' for a whole axis, '' for no place in space.

    >>> field_text((435, 435)), field_text((7, 3)), field_text((None, None)), field_text(())
    ('435', '7x3', 'all', '')
    """
    texts = ["all" if size is None else f"{size:g}" for size in value]
    return texts[0] if texts and len(set(texts)) == 1 else "x".join(texts)
