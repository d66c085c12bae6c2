"""The answer of `summary`: output, parameters, MACs and new tensors by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from archcalc.analyses.counting_words import OURS
from archcalc.analyses.report import Report
from archcalc.render.around import at_least, complete, completeness, document, figures_in_short, macs_and_flops, whole
from archcalc.render.columns import LAYER_COLUMN, MACS_COLUMN, OUTPUT_COLUMN, TYPE_COLUMN
from archcalc.render.document import BYTES, EXACT, Column, Document, Table
from archcalc.render.equal_blocks import times_each
from archcalc.render.layers import Selection, layer_rows
from archcalc.render.promise import LAYER, MODEL, Promise
from archcalc.render.typed import deeper, next_commands
from archcalc.text import units


def summary(report: Report, selection: Selection, published: Sequence[str] = ()) -> Document:
    """Layer table: output, parameters, MACs, memory."""
    figures = ("params", "macs", "flops", "elementwise_flops", "allocated_bytes")
    rows, total = layer_rows(report, replace(selection, zeros=True), figures, "macs")
    columns = [
        LAYER_COLUMN,
        TYPE_COLUMN,
        OUTPUT_COLUMN,
        Column("params", "params", EXACT),
        MACS_COLUMN,
        Column("allocated_bytes", "new tensors", BYTES),
    ]
    totals = report.totals
    foot = [
        *times_each(rows),
        f"{units.size(totals['params_bytes'])} of parameters · {macs_and_flops(report)}",
        *completeness(report),
    ]
    table = Table(columns, rows, total, at_least(report))
    foot += next_commands(report, *deeper("summary", selection, table), "shapes", "flops")
    counts = ("params", "trainable_params", "buffers", "params_bytes", "macs", "flops", "elementwise_flops")
    keys = (*counts, "uncounted", "calls", "peak_bytes", "output_shape")
    shown = {key: totals[key] for key in keys}
    peak = f"peak of a forward pass {units.size(totals['peak_bytes'])}"
    verdict = f"{whole(selection)}{figures_in_short(report)} · {peak}"
    recurring = [
        f"convention: {OURS}",
        "new tensors: what a layer's ops allocate; in-place results and views allocate none",
        *complete(report),
    ]
    return document("summary", report, [table], foot, shown, verdict, recurring)


PROMISE = Promise(
    "summary", ("params", "macs", "flops", "peak_bytes", "output_shape"), (*LAYER, "params", "macs"), MODEL
)
"""The keys that its JSON always has."""
