"""Who holds the bytes at the peak, by module type and cause, and for machines also by the op that made them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from archcalc.analyses.holders import held_by_module
from archcalc.analyses.memory import LiveBytes
from archcalc.analyses.report import Report
from archcalc.ops.names import packet
from archcalc.render.document import BYTES, EXACT, LAYER, NAME, TEXT, Column, Table

HOLDERS = 8
"""Causes that are named; the others are folded."""


def holder_rows(report: Report) -> list[dict[str, Any]]:
    """Live bytes at the peak by module type and cause, as plain data; the largest first."""
    peak = report.record(LiveBytes).peak
    return [asdict(row) for row in held_by_module(report.trace, peak.call)] if peak else []


def holders(held: Sequence[Mapping[str, Any]]) -> Table:
    """The table of such rows: the HOLDERS largest, and one line for all others."""
    columns = [
        Column("why", "held at the peak, and why", TEXT),
        Column("tensors", "tensors", EXACT),
        Column("bytes", "size", BYTES),
        Column("op", "for the op", NAME, gives_way=2),
        Column("example", "the largest in", LAYER, gives_way=1),
    ]
    rows = [dict(row) for row in held]
    for row in rows:
        ops = list(dict.fromkeys(map(packet, row["ops"])))
        row["op"] = f"{ops[0]} and {len(ops) - 1} more" if len(ops) > 1 else "".join(ops)
        row["example"] = row["example"] if row["modules"] or row["example"] else None
    rest = rows[HOLDERS:]
    if len(rest) > 1:
        both = {key: sum(row[key] for row in rest) for key in ("tensors", "bytes")}
        rows = [*rows[:HOLDERS], {"why": f"[{len(rest)} others]", **both}]
    return Table(columns, rows)


def holders_for_machines(report: Report, held: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Both forms: by the op or role that made the tensors, and by module type and cause."""
    by_op = [asdict(holder) for holder in report.record(LiveBytes).holders]
    return {"holders": by_op, "holders_by_module": [*held]}
