"""The file of a sweep: each member's row is written whole as soon as it is there; a later run goes on from them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archcalc.errors import CannotWrite, one_line
from archcalc.text.spelling import setting

Row = dict[str, Any]


class Store:
    """The rows of one sweep: `title` says of what, `knobs` and `figures` are its columns. No file, no memory."""

    def __init__(self, file: str, title: str, knobs: Sequence[str], figures: Sequence[str]) -> None:
        self.path, self.title, self.knobs, self.figures = (Path(file) if file else None), title, knobs, figures
        self.columns = ["model", *knobs, *figures, "error"]
        self.known: dict[str, Row] = {}
        if self.path is None:
            return
        if self.path.suffix.lower() not in (".csv", ".jsonl"):
            raise CannotWrite(file, "a sweep is kept as .csv or .jsonl")
        self.lines = self.path.suffix.lower() == ".jsonl"
        try:
            text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
            whole = text[: text.rfind("\n") + 1]  # a line that was cut off is measured again
            if text and not whole and not self._begins(text):
                raise CannotWrite(file, f"it holds something else than rows of {self.title}")
            for row in self._rows(whole):
                self._take(row)
            if whole != text or not text:
                self.path.write_text(whole or ("" if self.lines else _csv(self.columns)), encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CannotWrite(file, one_line(error)) from None

    def _rows(self, text: str) -> list[Mapping[str, Any]]:
        """The rows of the file; CannotWrite if it holds anything else."""
        try:
            if self.lines:
                rows = [json.loads(line) for line in text.splitlines()]
            else:
                rows = list(csv.DictReader(io.StringIO(text)))
            same = all(list(row) == self.columns and row["model"] == self.title for row in rows)
            same = same and all(
                row[knob] is not None and isinstance(row["error"], str) for row in rows for knob in self.knobs
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            same, rows = False, []
        if not same or (text and not self.lines and not text.startswith(_csv(self.columns))):
            raise CannotWrite(str(self.path), f"it holds something else than rows of {self.title}")
        return rows

    def _begins(self, text: str) -> bool:
        """Whether a file without a whole line was begun by a sweep."""
        return '{"model": '.startswith(text[:10]) if self.lines else _csv(self.columns).startswith(text)

    def _take(self, row: Mapping[str, Any]) -> None:
        try:
            figures = {} if row["error"] else {name: int(row[name]) for name in self.figures}
        except (TypeError, ValueError):
            raise CannotWrite(str(self.path), f"a figure of {self.title} in it is no whole number") from None
        self.known[key_of({knob: row[knob] for knob in self.knobs})] = {**figures, "error": row["error"]}

    def add(self, row: Row) -> None:
        """Append a row."""
        if self.path is None:
            return
        cells = [self.title, *(row.get(column) for column in self.columns[1:])]
        cells = [setting(cell) if isinstance(cell, tuple | list | bool) else cell for cell in cells]
        text = json.dumps(dict(zip(self.columns, cells, strict=True))) + "\n" if self.lines else _csv(cells)
        try:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(text)
        except OSError as error:
            raise CannotWrite(str(self.path), one_line(error)) from None


def key_of(member: Mapping[str, Any]) -> str:
    """A member as its settings are typed, so that values read from a file equal values given.

    >>> key_of({"depth": 40}) == key_of({"depth": "40"})
    True
    """
    return json.dumps({knob: setting(value) for knob, value in member.items()}, sort_keys=True)


def _csv(cells: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(["" if cell is None else cell for cell in cells])
    return text.getvalue()
