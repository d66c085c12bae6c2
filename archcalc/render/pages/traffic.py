"""The answer of `traffic`: bytes that ops read and write, by layer, and multiply-adds for each byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from archcalc.analyses.report import Report
from archcalc.analyses.traffic import KEYS, Kernels
from archcalc.render.around import document
from archcalc.render.assumed import optimizer_words
from archcalc.render.columns import (
    LAYER_COLUMN,
    MACS_COLUMN,
    OUTPUT_COLUMN,
    SHARE_COLUMN,
    ratio,
    with_share_of_all,
    with_shares,
)
from archcalc.render.document import BYTES, NUMBER, Column, Document, Table
from archcalc.render.equal_blocks import times_each
from archcalc.render.layers import Selection, layer_rows
from archcalc.render.promise import LAYER, MODEL, Promise
from archcalc.render.typed import deeper, next_commands
from archcalc.text import units

FIGURES = {"read_bytes": "read_bytes", "written_bytes": "written_bytes", "traffic_bytes": "traffic_bytes"}
FIGURES |= {"macs": "traffic_macs"}
LARGEST_OPS = 4


def traffic(report: Report, selection: Selection, published: Sequence[str] = ()) -> Document:
    """Bytes read and written by layer, in the order of the network, with multiply-adds for each byte."""
    rows, total = layer_rows(report, selection, FIGURES, "traffic_bytes")
    columns = [
        LAYER_COLUMN,
        OUTPUT_COLUMN,
        Column("read_bytes", "read", BYTES),
        Column("written_bytes", "written", BYTES),
        MACS_COLUMN,
        Column("macs_per_byte", "MACs/byte", NUMBER),
        SHARE_COLUMN,
    ]
    totals, unknown = report.totals, report.totals["traffic_unknown"]
    marked = frozenset(("read_bytes", "written_bytes") if unknown else ())
    body = [_with_intensity(row) for row in with_shares(rows, "traffic_bytes", total)]
    whole = _with_intensity(with_share_of_all(total, "traffic_bytes", report))
    table = Table(columns, body, whole, marked)
    asked, other = ("traffic --fused", "traffic") if report.record(Kernels).fused else ("traffic", "traffic --fused")
    more = () if report.trace.steps else (*deeper(asked, selection, table), "lint", other)
    foot = [*times_each(rows), *_words(report), *(next_commands(report, *more) if more else [])]
    figures = {key: totals[key] for key in (*KEYS[:3], "macs_per_byte")} | {"macs": totals["traffic_macs"]}
    if report.trace.steps:
        update = report.record(Kernels).update_elementwise_flops
        figures |= {"recomputed_bytes": totals["recomputed_bytes"], "optimizer_elementwise_flops": update}
    return document("traffic", report, [table], foot, figures | {"uncounted": unknown}, _verdict(report))


def _with_intensity(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "macs_per_byte": float(f"{ratio(row['macs'], row['traffic_bytes']):.4g}")}


def _verdict(report: Report) -> str:
    """Bytes of the whole run, and MACs for each."""
    totals = report.totals
    mark = "≥ " if totals["traffic_unknown"] else ""
    run = "a training step" if report.trace.steps else "a forward pass"
    return (
        f"{run} moves {mark}{units.size(totals['traffic_bytes'])}: {units.size(totals['read_bytes'])} read, "
        f"{units.size(totals['written_bytes'])} written · {totals['macs_per_byte']:.3g} MACs a byte"
    )


def _words(report: Report) -> list[str]:
    """The convention, and the ops that move most."""
    totals, record = report.totals, report.record(Kernels)
    unknown = totals["traffic_unknown"]
    most = list(record.bytes_by_op.items())[:LARGEST_OPS]
    ops = ", ".join(f"{op} {100 * ratio(moved, totals['traffic_bytes']):.0f} %" for op, moved in most)
    fused = "an elementwise chain, or a normalisation with the ops around it, reads and writes once (--fused)"
    convention = fused if record.fused else "each op by itself reads its inputs and writes its outputs once"
    lines = [
        f"convention: {convention}; views move nothing, a lookup reads the rows that it takes",
        *([f"{units.plural(len(record.kernels), 'kernel')}, most by  {ops}"] if ops else []),
        *_phases(report),
    ]
    return [*lines, *([f"≥: lower bounds: the bytes of {', '.join(unknown)} are not known"] if unknown else [])]


def _phases(report: Report) -> list[str]:
    """What each phase of a training step moves, and the part of backward that computes forward again."""
    if not report.trace.steps:
        return []
    again = report.totals["recomputed_bytes"]
    parts = [f"{phase} {units.size(moved)}" for phase, moved in report.record(Kernels).bytes_by_phase.items()]
    made_again = f"; in backward {units.size(again)} to compute forward's results again" if again else ""
    return [f"by phase: {' · '.join(parts)}{made_again}", *_update(report)]


def _update(report: Report) -> list[str]:
    """The elementwise operations of the optimizer's turn, and how many they are for each trained parameter."""
    work, trace = report.record(Kernels).update_elementwise_flops, report.trace
    trained = sum(prod(trace.tensors[p.tensor].shape) for p in trace.parameters if p.trainable)
    if work is None or not trained:
        return []
    each = f"{work / trained:.4g} for each of {trained:,} trained parameters"
    return [f"update by {optimizer_words(trace.assumptions)}: {work:,} elementwise operations, {each}"]


PROMISE = Promise(
    "traffic", ("read_bytes", "written_bytes", "traffic_bytes", "macs_per_byte", "uncounted"),
    (*LAYER, "read_bytes", "written_bytes", "traffic_bytes", "macs", "macs_per_byte"), MODEL,
)  # fmt: skip
"""The keys that its JSON always has."""
