"""Report -> Document: what each command shows of a report. Raw values only; formats do the rounding."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from archcalc import units
from archcalc.analyses.flops import KEYS as FLOP_KEYS
from archcalc.analyses.memory import KEYS as MEMORY_KEYS
from archcalc.analyses.params import KEYS as PARAM_KEYS
from archcalc.analyses.report import Report
from archcalc.tables.layers import Selection, layer_rows
from archcalc.tables.steps import step_table
from archcalc.tables.table import (
    BYTES,
    EXACT,
    LAYER,
    SHAPE,
    SHARE,
    SI,
    TEXT,
    TYPE,
    Column,
    Document,
    Table,
    field_text,
)
from archcalc.trace import Input, Trace

LAYER_COLUMN = Column("path", "layer", LAYER)
TYPE_COLUMN = Column("type", "type", TYPE)
OUTPUT_COLUMN = Column("output_shape", "output", SHAPE)
SHARE_COLUMN = Column("share", "share", SHARE)
CONVENTION = "1 MAC = 2 FLOPs; contractions only (convolution, linear, matmul, attention)"


def summary(report: Report, selection: Selection, published: Sequence[str] = ()) -> Document:
    """Layer table: output, parameters, MACs, memory."""
    figures = ("params", "macs", "flops", "elementwise_flops", "allocated_bytes")
    rows, total = layer_rows(report, replace(selection, zeros=True), figures, "macs")
    columns = [
        LAYER_COLUMN,
        TYPE_COLUMN,
        OUTPUT_COLUMN,
        Column("params", "params", EXACT),
        Column("macs", "MACs", SI),
        Column("allocated_bytes", "new tensors", BYTES),
    ]
    totals = report.totals
    foot = [
        f"{units.size(totals['param_bytes'])} of parameters · {_macs_and_flops(report)}",
        f"peak of a forward pass {units.size(totals['peak_bytes'])}",
        "new tensors: what a layer's ops allocate; in-place results and views allocate none",
        f"convention: {CONVENTION}",
        *_unknown(report),
        *_next(report, "summary --depth 2", "shapes", "flops"),
    ]
    table = Table(columns, rows, total, _at_least(report))
    keys = ("params", "trainable_params", "buffers", "param_bytes", "macs", "flops", "elementwise_flops", "uncounted")
    shown = {key: totals[key] for key in (*keys, "peak_bytes", "output_shape")}
    return _document("summary", report, [table], foot, shown)


def params(report: Report, selection: Selection, published: Sequence[str] = ()) -> Document:
    """Parameters by layer, largest first."""
    rows, total = layer_rows(report, _sorted_by(selection, "params"), PARAM_KEYS, "params")
    columns = [LAYER_COLUMN, TYPE_COLUMN, Column("params", "params", EXACT), SHARE_COLUMN]
    totals = report.totals
    frozen = totals["params"] - totals["trainable_params"]
    foot = [
        f"trainable {units.exact(totals['trainable_params'])} · frozen {units.exact(frozen)} · "
        f"buffers {units.exact(totals['buffers'])} (not parameters)",
        " · ".join(f"{name} {units.size(totals['params'] * size)}" for name, size in WIDTHS),
        *published,
        *_next(report, "params --depth 2", "flops", "show"),
    ]
    keys = ("params", "trainable_params", "buffers", "param_bytes")
    table = Table(columns, _shares(rows, "params", total), _share_of_all(total, "params", report))
    return _document("params", report, [table], foot, {key: totals[key] for key in keys})


WIDTHS = (("float32", 4), ("bfloat16", 2), ("int8", 1))


def flops(report: Report, selection: Selection, published: Sequence[str] = ()) -> Document:
    """Multiply-accumulates and FLOPs by layer, in the order of the network."""
    rows, total = layer_rows(report, selection, FLOP_KEYS, "macs")
    columns = [
        LAYER_COLUMN,
        OUTPUT_COLUMN,
        Column("macs", "MACs", SI),
        Column("flops", "FLOPs", SI),
        Column("elementwise_flops", "elementwise", SI),
        SHARE_COLUMN,
    ]
    totals = report.totals
    foot = [
        _macs_and_flops(report),
        f"convention: {CONVENTION}",
        "elementwise: bias, normalisation, activation, pooling, softmax, adds; never part of MACs",
        *(_unknown(report) or ["complete: every op of the run has a rule"]),
        *published,
        *_next(report, "flops --depth 2", "memory", "show"),
    ]
    keys = ("macs", "flops", "elementwise_flops", "uncounted")
    table = Table(columns, _shares(rows, "macs", total), _share_of_all(total, "macs", report), _at_least(report))
    return _document("flops", report, [table], foot, {key: totals[key] for key in keys})


def memory(report: Report, selection: Selection, published: Sequence[str] = ()) -> Document:
    """The bill at the peak of a forward pass, and the layers that hold it."""
    totals = report.totals
    bill = [
        {"part": name, "bytes": totals[f"{key}_bytes"], "how": how(totals, report.trace)}
        for key, name, how in PARTS
        if totals[f"{key}_bytes"] or key in ("params", "temporaries")
    ]
    peak = totals["peak_bytes"]
    bill_table = Table(
        [Column("part", "at the peak", TEXT), Column("bytes", "size", BYTES), Column("how", "how", TEXT), SHARE_COLUMN],
        [{**row, "share": _ratio(row["bytes"], peak)} for row in bill],
        {"part": "peak", "bytes": peak, "share": 1.0},
    )
    rows, total = layer_rows(report, selection, MEMORY_KEYS, "at_peak_bytes")
    columns = [
        LAYER_COLUMN,
        OUTPUT_COLUMN,
        Column("params_bytes", "parameters", BYTES),
        Column("allocated_bytes", "new tensors", BYTES),
        Column("at_peak_bytes", "held at the peak", BYTES),
    ]
    moment = report.details["peak"]
    foot = [
        *([f"peak: while {moment['path'] or 'the model itself'} runs {moment['op']}"] if moment else []),
        f"output {units.size(totals['output_bytes'])} · forward pass without gradients, nothing kept for backward",
        "new tensors: what a layer's ops allocate in all, most of it freed before the end",
        "not counted: workspaces inside kernels, allocator rounding, the framework itself",
        *_next(report, "summary", "flops"),
    ]
    keys = ("peak", *(key for key, _, _ in PARTS), "output", "saved_total")
    shown = {f"{key}_bytes": totals[f"{key}_bytes"] for key in keys}
    return _document("memory", report, [bill_table, Table(columns, rows, total)], foot, shown)


PARTS = (
    ("params", "parameters", lambda totals, trace: f"{units.exact(totals['params'])} elements"),
    ("buffers", "buffers", lambda totals, trace: f"{units.exact(totals['buffers'])} elements"),
    ("inputs", "inputs", lambda totals, trace: ", ".join(units.shape(one.shape) for one in trace.inputs)),
    ("saved", "kept for backward", lambda totals, trace: ""),
    ("gradients", "gradients", lambda totals, trace: ""),
    ("optimizer", "optimizer state", lambda totals, trace: ""),
    ("temporaries", "temporaries", lambda totals, trace: "activations live at that moment"),
)
"""The lines of the bill: key of the total, words, and how the number comes about."""


def shapes(report: Report, selection: Selection, only_changes: bool) -> Document:
    """Every step with its shapes, the rule that made them, and the receptive field."""
    totals = report.totals
    keys = ("output_shape", "receptive_field", "total_stride")
    foot = _next(report, "shapes --only-changes" if not only_changes else "shapes", "summary", "flops")
    table = step_table(report, selection, only_changes)
    return _document("shapes", report, [table], foot, {key: totals[key] for key in keys})


# ---- what views share ----------------------------------------------------------------------------


def _document(
    command: str, report: Report, tables: Sequence[Table], foot: Sequence[str], totals: Mapping[str, Any]
) -> Document:
    return Document(command, head(report), tables, foot, envelope(report, totals))


def head(report: Report) -> list[str]:
    """The line that says what was measured, and the notes of the report."""
    trace = report.trace
    inputs = ", ".join(_input_text(trace, index) for index in range(len(trace.inputs)))
    source = {"builtin": "built-in"}.get(trace.model.source, trace.model.source)
    line = f"{trace.model.name} · {source} · input {inputs or 'none'} · {trace.assumptions['mode']}"
    return [line, *_field_line(report), *report.notes]


def _input_text(trace: Trace, index: int) -> str:
    one = trace.inputs[index]
    name = f"{one.name}=" if len(trace.inputs) > 1 else ""
    origin = "" if one.origin == "default" else f" ({one.origin})"
    return f"{name}{units.shape(one.shape)} {one.dtype}{origin}"


def _field_line(report: Report) -> list[str]:
    if not report.totals.get("receptive_field") or "macs" in report.totals:
        return []
    where = report.details["field_at"]
    field = field_text(report.totals["receptive_field"])
    return [f"total stride {field_text(report.totals['total_stride'])} · receptive field {field} px at {where}"]


def envelope(report: Report, totals: Mapping[str, Any]) -> dict[str, Any]:
    """What every JSON answer says around its rows."""
    trace = report.trace
    model = trace.model
    return {
        "model": {
            "reference": model.reference,
            "name": model.name,
            "source": model.source,
            "config": dict(model.config),
        },
        "inputs": [
            {"name": one.name, "dtype": one.dtype, "shape": list(one.shape), "from": one.origin} for one in trace.inputs
        ],
        "assumptions": dict(trace.assumptions),
        "totals": dict(totals),
        "notes": list(report.notes),
    }


def _macs_and_flops(report: Report) -> str:
    sign = "≥ " if report.totals["uncounted"] else ""
    return f"{sign}{units.exact(report.macs)} MACs · {sign}{units.exact(report.flops)} FLOPs"


def _at_least(report: Report) -> frozenset[str]:
    return frozenset(("macs", "flops", "elementwise_flops") if report.totals["uncounted"] else ())


def _unknown(report: Report) -> list[str]:
    names = report.totals["uncounted"]
    return [f"≥: lower bounds, no rule for {', '.join(names)}"] if names else []


def _next(report: Report, first: str, *others: str) -> list[str]:
    """The commands to try next, ready to paste; none for a module that has no name to type."""
    model = report.trace.model
    if model.source == "module":
        return []
    command, _, options = first.partition(" ")
    own = model.source == "builtin"
    typed = shlex.quote(model.reference) + ("" if own else "".join(_option(one) for one in report.trace.inputs))
    commands = [f"archcalc {command} {typed} {options}".rstrip()]
    commands += [f"archcalc {other} {typed}" for other in others if own or other != "show"]
    return [f"next: {' · '.join(commands)}"]


def _option(one: Input) -> str:
    """An input as it is typed."""
    dtype = "" if one.dtype == "float32" else f"{one.dtype}:"
    return f" -i {one.name}={dtype}{units.shape(one.shape)}"


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _shares(rows: Sequence[Mapping[str, Any]], key: str, total: Mapping[str, Any]) -> list[dict[str, Any]]:
    whole = total.get(key, 0)
    return [{**row, "share": _ratio(row[key], whole)} for row in rows]


def _share_of_all(total: Mapping[str, Any], key: str, report: Report) -> dict[str, Any]:
    return {**total, "share": _ratio(total.get(key, 0), report.totals[key])}


def _sorted_by(selection: Selection, key: str) -> Selection:
    return replace(selection, sort=selection.sort or key)
