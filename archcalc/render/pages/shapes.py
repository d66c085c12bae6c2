"""The answer of `shapes`: every step with its shapes, the rule that made them, and the receptive field."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from archcalc.analyses.report import Report
from archcalc.analyses.shapes import ShapeStep, Walk
from archcalc.errors import NoSuchLayer, WrongUse
from archcalc.render.around import document, next_commands
from archcalc.render.columns import LAYER_COLUMN
from archcalc.render.document import FIELD, SHAPE, TEXT, Column, Document, Table
from archcalc.render.layers import Selection
from archcalc.render.promise import LAYER, MODEL, Promise


def shapes(report: Report, selection: Selection, only_changes: bool) -> Document:
    """Every step with its shapes, the rule that made them, and the receptive field."""
    totals = report.totals
    keys = ("output_shape", "receptive_field", "total_stride")
    foot = next_commands(report, "shapes --only-changes" if not only_changes else "shapes", "summary", "flops")
    table = _steps(report, selection, only_changes)
    return document("shapes", report, [table], foot, {key: totals[key] for key in keys})


def _steps(report: Report, selection: Selection, only_changes: bool) -> Table:
    """One row a step; with `only_changes` those whose output has another shape than their first input."""
    if selection.depth is not None or selection.top is not None or selection.sort:
        raise WrongUse("shapes shows steps in their order: it has no --depth, --top or --sort.", "use  --layer GLOB")
    steps: Sequence[ShapeStep] = report.record(Walk).steps
    if selection.layer:
        steps = [step for step in steps if _inside(step.path, selection.layer)]
        if not steps:
            raise NoSuchLayer(selection.layer, [path for path in report.layers if path])
    of = report.record(Walk).channels
    partial = any(step.channels_seen is not None and step.channels_seen < of for step in report.record(Walk).steps)
    rows = [_row(step, of) for step in steps if step.changes or not only_changes]
    columns = [
        LAYER_COLUMN,
        Column("type", "type", TEXT),
        Column("input_shapes", "in", SHAPE),
        Column("output_shapes", "out", SHAPE),
        Column("why", "why", TEXT),
    ]
    if any(row["receptive_field"] for row in rows):
        columns += [Column("receptive_field", "field", FIELD), Column("stride", "stride", FIELD)]
    if partial:  # where every step sees all channels, a column would say one thing
        columns.append(Column("sees", "sees", TEXT))
    return Table(columns, rows)


def _inside(path: str, glob: str) -> bool:
    """Whether a layer or one above it matches."""
    parts = path.split(".")
    return any(fnmatchcase(".".join(parts[:end]), glob) for end in range(1, len(parts) + 1))


def _row(step: ShapeStep, channels: int) -> dict[str, Any]:
    seen = step.channels_seen
    return {
        "path": step.path,
        "type": step.type,
        "input_shapes": _listed(step.inputs),
        "output_shapes": _listed(step.outputs),
        "why": step.why,
        "receptive_field": list(step.field),
        "stride": list(step.stride),
        "channels_seen": seen,
        "sees": None if seen is None else f"{seen:,} of {channels:,} channels",
    }


def _listed(shapes: Sequence[Sequence[int]]) -> list[Any]:
    """One shape as a list of sizes, several as a list of shapes."""
    return list(shapes[0]) if len(shapes) == 1 else [list(shape) for shape in shapes]


PROMISE = Promise(
    "shapes",
    ("output_shape", "receptive_field", "total_stride"),
    (*LAYER, "input_shapes", "output_shapes", "why", "receptive_field", "stride"),
    MODEL,
)
"""The keys that its JSON always has."""
