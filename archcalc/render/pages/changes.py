"""The table of what a change of the settings would free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.render.document import BYTES, TEXT, Column, Table
from archcalc.render.promise import COUNT, every_key
from archcalc.studies.changes import Peak
from archcalc.text import units


def table(changes: Sequence[Peak], peak: int, budget: int | None) -> list[Table]:
    """Each change with the peak that it leads to, and whether that is within a budget that was missed."""
    if not changes:
        return []
    columns = [
        Column("change", "with this change", TEXT),
        Column("peak_bytes", "peak", BYTES),
        Column("freed", "it frees", TEXT),
        *([Column("fits", "", TEXT)] if budget is not None else []),
    ]
    return [Table(columns, [_row(change, peak, budget) for change in changes])]


def _row(change: Peak, peak: int, budget: int | None) -> Mapping[str, Any]:
    frees = peak - change.bytes
    freed = units.size(frees) if frees > 0 else f"{units.size(-frees)} more" if frees else "nothing"
    fits = "" if budget is None else "fits" if change.bytes <= budget else "too large"
    return {"change": change.change, "peak_bytes": change.bytes, "freed": freed, "fits": fits}


def notes(changes: Sequence[Peak]) -> list[str]:
    """What has to be said of single changes, a line each."""
    return [f"{change.change}: {change.note}" for change in changes if change.note]


SCHEMA: dict[str, Any] = {
    "type": "array",
    "items": every_key(
        change={"type": "string"}, options={"type": "string"}, peak_bytes=COUNT, frees_bytes={"type": "integer"}
    ),
}
"""The schema of the answer's `changes`."""


def for_machines(changes: Sequence[Peak], peak: int) -> list[dict[str, Any]]:
    """The rows of the answer's `changes`, in bytes; `frees_bytes` is negative where a change needs more."""
    return [
        {
            "change": change.change,
            "options": change.options,
            "peak_bytes": change.bytes,
            "frees_bytes": peak - change.bytes,
        }
        for change in changes
    ]
