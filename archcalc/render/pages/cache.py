"""The answer of `cache`: the folder of stored traces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from archcalc.render.document import BYTES, EXACT, TEXT, Column, Document, Table
from archcalc.render.promise import Promise
from archcalc.text import units

OFF = "stored traces are off: unset ARCHCALC_CACHE and CI, or set ARCHCALC_CACHE=on, or to a folder"


def cache(folder: Path | None, sizes: Sequence[int], removed: int, action: str) -> Document:
    """The folder, and the number and bytes of its traces; after `clear` those that were there and are gone."""
    if folder is None:
        return Document("cache", [OFF], [], (), {"totals": {"traces": 0, "stored_bytes": 0}, "notes": []})
    left = 0 if action == "clear" and removed == len(sizes) else len(sizes) - removed
    row: dict[str, Any] = {"folder": str(folder), "traces": left, "stored_bytes": sum(sizes) if left else 0}
    head = f"{units.plural(left, 'stored trace')} · {units.size(row['stored_bytes'])}"
    if action != "info":
        head = f"removed {removed} of {len(sizes)} stored traces"
    columns = [
        Column("folder", "folder", TEXT),
        Column("traces", "traces", EXACT),
        Column("stored_bytes", "size", BYTES),
    ]
    totals = {key: row[key] for key in ("traces", "stored_bytes")}
    foot = ["next: archcalc cache clear"] if left else []
    return Document("cache", [head], [Table(columns, [row])], foot, {"totals": totals, "notes": []})


PROMISE = Promise("cache", ("traces", "stored_bytes"))
"""The keys that its JSON always has."""
