"""A sweep as a table: one row a member, sorted, chosen by a condition, the Pareto front marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.analyses.metrics import figure_named
from archcalc.render.document import BYTES, EXACT, NAME, SI, TEXT, Column, Document, Table
from archcalc.render.pages.views import setting
from archcalc.text.units import plural

KINDS = {"bytes": BYTES, "MACs": SI, "FLOPs": SI, "operations": SI}
"""How figures are printed, by what they count."""


def sweep(
    reference: str,
    knobs: Sequence[str],
    figures: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    *,
    front: Sequence[tuple[str, bool]],
    said: Mapping[str, Any],
) -> Document:
    """The chosen rows; `front` names the two figures of the Pareto front, `said` what was asked and what came of it."""
    columns = [
        *(Column(knob, knob, NAME) for knob in knobs),
        *(Column(name, figure_named(name).words, KINDS.get(figure_named(name).unit, EXACT)) for name in figures),
        *([Column("mark", "front", TEXT)] if front else []),
    ]
    shown = [
        {
            **row,
            **{knob: setting(row[knob]) for knob in knobs if not isinstance(row[knob], int | float)},
            "mark": "★" if row["pareto"] else "",
        }
        for row in rows
    ]
    ways = " and ".join(f"{'most' if more else 'least'} {figure_named(name).words}" for name, more in front)
    refused = [f"{member}: {error}" for member, error in said["errors"]]
    condition = f" · {said['where']}" if said["where"] else ""
    head = [f"{reference} · {plural(said['members'], 'member')}{condition}"]
    foot = [
        f"{plural(len(rows), 'member')} shown of {said['members']:,}; {len(refused):,} cannot be built or analysed",
        *(f"  {line}" for line in refused[:5]),
        *(f"  and {len(refused) - 5:,} others" for _ in range(len(refused) > 5)),
        *([f"★ front: no other member shown has {ways} at once"] if front else []),
        *([f"training step: {said['step']}"] if said["step"] else []),
    ]
    records = [{key: value for key, value in row.items() if key != "error"} for row in rows]
    around = {
        "totals": {"members": said["members"], "shown": len(rows), "refused": len(refused)},
        "errors": [{"member": member, "message": error} for member, error in said["errors"]],
        "assumptions": {"training_step": said["step"]},
        "notes": [f"not measured: {line}" for line in refused],
    }
    return Document("sweep", head, [Table(columns, shown)], foot, around, records)
