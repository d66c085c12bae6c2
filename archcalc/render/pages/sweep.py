"""A sweep as a table: one row a member, sorted, chosen by a condition, the Pareto front marked."""

from __future__ import annotations

from archcalc.analyses.metrics import metric_named
from archcalc.render.assumed import device_warnings, step_words
from archcalc.render.document import BYTES, EXACT, NAME, SI, TEXT, TIME, Column, Document, Table
from archcalc.render.promise import Promise
from archcalc.studies.sweep.sweep import Swept
from archcalc.text.spelling import setting
from archcalc.text.units import plural

COLUMN_KINDS = {"bytes": BYTES, "MACs": SI, "FLOPs": SI, "operations": SI, "seconds": TIME}
"""How figures are printed, by what they count."""


def sweep(swept: Swept) -> Document:
    """The chosen rows, the front marked."""
    knobs, figures, rows = swept.knobs, swept.figures, swept.rows
    step = step_words(swept.setup, swept.dtype) if swept.trains else ""
    columns = [
        *(Column(knob, knob, NAME) for knob in knobs),
        *(Column(name, metric_named(name).words, COLUMN_KINDS.get(metric_named(name).unit, EXACT)) for name in figures),
        *([Column("mark", "front", TEXT)] if swept.front else []),
    ]
    shown = [
        {
            **row,
            **{knob: setting(row[knob]) for knob in knobs if not isinstance(row[knob], int | float)},
            "mark": "★" if row["pareto"] else "",
        }
        for row in rows
    ]
    ways = " and ".join(f"{'most' if more else 'least'} {metric_named(name).words}" for name, more in swept.front)
    refused = [f"{member}: {error}" for member, error in swept.errors]
    condition = f" · {swept.where}" if swept.where else ""
    head = [f"{swept.reference} · {plural(swept.members, 'member')}{condition}"]
    foot = [
        f"{plural(len(rows), 'member')} shown of {swept.members:,}; {len(refused):,} cannot be built or analysed",
        *(f"  {line}" for line in refused[:5]),
        *(f"  and {len(refused) - 5:,} others" for _ in range(len(refused) > 5)),
        *([f"★ front: no other member shown has {ways} at once"] if swept.front else []),
        *([f"training step: {step}"] if step else []),
        *([] if step else device_warnings([swept.setup.device])),
    ]
    records = [{key: value for key, value in row.items() if key != "error"} for row in rows]
    around = {
        "totals": {"members": swept.members, "shown": len(rows), "refused": len(refused)},
        "errors": [{"member": member, "message": error} for member, error in swept.errors],
        "assumptions": {"training_step": step},
        "notes": [f"not measured: {line}" for line in refused],
    }
    return Document("sweep", head, [Table(columns, shown)], foot, around, records)


PROMISE = Promise("sweep", ("members", "shown", "refused"), ("pareto",), ("errors", "assumptions"))
"""The keys that its JSON always has."""
