"""Report -> Document: what each command shows of a report. Raw values only; formats do the rounding."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from archcalc.analyses.conventions import OURS
from archcalc.analyses.flops import KEYS as FLOP_KEYS
from archcalc.analyses.params import KEYS as PARAM_KEYS
from archcalc.analyses.report import Report
from archcalc.render.document import (
    BYTES,
    EXACT,
    LAYER,
    SHAPE,
    SHARE,
    SI,
    TYPE,
    Column,
    Document,
    Table,
    field_text,
)
from archcalc.render.layers import Selection, layer_rows
from archcalc.render.pages.steps import step_table
from archcalc.text import units
from archcalc.tracing import Input, Trace

GIVEN = ("option", "argument")
"""Origins of an input that somebody typed; any other names who declared it."""
LAYER_COLUMN = Column("path", "layer", LAYER)
TYPE_COLUMN = Column("type", "type", TYPE)
OUTPUT_COLUMN = Column("output_shape", "output", SHAPE)
SHARE_COLUMN = Column("share", "share", SHARE)


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
        f"convention: {OURS}",
        *_completeness(report),
    ]
    table = Table(columns, rows, total, _at_least(report))
    foot += next_commands(report, *_deeper("summary", selection, table), "shapes", "flops")
    counts = ("params", "trainable_params", "buffers", "param_bytes", "macs", "flops", "elementwise_flops")
    keys = (*counts, "uncounted", "calls", "peak_bytes", "output_shape")
    shown = {key: totals[key] for key in keys}
    return document("summary", report, [table], foot, shown)


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
    ]
    keys = ("params", "trainable_params", "buffers", "param_bytes")
    table = Table(columns, _shares(rows, "params", total), _share_of_all(total, "params", report))
    foot += next_commands(report, *_deeper("params", selection, table), "flops", "show")
    return document("params", report, [table], foot, {key: totals[key] for key in keys})


WIDTHS = (("float32", 4), ("bfloat16", 2), ("int8", 1))


def flops(report: Report, selection: Selection, published: Sequence[str] = ()) -> Document:
    """Multiply-accumulates and FLOPs by layer, in the order of the network."""
    backward = "backward_macs" in report.totals
    figures = (*FLOP_KEYS, "backward_macs") if backward else FLOP_KEYS
    rows, total = layer_rows(report, selection, figures, "macs")
    columns = [
        LAYER_COLUMN,
        OUTPUT_COLUMN,
        Column("macs", "MACs", SI),
        Column("flops", "FLOPs", SI),
        *([Column("backward_macs", "MACs of backward", SI)] if backward else []),
        Column("elementwise_flops", "elementwise", SI),
        SHARE_COLUMN,
    ]
    totals = report.totals
    foot = [
        ("the whole network: " if selection.layer else "") + _macs_and_flops(report),
        f"convention: {report.details['convention'].words}",
        *_causal(report),
        *(_backward(report) if backward else []),
        "elementwise: bias, normalisation, activation, pooling, softmax, adds; never part of MACs",
        *_completeness(report),
        *published,
    ]
    keys = ("macs", "flops", "elementwise_flops", "uncounted", "calls", "causal_hidden_macs", *figures[3:])
    table = Table(columns, _shares(rows, "macs", total), _share_of_all(total, "macs", report), _at_least(report))
    foot += next_commands(report, *_deeper("flops", selection, table), "memory", "show")
    return document("flops", report, [table], foot, {key: totals[key] for key in keys})


def shapes(report: Report, selection: Selection, only_changes: bool) -> Document:
    """Every step with its shapes, the rule that made them, and the receptive field."""
    totals = report.totals
    keys = ("output_shape", "receptive_field", "total_stride")
    foot = next_commands(report, "shapes --only-changes" if not only_changes else "shapes", "summary", "flops")
    table = step_table(report, selection, only_changes)
    return document("shapes", report, [table], foot, {key: totals[key] for key in keys})


# ---- what views share ----------------------------------------------------------------------------


def document(
    command: str, report: Report, tables: Sequence[Table], foot: Sequence[str], totals: Mapping[str, Any]
) -> Document:
    """An answer on one report: its head line, tables and foot, and the envelope with its totals."""
    return Document(command, head(report), tables, foot, envelope(report, totals))


def head(report: Report) -> list[str]:
    """The line that says what was measured, and the notes of the report."""
    trace = report.trace
    inputs = ", ".join(_input_text(trace, index) for index in range(len(trace.inputs)))
    source = {"builtin": "built-in"}.get(trace.model.source, trace.model.source)
    settings = "".join(f" · {knob}={setting(value)}" for knob, value in trace.model.settings.items())
    line = f"{trace.model.name} · {source}{settings} · input {inputs or 'none'} · {trace.assumptions['mode']}"
    return [line, *_field_line(report), *report.notes]


def _input_text(trace: Trace, index: int) -> str:
    one = trace.inputs[index]
    name = f"{one.name}=" if len(trace.inputs) > 1 else ""
    origin = "given" if one.origin in GIVEN else one.origin
    return f"{name}{units.shape(one.shape)} {one.dtype} ({origin})"


def _field_line(report: Report) -> list[str]:
    if not report.totals.get("receptive_field") or "macs" in report.totals:
        return []
    where = report.details["field_at"]
    field = field_text(report.totals["receptive_field"])
    stride = field_text(report.totals["total_stride"])
    seen = "the whole input" if field == "all" else f"{field} px"
    return [f"total stride {stride} · receptive field {seen} at {where or 'the model itself'}"]


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


def _causal(report: Report) -> list[str]:
    """How causal attention was counted, and what the other way would give."""
    hidden = report.totals["causal_hidden_macs"]
    if not hidden or report.details["convention"].name not in ("archcalc", "half-causal"):
        return []
    if report.details["convention"].name == "half-causal":
        full = units.exact(report.macs + hidden)
        return [f"causal attention: {units.exact(hidden)} MACs of hidden keys left out; in full {full}"]
    rest = units.exact(report.macs - hidden)
    return [f"causal attention: counted in full; without the keys its mask hides {rest} (--convention half-causal)"]


def _at_least(report: Report) -> frozenset[str]:
    return frozenset(("macs", "flops", "elementwise_flops") if report.totals["uncounted"] else ())


def _backward(report: Report) -> list[str]:
    """The work of backward beside forward's."""
    macs = report.totals["backward_macs"]
    times = f", {macs / report.macs:.3f} times the forward pass's" if report.macs else ""
    return [f"backward: {units.exact(macs)} MACs{times}; only what trained parameters need"]


def _completeness(report: Report) -> list[str]:
    """How many op calls are of which class, and the names of those that nothing is known of."""
    calls, names = report.totals["calls"], report.totals["uncounted"]
    known = (
        f"{units.plural(calls['contraction'], 'contraction')} counted, "
        f"{calls['elementwise']:,} elementwise estimated, {units.plural(calls['movement'], 'movement')} free"
    )
    if not names:
        return [f"complete: {known}; every op has a rule"]
    return [f"≥: lower bounds: {known}, {calls['unknown']:,} without a rule: {', '.join(names)}"]


def next_commands(report: Report, *commands: str) -> list[str]:
    """The commands to try next, ready to paste, with the settings of this one; none for a module without a name."""
    model = report.trace.model
    if model.source == "module":
        return []
    typed = as_typed(report.trace)
    own = [command for command in commands if model.source == "builtin" or command != "show"]
    told = (command.partition(" ") for command in own)
    return [f"next: {' · '.join(f'archcalc {name} {typed} {options}'.rstrip() for name, _, options in told)}"]


def _deeper(command: str, selection: Selection, table: Table) -> list[str]:
    """The same command one level deeper, where the table has folded something and nobody chose a depth."""
    folded = any(row.get("modules", 1) > 1 and row["path"][:1] != "[" for row in table.rows)
    return [f"{command} --depth 2"] if folded and selection.depth is None and not selection.layer else []


def as_typed(trace: Trace) -> str:
    """The model and its settings as they are typed behind a command."""
    model = trace.model
    parts = [shlex.quote(model.reference)]
    parts += [f"--set {shlex.quote(f'{knob}={setting(value)}')}" for knob, value in model.settings.items()]
    dtype = str(trace.assumptions["dtype"])
    parts += [f"-i {_option(one, dtype)}" for one in trace.inputs if one.origin in GIVEN]
    parts += sorted({one.origin for one in trace.inputs if one.origin.startswith("--inputs ")})
    parts += [f"--dtype {dtype}"] if dtype != "float32" else []
    return " ".join([*parts, *(["--mode train"] if trace.assumptions["mode"] == "train" else [])])


def setting(value: Any) -> str:
    """A knob's value as it is typed."""
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _option(one: Input, default: str) -> str:
    """An input as it is typed."""
    dtype = "" if one.dtype == default else f"{one.dtype}:"
    return f"{one.name}={dtype}{units.shape(one.shape)}"


def ratio(part: int, whole: int) -> float:
    """A part of a whole; a part of nothing is 0."""
    return part / whole if whole else 0.0


def _shares(rows: Sequence[Mapping[str, Any]], key: str, total: Mapping[str, Any]) -> list[dict[str, Any]]:
    whole = total.get(key, 0)
    return [{**row, "share": ratio(row[key], whole)} for row in rows]


def _share_of_all(total: Mapping[str, Any], key: str, report: Report) -> dict[str, Any]:
    return {**total, "share": ratio(total.get(key, 0), report.totals[key])}


def _sorted_by(selection: Selection, key: str) -> Selection:
    return replace(selection, sort=selection.sort or key)
