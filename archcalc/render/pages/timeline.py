"""Live bytes over a run as tables: phase by phase, and as a timeline."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from archcalc.analyses.memory import LiveBytes
from archcalc.analyses.report import Report
from archcalc.render.document import BYTES, LAYER, SHARE, TEXT, Column, Table

LINES = {"batches before": 4, "forward": 14, "loss": 1, "backward": 14, "optimizer": 4}
"""The most lines of a timeline on a screen, by phase."""


def phases(report: Report) -> Table:
    """The steady step phase by phase: live bytes at its beginning, at most, and at its end."""
    columns = [
        Column("phase", "phase of the step", TEXT),
        Column("start_bytes", "at its start", BYTES),
        Column("peak_bytes", "at most", BYTES),
        Column("end_bytes", "at its end", BYTES),
    ]
    live = report.record(LiveBytes).timeline
    rows = [
        {"phase": phase, "start_bytes": live[a], "peak_bytes": max(live[a:b]), "end_bytes": live[b - 1]}
        for phase, a, b in _spans(report)
    ]
    return Table(columns, rows)


def timeline_rows(report: Report) -> list[dict[str, Any]]:
    """Every op call of the forward pass, or of the steady step: its number, phase, layer, and the bytes live in it."""
    trace, record = report.trace, report.record(LiveBytes)
    (start, end), live = record.span, record.timeline
    return [
        {"call": number - start, "phase": call.phase, "path": trace.path(call), "op": call.op, "live_bytes": bytes_}
        for number, (call, bytes_) in enumerate(zip(trace.calls[start:end], live[start:end], strict=False), start)
    ]


def timeline(report: Report) -> Table:
    """The same in a few lines for each phase, each with the highest moment of its stretch of calls."""
    rows = timeline_rows(report)
    peak = max((row["live_bytes"] for row in rows), default=0)
    columns = [
        Column("calls", "op calls", TEXT),
        Column("phase", "phase", TEXT),
        Column("path", "highest while this layer runs", LAYER),
        Column("live_bytes", "live", BYTES),
        Column("share", "of the peak", SHARE),
    ]
    start, _ = report.record(LiveBytes).span
    lines = []
    for phase, first, last in _spans(report):
        stretches = min(LINES[phase], last - first)
        edges = [first - start + (last - first) * n // stretches for n in range(stretches + 1)]
        for a, b in pairwise(edges):
            highest = max(rows[a:b], key=lambda row: row["live_bytes"])
            share = highest["live_bytes"] / peak if peak else 0.0
            lines.append({**highest, "calls": f"{a:,} to {b - 1:,}", "phase": phase, "share": share})
    return Table(columns, lines)


def _spans(report: Report) -> Iterator[tuple[str, int, int]]:
    """The phases with their op calls [first, last); accumulated batches before the last are a phase of their own."""
    if not report.trace.steps:
        start, end = report.record(LiveBytes).span
        yield "forward", start, end
        return
    step = report.trace.steps[-1]
    marks = {
        "batches before": step.start,
        "forward": step.forward,
        "loss": step.loss,
        "backward": step.backward,
        "optimizer": step.optimizer,
    }
    ends = [*list(marks.values())[1:], step.end]
    yield from ((phase, a, b) for (phase, a), b in zip(marks.items(), ends, strict=True) if b > a)
