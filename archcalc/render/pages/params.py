"""The answer of `params`: parameters by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from archcalc.analyses.params import KEYS
from archcalc.analyses.report import Report
from archcalc.render.around import deeper, document, next_commands
from archcalc.render.columns import LAYER_COLUMN, SHARE_COLUMN, TYPE_COLUMN, with_share_of_all, with_shares
from archcalc.render.document import EXACT, Column, Document, Table
from archcalc.render.layers import Selection, layer_rows
from archcalc.render.promise import LAYER, MODEL, Promise
from archcalc.text import units

WIDTHS = (("float32", 4), ("bfloat16", 2), ("int8", 1))
"""Bytes of a parameter, for what all of them would take."""


def params(report: Report, selection: Selection, published: Sequence[str] = ()) -> Document:
    """Parameters by layer, largest first."""
    rows, total = layer_rows(report, replace(selection, sort=selection.sort or "params"), KEYS, "params")
    columns = [LAYER_COLUMN, TYPE_COLUMN, Column("params", "params", EXACT), SHARE_COLUMN]
    totals = report.totals
    frozen = totals["params"] - totals["trainable_params"]
    foot = [
        f"trainable {units.exact(totals['trainable_params'])} · frozen {units.exact(frozen)} · "
        f"buffers {units.exact(totals['buffers'])} (not parameters)",
        " · ".join(f"{name} {units.size(totals['params'] * size)}" for name, size in WIDTHS),
        *published,
    ]
    keys = ("params", "trainable_params", "buffers", "params_bytes")
    table = Table(columns, with_shares(rows, "params", total), with_share_of_all(total, "params", report))
    foot += next_commands(report, *deeper("params", selection, table), "flops", "show")
    return document("params", report, [table], foot, {key: totals[key] for key in keys})


PROMISE = Promise("params", ("params", "trainable_params", "buffers", "params_bytes"), (*LAYER, *KEYS), MODEL)
"""The keys that its JSON always has."""
