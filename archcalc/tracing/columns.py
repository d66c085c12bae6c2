"""A trace in columns: each field of its records as one list, repeated values once. Small files, read fast."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from archcalc.tracing.records import Model
from archcalc.tracing.store import RECORDS, Fields, frozen

TABLE, INDEX = "table", "index"
"""Keys of a column that holds its distinct values once, and for each record the number of its value."""


def columns(trace: Any) -> dict[str, Any]:
    """The fields of a Trace as plain data for JSON; `records` reads them back."""
    plain = {field.name: getattr(trace, field.name) for field in fields(trace)}
    plain |= {name: _packed(kind, plain[name]) for name, kind in RECORDS.items()}
    return {**plain, "model": {field.name: getattr(trace.model, field.name) for field in fields(Model)}}


def records(plain: Mapping[str, Any]) -> Fields:
    """The fields of a Trace from its columns; LookupError, TypeError or ValueError for what `columns` did not make."""
    rest = {name: frozen(value) for name, value in plain.items() if name not in RECORDS}
    unpacked = {name: _unpacked(kind, plain[name]) for name, kind in RECORDS.items()}
    return {**rest, **unpacked, "model": Model(**rest["model"])}


def _packed(kind: type, items: Sequence[Any]) -> dict[str, Any]:
    return {field.name: _column([getattr(item, field.name) for item in items]) for field in fields(kind)}


def _column(values: list[Any]) -> Any:
    """The values, or a table of the distinct ones where each occurs twice on average."""
    table: dict[Any, int] = {}
    index: list[int] = []
    distinct: list[Any] = []
    for value in values:
        key = json.dumps(value) if isinstance(value, Mapping) else (type(value), value)
        number = table.setdefault(key, len(table))
        if number == len(distinct):
            distinct.append(value)
        index.append(number)
    return {TABLE: distinct, INDEX: index} if 2 * len(distinct) <= len(values) else values


def _unpacked(kind: type, packed: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(map(kind, *(_values(packed[field.name]) for field in fields(kind))))


def _values(column: Any) -> list[Any]:
    if isinstance(column, dict):
        table = [frozen(value) for value in column[TABLE]]
        return [table[number] for number in column[INDEX]]
    return [frozen(value) if isinstance(value, list | dict) else value for value in column]
