"""The answer of `params`: parameters by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from archcalc.analyses.params import KEYS, STORED, ByType
from archcalc.analyses.report import Report
from archcalc.analyses.weights import real_numbers
from archcalc.render.around import document, whole
from archcalc.render.columns import LAYER_COLUMN, SHARE_COLUMN, TYPE_COLUMN, with_share_of_all, with_shares
from archcalc.render.document import BYTES, EXACT, TEXT, Column, Document, Table
from archcalc.render.equal_blocks import times_each
from archcalc.render.layers import Selection, layer_rows
from archcalc.render.promise import LAYER, MODEL, Promise
from archcalc.render.typed import deeper, next_commands
from archcalc.text import units

WIDTHS = (("float32", 4), ("bfloat16", 2), ("int8", 1))
"""Bytes of a parameter, for what all of them would take."""


def params(report: Report, selection: Selection, published: Sequence[str] = ()) -> Document:
    """Parameters by layer, largest first."""
    stored = [STORED] if STORED in report.totals else []
    rows, total = layer_rows(report, replace(selection, sort=selection.sort or "params"), (*KEYS, *stored), "params")
    as_stored = [Column(key, "as stored", BYTES) for key in stored]
    columns = [LAYER_COLUMN, TYPE_COLUMN, Column("params", "params", EXACT), *as_stored, SHARE_COLUMN]
    totals = report.totals
    frozen = totals["params"] - totals["trainable_params"]
    foot = [
        *times_each(rows),
        f"trainable {units.exact(totals['trainable_params'])} · frozen {units.exact(frozen)} · "
        f"buffers {units.exact(totals['buffers'])} (not parameters)",
        *_bytes(report),
        *stored_line(report),
        *published,
    ]
    keys = ("params", "trainable_params", "buffers", "params_bytes", "buffers_bytes", *stored)
    table = Table(columns, with_shares(rows, "params", total), with_share_of_all(total, "params", report))
    foot += next_commands(report, *deeper("params", selection, table), "flops", "show")
    types = [asdict(of) for of in report.record(ByType).types]
    verdict = f"{whole(selection)}{units.exact(totals['params'])} parameters · {units.size(totals['params_bytes'])}"
    verdict += f" · {units.exact(totals['trainable_params'])} trainable" if frozen else ""
    answer = document("params", report, [*_types(report), table], foot, {key: totals[key] for key in keys}, verdict)
    return replace(answer, envelope={**answer.envelope, "by_type": types})


def stored_line(report: Report) -> list[str]:
    """The bytes of the weights as a quantized checkpoint stores them, beside those of their type."""
    if STORED not in report.totals:
        return []
    stored, own = (report.totals[key] for key in (STORED, "params_bytes"))
    return [
        f"weights as stored {units.size(stored)} ({units.exact(stored)} bytes, scales included), here {units.size(own)}"
    ]


def _bytes(report: Report) -> list[str]:
    """The bytes of the parameters as they are, if they are not all float32; and what they would take in one type."""
    numbers, types = real_numbers(report.trace), [of for of in report.record(ByType).types if of.params]
    others = " · ".join(f"{name} {units.size(numbers * size)}" for name, size in WIDTHS)
    if not types or [of.dtype for of in types] == ["float32"]:
        return [others]
    own = " · ".join(f"{of.dtype} weights ({units.exact(of.params_bytes)} bytes)" for of in types)
    total = f" · {units.exact(report.totals['params_bytes'])} bytes in all" if len(types) > 1 else ""
    return [f"{own}{total}", f"in one type: {others}"]


def _types(report: Report) -> list[Table]:
    """The table of types, if there are several that take more than a hundredth of the bytes."""
    types = report.record(ByType).types
    whole = sum(of.params_bytes + of.buffers_bytes for of in types)
    large = [of for of in types if 100 * (of.params_bytes + of.buffers_bytes) > whole]
    if len([of for of in types if of.params]) < 2 and len(large) < 2:
        return []
    columns = [
        Column("dtype", "type", TEXT),
        Column("params", "params", EXACT),
        Column("params_bytes", "bytes", EXACT),
        Column("buffers", "buffers", EXACT),
        Column("buffers_bytes", "bytes of buffers", EXACT),
    ]
    totals = {key: report.totals[key] for key in ("params", "params_bytes", "buffers", "buffers_bytes")}
    return [Table(columns, [asdict(of) for of in types], {"dtype": "total", **totals})]


PROMISE = Promise(
    "params", ("params", "trainable_params", "buffers", "params_bytes"), (*LAYER, *KEYS), MODEL, sometimes=(STORED,)
)
"""The keys that its JSON always has."""
