"""The figures of a report that no command prints: those of an analysis of one's own, by layer."""

from __future__ import annotations

from archcalc.analyses.report import Report
from archcalc.render.around import document
from archcalc.render.columns import LAYER_COLUMN, TYPE_COLUMN
from archcalc.render.document import BYTES, EXACT, Column, Document, Table
from archcalc.render.layers import Selection, layer_rows
from archcalc.text import units


def figures(report: Report, selection: Selection) -> Document:
    """Every figure that adds up over layers, under its key; sizes where the key ends with _bytes."""
    keys = list(report.root.total)
    columns = [LAYER_COLUMN, TYPE_COLUMN, *(Column(key, key, BYTES if _is_size(key) else EXACT) for key in keys)]
    totals = {key: value for key, value in report.totals.items() if key != "output_shape"}
    if not keys:
        return document("figures", report, [], [], totals, "no figure by layer")
    rows, total = layer_rows(report, selection, keys, keys[0])
    verdict = " · ".join(f"{key} {_said(key, report.totals[key])}" for key in keys)
    return document("figures", report, [Table(columns, rows, total)], [], totals, verdict)


def _is_size(key: str) -> bool:
    return key.endswith("_bytes")


def _said(key: str, value: int) -> str:
    return units.size(value) if _is_size(key) else units.exact(value)
