"""The answer of `shapes`: every step with its shapes, the rule that made them, and the receptive field."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from archcalc.analyses.report import Report
from archcalc.analyses.shapes import ShapeStep, Walk
from archcalc.errors import NoSuchLayer, WrongUse
from archcalc.render.around import document
from archcalc.render.columns import LAYER_COLUMN
from archcalc.render.document import FIELD, SHAPE, TEXT, Column, Document, Table, shapes_text
from archcalc.render.equal_blocks import Folding, times_each
from archcalc.render.layers import Selection
from archcalc.render.promise import LAYER, MODEL, Promise
from archcalc.render.typed import next_commands
from archcalc.text import units


def shapes(report: Report, selection: Selection, only_changes: bool) -> Document:
    """Every step with its shapes, the rule that made them, and the receptive field."""
    totals = report.totals
    keys = ("output_shape", "receptive_field", "total_stride")
    foot = next_commands(report, "shapes --only-changes" if not only_changes else "shapes", "summary", "flops")
    table = _steps(report, selection, only_changes)
    foot = [*times_each(table.rows), *foot]
    return document("shapes", report, [table], foot, {key: totals[key] for key in keys}, _verdict(report))


def _verdict(report: Report) -> str:
    """The shapes that go in and come out, and the number of steps."""
    given = ", ".join(units.shape(one.shape) for one in report.trace.inputs) or "nothing"
    made = shapes_text(report.totals["output_shape"]) if report.totals["output_shape"] else "nothing"
    return f"{given} → {made} in {units.plural(len(report.record(Walk).steps), 'step')}"


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
    if selection.may_fold:
        rows = _folded(report, rows, selection.unfold)
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


def _folded(report: Report, rows: Sequence[dict[str, Any]], unfold: bool) -> list[dict[str, Any]]:
    """The rows of equal blocks once; WrongUse if `unfold` is asked for and there are none."""
    marks: dict[str, list[str]] = {}
    for row in rows:
        marks.setdefault(row["path"], []).append(repr([row[key] for key in row if key != "path"]))
    folding = Folding([report.root], (), marks={path: tuple(mark) for path, mark in marks.items()})
    shown = {each.layer.path: each for each in folding.walk(report.root)}
    kept = [
        {**row, "path": at.path, **({"times": at.times} if at.times > 1 else {})}
        for row in rows
        if (at := shown.get(row["path"]))
    ]
    if not unfold:
        return kept
    if len(kept) == len(rows):
        raise WrongUse("--unfold: no row of this table stands for several equal blocks.", "leave out  --unfold")
    return list(rows)


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
