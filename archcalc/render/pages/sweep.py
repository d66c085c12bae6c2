"""A sweep as a table: one row a member, sorted, chosen by a condition, the Pareto front marked."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from archcalc.analyses.metrics import metric_named
from archcalc.render.assumed import device_warnings, step_words
from archcalc.render.document import NAME, NUMBER, TEXT, Column, Document, Table
from archcalc.render.promise import Promise
from archcalc.studies.sweep.sweep import Swept
from archcalc.text import units
from archcalc.text.spelling import setting
from archcalc.text.units import Scale, one_scale, plural

SI_SCALE: tuple[int, Sequence[str], Decimal] = (1000, units.SI_UNITS, Decimal(1))
SCALES = {
    "bytes": (1024, units.BYTE_UNITS, Decimal(1)),
    "MACs": SI_SCALE,
    "FLOPs": SI_SCALE,
    "operations": SI_SCALE,
    "seconds": (1000, units.SECOND_UNITS, Decimal("1e-9")),
}
"""The base, the units and the worth of the first, by what a figure counts; all others are printed with every digit."""
EVERY_DIGIT: tuple[int, Sequence[str], Decimal] = (1000, ("",), Decimal(1))


def sweep(swept: Swept) -> Document:
    """The chosen rows, the front marked."""
    knobs, figures, rows = swept.knobs, swept.figures, swept.rows
    step = step_words(swept.setup, swept.dtype) if swept.trains else ""
    scales = {name: _scale(metric_named(name).unit, [row.get(name) for row in rows]) for name in figures}
    columns = [
        *(Column(knob, knob, NAME) for knob in knobs),
        *(Column(name, _heading(metric_named(name).words, scales[name]), NUMBER) for name in figures),
        *([Column("mark", "front", TEXT)] if swept.front else []),
    ]
    shown = [
        {
            **row,
            **{name: scale.text(row.get(name)) for name, scale in scales.items()},
            **{knob: setting(row[knob]) for knob in knobs if not isinstance(row[knob], int | float)},
            "mark": "★" if row["pareto"] else "",
        }
        for row in rows
    ]
    ways = " and ".join(f"{'most' if more else 'least'} {metric_named(name).words}" for name, more in swept.front)
    refused = [f"{member}: {error}" for member, error in swept.errors]
    condition = f" · {swept.where}" if swept.where else ""
    head = [_verdict(swept), f"{swept.reference} · {plural(swept.members, 'member')}{condition}"]
    foot = [
        *([f"{plural(len(refused), 'member')} cannot be built or analysed:"] if refused else []),
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


def _scale(unit: str, values: Sequence[float | None]) -> Scale:
    """One unit for all figures of a column."""
    return one_scale([value for value in values if value is not None], *SCALES.get(unit, EVERY_DIGIT))


def _heading(words: str, scale: Scale) -> str:
    return f"{words}, {scale.unit}" if scale.unit else words


def _verdict(swept: Swept) -> str:
    """How many members are shown, those on the front, and from where to where the first figure goes."""
    shown = f"{len(swept.rows):,} of {plural(swept.members, 'member')}"
    first = swept.figures[0]
    values = [row[first] for row in swept.rows if row.get(first) is not None]
    front = sum(bool(row["pareto"]) for row in swept.rows)
    parts = [shown, *([f"{front:,} on the front"] if swept.front else [])]
    if values:
        scale = _scale(metric_named(first).unit, values)
        unit = f" {scale.unit}" if scale.unit else ""
        least, most = scale.text(min(values)), scale.text(max(values))
        parts.append(f"{metric_named(first).words} {least}{'' if least == most else f' to {most}'}{unit}")
    return " · ".join(parts)


PROMISE = Promise("sweep", ("members", "shown", "refused"), ("pareto",), ("errors", "assumptions"))
"""The keys that its JSON always has."""
