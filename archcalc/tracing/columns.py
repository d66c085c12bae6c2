"""A trace in columns: each field of its records as one list, repeated values once. Small files, read fast."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from archcalc.tracing.records import Call, Input, Kept, Model, Module, ModuleCall, Parameter, Step, Storage, Tensor

TABLE, INDEX = "table", "index"
"""Keys of a column that holds its distinct values once, and for each record the number of its value."""
RECORDS = {
    "inputs": Input,
    "modules": Module,
    "module_calls": ModuleCall,
    "parameters": Parameter,
    "tensors": Tensor,
    "storages": Storage,
    "calls": Call,
    "steps": Step,
    "kept": Kept,
}
"""The fields of a trace that are tuples of records."""
Fields = Mapping[str, Any]
"""The fields of a trace as they were read, before anything in them can be relied on."""


def columns(trace: Any) -> dict[str, Any]:
    """The fields of a Trace as plain data for JSON; `records` reads them back."""
    plain = {field.name: getattr(trace, field.name) for field in fields(trace)}
    plain |= {name: _packed(kind, plain[name]) for name, kind in RECORDS.items()}
    return {**plain, "model": {field.name: getattr(trace.model, field.name) for field in fields(Model)}}


def records(plain: Mapping[str, Any]) -> Fields:
    """The fields of a Trace from its columns, or from lists of one object a record, as former versions wrote them.

    Raises AttributeError, LookupError, TypeError or ValueError for anything else.
    """
    rest = {name: frozen(value) for name, value in plain.items() if name not in RECORDS}
    unpacked = {name: _unpacked(name, plain.get(name, ())) for name in RECORDS}
    return {**rest, **unpacked, "model": Model(**rest["model"])}


def frozen(value: Any) -> Any:
    """JSON's lists as tuples, all the way down."""
    if isinstance(value, list):
        return tuple(map(frozen, value))
    if isinstance(value, dict):
        return {key: frozen(item) for key, item in value.items()}
    return value


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


def _unpacked(name: str, packed: Any) -> tuple[Any, ...]:
    kind = RECORDS[name]
    if not isinstance(packed, Mapping):
        return tuple(kind(**frozen(item)) for item in packed)
    names = [field.name for field in fields(kind)]
    if set(packed) != set(names):
        raise ValueError(f"{name} must have the columns {', '.join(names)}")
    values = [_values(packed[column]) for column in names]
    if len(set(map(len, values))) > 1:
        raise ValueError(f"the columns of {name} differ in length")
    return tuple(map(kind, *values))


def _values(column: Any) -> list[Any]:
    if isinstance(column, dict):
        table, index = [frozen(value) for value in column[TABLE]], column[INDEX]
        if index and (set(map(type, index)) != {int} or min(index) < 0):
            raise ValueError("the numbers of a column's values must be whole, from 0")
        return [table[number] for number in index]
    return [frozen(value) if isinstance(value, list | dict) else value for value in column]
