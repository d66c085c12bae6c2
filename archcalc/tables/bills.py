"""Report -> Document for memory: the bill at the peak, when and where that is, and the layers that hold it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from archcalc import units
from archcalc.analyses.memory import KEYS
from archcalc.analyses.report import Report
from archcalc.tables.layers import Selection, layer_rows
from archcalc.tables.table import BYTES, TEXT, Column, Document, Table
from archcalc.tables.views import LAYER_COLUMN, OUTPUT_COLUMN, SHARE_COLUMN, document, next_commands, ratio

PARTS = {
    "params": "parameters",
    "buffers": "buffers",
    "inputs": "inputs",
    "saved": "kept for backward",
    "gradients": "gradients",
    "optimizer": "optimizer state",
    "temporaries": "temporaries",
}
"""The lines of the bill: the key of the total and its words."""


def memory(report: Report, selection: Selection, published: Sequence[str] = ()) -> Document:
    """The bill at the peak of a forward pass or of a training step, and the layers that hold it."""
    totals, training = report.totals, bool(report.trace.steps)
    rows, total = layer_rows(report, selection, KEYS, "at_peak_bytes")
    middle = Column("kept_bytes", "kept for backward", BYTES) if training else _ALLOCATED
    columns = [
        LAYER_COLUMN,
        OUTPUT_COLUMN,
        Column("params_bytes", "parameters", BYTES),
        middle,
        Column("at_peak_bytes", "held at the peak", BYTES),
    ]
    foot = [
        *_moment(report),
        *(_training_lines(report) if training else _forward_lines(report)),
        _not_counted(report),
        *next_commands(report, "summary", "flops"),
    ]
    keys = ("peak", *PARTS, "output", "saved_total", *(("first_step_peak",) if training else ()))
    shown = {f"{key}_bytes": totals[f"{key}_bytes"] for key in keys}
    tables = [_bill(report), *([_phases(report)] if training else []), Table(columns, rows, total)]
    return document("memory", report, tables, foot, shown)


_ALLOCATED = Column("allocated_bytes", "new tensors", BYTES)


def _bill(report: Report) -> Table:
    totals, peak = report.totals, report.totals["peak_bytes"]
    rows = [
        {"part": name, "bytes": totals[f"{key}_bytes"], "how": _how(report, key)}
        for key, name in PARTS.items()
        if totals[f"{key}_bytes"] or key in ("params", "temporaries")
    ]
    columns = [Column("part", "at the peak", TEXT), Column("bytes", "size", BYTES), Column("how", "how", TEXT)]
    shares = [{**row, "share": ratio(row["bytes"], peak)} for row in rows]
    return Table([*columns, SHARE_COLUMN], shares, {"part": "peak", "bytes": peak, "share": 1.0})


def _how(report: Report, key: str) -> str:
    totals, trace = report.totals, report.trace
    if key in ("params", "buffers"):
        return f"{units.exact(totals[key])} elements"
    if key == "inputs":
        return ", ".join(units.shape(one.shape) for one in trace.inputs)
    if key == "saved":
        return f"of {units.size(totals['saved_total_bytes'])} kept at the end of forward"
    if key == "gradients":
        return "made so far, of one for each trained parameter"
    if key == "optimizer":
        return str(trace.assumptions.get("optimizer", ""))
    return "activations live at that moment" if not trace.steps else "live at that moment and not kept"


def _phases(report: Report) -> Table:
    """The steady step phase by phase: live bytes at its beginning, at most, and at its end."""
    columns = [
        Column("phase", "phase of the step", TEXT),
        Column("start_bytes", "at its start", BYTES),
        Column("peak_bytes", "at most", BYTES),
        Column("end_bytes", "at its end", BYTES),
    ]
    return Table(columns, list(_phase_rows(report)))


def _phase_rows(report: Report) -> Iterator[dict[str, Any]]:
    step, live = report.trace.steps[-1], report.details["timeline"]
    marks = {"forward": step.forward, "loss": step.loss, "backward": step.backward, "optimizer": step.optimizer}
    ends = [*list(marks.values())[1:], step.end]
    for (phase, first), last in zip(marks.items(), ends, strict=True):
        if last > first:
            yield {
                "phase": phase,
                "start_bytes": live[first],
                "peak_bytes": max(live[first:last]),
                "end_bytes": live[last - 1],
            }


def _moment(report: Report) -> list[str]:
    moment = report.details["peak"]
    if not moment:
        return []
    phase = f" in {moment['phase']}" if report.trace.steps else ""
    return [f"peak:{phase} while {moment['path'] or 'the model itself'} runs {moment['op']}"]


def _not_counted(report: Report) -> str:
    device = report.trace.assumptions.get("device")
    if device:
        return f"with the scratch memory of {device} kernels · not counted: allocator rounding, the framework itself"
    return "not counted: workspaces inside kernels (--device cpu counts them), allocator rounding, the framework itself"


def _forward_lines(report: Report) -> list[str]:
    output = units.size(report.totals["output_bytes"])
    return [
        f"output {output} · forward pass without gradients, nothing kept for backward",
        "new tensors: what a layer's ops allocate in all, most of it freed before the end",
    ]


def _training_lines(report: Report) -> list[str]:
    totals, said = report.totals, report.trace.assumptions
    patterns = []
    for key, word in (("frozen", "frozen"), ("checkpoint", "checkpointed")):
        named = said[key]
        if isinstance(named, tuple) and named:
            patterns.append(f"{word} {', '.join(map(str, named))}")
    return [
        f"steady state, the second step; the first, which makes the optimizer's state, peaks at "
        f"{units.size(totals['first_step_peak_bytes'])}",
        f"assumed: {said['dtype']}, {said['optimizer']}, loss {said['loss']}, attention unfused"
        + "".join(f", {pattern}" for pattern in patterns),
        f"assumed: {said['outputs']}",
        "kept for backward: what autograd holds at the end of forward, at the layer that made it",
    ]
