"""The file of a sweep: each member's row is written whole as soon as it is there; a later run goes on from them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from archcalc.analyses.metrics import TIME
from archcalc.errors import CannotWrite, writing
from archcalc.text.files import Locked, lock, writable
from archcalc.text.spelling import setting
from archcalc.text.visible import csv_cell, csv_line

Row = dict[str, Any]


class Store:
    """The rows of one sweep: `title` says of what, `knobs` and `figures` are its columns. No file, no memory.

    The file is locked from the first look until `close`, so that two sweeps never write to it at the same time.
    Raises CannotWrite for a file that another sweep writes to, that holds anything else, or that cannot be written.
    """

    def __init__(self, file: str, title: str, knobs: Sequence[str], figures: Sequence[str]) -> None:
        self.path, self.title, self.knobs, self.figures = file, title, knobs, figures
        self.columns = ["model", *knobs, *figures, "error"]
        self.known: dict[str, Row] = {}
        self._file: TextIO | None = None
        if not file:
            return
        suffix = Path(file).suffix.lower()
        if suffix not in (".csv", ".jsonl"):
            raise CannotWrite(file, "a sweep is kept as .csv or .jsonl")
        self.lines = suffix == ".jsonl"
        with writing(file):
            self._file = Path(writable(file)).open("a+", encoding="utf-8", newline="")  # noqa: SIM115, closed by close()
        try:
            self._resume(self._file)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, which unlocks it."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _resume(self, file: TextIO) -> None:
        """Lock the file and read its rows; a line that was cut off is removed, and its member measured again."""
        try:
            lock(file.fileno())
        except Locked:
            raise CannotWrite(self.path, "another sweep is writing to it") from None
        with writing(self.path):
            file.seek(0)
            try:
                text = file.read()
            except UnicodeDecodeError:
                raise self._foreign() from None
            whole = text[: text.rfind("\n") + 1]
            if text and not whole and not self._begins(text):
                raise self._foreign()
            for row in self._rows(whole.replace("\r\n", "\n")):
                self._take(row)
            if whole != text:
                file.truncate(len(whole.encode()))
            if not whole and not self.lines:
                self._write(csv_line(self.columns))

    def _foreign(self) -> CannotWrite:
        return CannotWrite(self.path, f"it holds something else than rows of {self.title}")

    def _rows(self, text: str) -> list[Mapping[str, Any]]:
        """The rows of the file; CannotWrite if it holds anything else."""
        try:
            rows = [json.loads(line) for line in text.split("\n") if line] if self.lines else self._csv_rows(text)
            same = all(list(row) == self.columns and csv_cell(row["model"]) == csv_cell(self.title) for row in rows)
            same = same and all(
                row[knob] is not None and isinstance(row["error"], str) for row in rows for knob in self.knobs
            )
        except (AttributeError, csv.Error, KeyError, RecursionError, TypeError, ValueError):
            same, rows = False, []
        if not same or (text and not self.lines and not text.startswith(csv_line(self.columns))):
            raise self._foreign()
        return rows

    def _csv_rows(self, text: str) -> list[Mapping[str, Any]]:
        """The rows under the names of the columns, which the file may spell as a spreadsheet must see them."""
        _, *rows = csv.reader(io.StringIO(text)) if text else [[]]
        return [dict(zip(self.columns, row, strict=True)) for row in rows]

    def _begins(self, text: str) -> bool:
        """Whether a file without a whole line was begun by a sweep."""
        return '{"model": '.startswith(text[:10]) if self.lines else csv_line(self.columns).startswith(text)

    def _take(self, row: Mapping[str, Any]) -> None:
        try:
            figures = {} if row["error"] else {name: _number(name, row[name]) for name in self.figures}
        except (TypeError, ValueError):
            raise CannotWrite(self.path, f"a figure of {self.title} in it is no number") from None
        self.known[key_of({knob: row[knob] for knob in self.knobs})] = {**figures, "error": row["error"]}

    def add(self, row: Row) -> None:
        """Append a row."""
        if self._file is None:
            return
        knobs = [row[knob] if isinstance(row[knob], int | float) else setting(row[knob]) for knob in self.knobs]
        knobs = [setting(knob) if isinstance(knob, bool) else knob for knob in knobs]
        cells = [self.title, *knobs, *(row.get(column) for column in (*self.figures, "error"))]
        self._write(json.dumps(dict(zip(self.columns, cells, strict=True))) + "\n" if self.lines else csv_line(cells))

    def _write(self, text: str) -> None:
        assert self._file is not None
        with writing(self.path):
            self._file.write(text)
            self._file.flush()


def _number(figure: str, value: Any) -> int | float:
    """A figure as a file holds it."""
    return float(value) if figure.startswith(TIME) else int(value)


def key_of(member: Mapping[str, Any]) -> str:
    """A member as its settings stand in a file, so that values read from a file equal values given.

    >>> key_of({"depth": 40}) == key_of({"depth": "40"})
    True
    """
    return json.dumps({knob: csv_cell(setting(value)) for knob, value in member.items()}, sort_keys=True)
