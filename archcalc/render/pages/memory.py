"""Report -> Document for memory: the bill at the peak, when and where that is, and the layers that hold it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from archcalc.analyses.memory import HELD_BY_OWNERS, KEYS, LiveBytes
from archcalc.analyses.params import STORED
from archcalc.analyses.report import Report
from archcalc.analyses.steady_pass import kept_results
from archcalc.analyses.weights import types_in_words
from archcalc.engine.devices import device_named
from archcalc.render.around import document
from archcalc.render.assumed import words
from archcalc.render.columns import LAYER_COLUMN, OUTPUT_COLUMN, SHARE_COLUMN, ratio
from archcalc.render.document import BYTES, TEXT, Column, Document, Table
from archcalc.render.equal_blocks import times_each
from archcalc.render.layers import Selection, layer_rows
from archcalc.render.pages import changes, fit
from archcalc.render.pages.holders import holder_rows, holders, holders_for_machines
from archcalc.render.pages.params import stored_line
from archcalc.render.pages.timeline import phases, timeline, timeline_rows
from archcalc.render.pages.training_states import states_for_machines, states_line
from archcalc.render.promise import LAYER, MODEL, Promise
from archcalc.render.typed import next_commands
from archcalc.studies.changes import Peak
from archcalc.studies.largest_batch import Fitted
from archcalc.text import units

PARTS = {
    "params": "parameters",
    "buffers": "buffers",
    "inputs": "inputs",
    "cache": "cache",
    "saved": "kept for backward",
    "gradients": "gradients",
    "optimizer": "optimizer state",
    "temporaries": "temporaries",
}
"""The lines of the bill: the key of the total and its words."""
FIGURES = {**HELD_BY_OWNERS, **{key: key for key in KEYS if key not in HELD_BY_OWNERS.values()}}
"""The figures of a layer: their keys in the rows, and in the report."""


@dataclass(frozen=True)
class Asked:
    """Optional parts: the timeline, the report at one sample more, what fits, and what changes would free."""

    timeline: bool = False
    further: Report | None = None
    fitted: Fitted | None = None
    changes: Sequence[Peak] = ()


def memory(
    report: Report,
    selection: Selection,
    published: Sequence[str] = (),
    asked: Asked = Asked(),
) -> Document:
    """The bill at the peak of a forward pass or of a training step, when that is, and the layers that hold it."""
    training = bool(report.trace.steps)
    rows, total = layer_rows(report, selection, FIGURES, "at_peak_bytes")
    columns = [
        LAYER_COLUMN,
        OUTPUT_COLUMN,
        Column("params_bytes", "parameters", BYTES),
        Column("kept_bytes", "kept for backward", BYTES)
        if training
        else Column("allocated_bytes", "new tensors", BYTES),
        Column("at_peak_bytes", "held at the peak", BYTES),
    ]
    foot = [
        *times_each(rows),
        *_moment(report),
        *(fit.budget_lines(asked.fitted) if asked.fitted else []),
        *changes.notes(asked.changes),
        *_per_sample(report, asked),
        *(_training_lines(report) if training else _forward_lines(report)),
        *stored_line(report),
        *_assumed(report),
        *next_commands(report, "summary", "flops"),
    ]
    keys = ("peak", *PARTS, "output", "saved_total", *(("first_step_peak",) if training else ()))
    shown = {f"{key}_bytes": _bytes(report, key) for key in keys}
    shown |= {STORED: report.totals[STORED]} if STORED in report.totals else {}
    over_time = timeline(report) if asked.timeline else phases(report) if training else None
    held = holder_rows(report)
    tables = [_bill(report, asked), *([over_time] if over_time else []), holders(held), *_changes(report, asked)]
    verdict = fit.verdict(asked.fitted) if asked.fitted else _verdict(report)
    whole = [*tables, Table(columns, rows, total)]
    made = document("memory", report, whole, foot, shown, verdict, _recurring(report))
    head = [verdict, *_standing(made.head[1:], report)]
    return replace(made, head=head, envelope={**made.envelope, **_for_machines(report, asked, held)})


def _verdict(report: Report) -> str:
    """The peak, and the phase and the layer it is in."""
    moment, run = report.record(LiveBytes).peak, "a training step" if report.trace.steps else "a forward pass"
    peak = f"{run} peaks at {units.size(report.totals['peak_bytes'])}"
    phase = f" in {moment.phase}" if moment and report.trace.steps else ""
    return f"{peak}{phase}, in {moment.path or 'the model itself'}" if moment else peak


def _standing(head: Sequence[str], report: Report) -> list[str]:
    """The head, which says behind the model's name if the bill is of no device."""
    device = device_named(str(report.trace.assumptions.get("device") or ""))
    if device.name:
        return [*head]
    name, dot, about = head[0].partition(" · ")
    return [f"{name} · {device.standing}{dot}{about}", *head[1:]]


def _bytes(report: Report, key: str) -> int:
    """A line of the bill at the peak, or another total."""
    return int(report.record(LiveBytes).bill.get(key, report.totals.get(f"{key}_bytes", 0)))


def _bill(report: Report, asked: Asked) -> Table:
    peak = report.totals["peak_bytes"]
    rows = [
        {"part": name, "bytes": _bytes(report, key), "how": _how(report, key), "sample": _sample(report, asked, key)}
        for key, name in PARTS.items()
        if _bytes(report, key) or key in ("params", "temporaries")
    ]
    columns = [
        Column("part", "at the peak", TEXT),
        Column("bytes", "size", BYTES),
        *([Column("sample", "a further sample", BYTES)] if asked.further else []),
        Column("how", "how", TEXT),
        SHARE_COLUMN,
    ]
    shares = [{**row, "share": ratio(int(row["bytes"] or 0), peak)} for row in rows]
    total = {"part": "peak", "bytes": peak, "share": 1.0, "sample": _sample(report, asked, "peak")}
    return Table(columns, shares, total)


def _sample(report: Report, asked: Asked, key: str) -> int | None:
    """Bytes that one more sample adds to a line of the bill."""
    if asked.further is None:
        return None
    return _bytes(asked.further, key) - _bytes(report, key)


def _per_sample(report: Report, asked: Asked) -> list[str]:
    grows = _sample(report, asked, "peak")
    if grows is None:
        return []
    batch = report.trace.assumptions["batch"]
    next_ = batch + 1 if isinstance(batch, int) else batch
    lines = [f"a further sample: what batch {next_} needs more than {batch}"]
    moments = [
        peak and peak.call for peak in (either.record(LiveBytes).peak for either in (report, asked.further) if either)
    ]
    if moments[0] != moments[1]:
        lines.append("a further sample moves the peak to another moment: its lines are a difference of two bills")
    return lines


def _changes(report: Report, asked: Asked) -> list[Table]:
    missed = asked.fitted.fit.budget if asked.fitted and not asked.fitted.fits else None
    return changes.table(asked.changes, report.totals["peak_bytes"], missed)


def _in_the_timeline(report: Report) -> dict[str, Any] | None:
    """The moment of the peak, its call numbered as those of the timeline."""
    live = report.record(LiveBytes)
    return asdict(replace(live.peak, call=live.peak.call - live.span[0])) if live.peak else None


def _for_machines(report: Report, asked: Asked, held: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The timeline, the holders and the states of a training step always; the rest where it was asked."""
    around: dict[str, Any] = {
        "peak": _in_the_timeline(report),
        **holders_for_machines(report, held),
        **states_for_machines(report),
        "timeline": timeline_rows(report),
    }
    if asked.further is not None:
        around["per_sample"] = {f"{key}_bytes": _sample(report, asked, key) for key in ("peak", *PARTS, "saved_total")}
    rows = changes.for_machines(asked.changes, report.totals["peak_bytes"])
    if rows:
        around["changes"] = rows
    if asked.fitted is not None:
        around["fit"] = {**fit.for_machines(asked.fitted), "changes": rows}
    return around


def _how(report: Report, key: str) -> str:
    totals, trace = report.totals, report.trace
    if key == "buffers" and not totals["buffers"]:
        if kept_results(trace):
            return "results that the model keeps for its next pass"
        return "constants that are not registered"
    if key in ("params", "buffers"):
        return f"{units.exact(totals[key])} elements"
    if key == "inputs":
        return ", ".join(units.shape(given.shape) for given in trace.inputs)
    if key == "cache":
        return _cache(report)
    if key == "saved":
        kept = units.size(totals["saved_total_bytes"])
        more = _bytes(report, "saved") > totals["saved_total_bytes"]
        return (
            f"{kept} at the end of forward, the rest by the loss" if more else f"of {kept} kept at the end of forward"
        )
    if key == "gradients":
        return "made so far, of one for each trained parameter"
    if key == "optimizer":
        name = str(trace.assumptions.get("optimizer", ""))
        masters = any(storage.role == "master" for storage in trace.storages)
        return f"{name}, and master weights in float32" if masters else name
    if trace.assumptions.get("keep_gradients"):
        return "live at that moment; gradients of activations are held"
    return "activations live at that moment" if not trace.steps else "live at that moment and not kept"


def _cache(report: Report) -> str:
    """How much of the cache is there when forward ends: what came in, and what it made."""
    end = len(report.trace.calls) - 1
    kept = [s.bytes for s in report.trace.storages if s.role == "cache" and s.live_at(end)]
    return f"{units.plural(len(kept), 'tensor')}, {units.size(sum(kept))} at the end of forward"


def _moment(report: Report) -> list[str]:
    moment = report.record(LiveBytes).peak
    if moment is None:
        return []
    phase = f" in {moment.phase}" if report.trace.steps else ""
    return [f"peak:{phase} while {moment.path or 'the model itself'} runs {moment.op}"]


def _assumed(report: Report) -> list[str]:
    """The settings that the bytes depend on, and what is not in them."""
    assumptions = report.trace.assumptions
    shown = {**assumptions, "dtype": types_in_words(report.trace), "device": "", "processor": ""}
    device = device_named(str(assumptions.get("device") or ""))
    processor = f"device {device.name}: {assumptions['processor']} · " if "processor" in assumptions else ""
    return [f"assumed: {', '.join(words(shown))}", f"{processor}{device.note}"]


def _forward_lines(report: Report) -> list[str]:
    output = units.size(report.totals["output_bytes"])
    kept = kept_results(report.trace)
    size = units.size(sum(storage.bytes for storage in kept))
    of_before = (
        f"the model keeps {units.plural(len(kept), 'result')}, {size}, for its next pass: counted from the start"
    )
    return [
        f"output {output} · forward pass without gradients, nothing kept for backward",
        *([of_before] if kept else []),
    ]


def _training_lines(report: Report) -> list[str]:
    first = units.size(report.totals["first_step_peak_bytes"])
    return [
        *states_line(report),
        f"steady state, the second step; the first, which makes the optimizer's state, peaks at {first}",
        f"assumed: {report.trace.assumptions['outputs']}",
    ]


def _recurring(report: Report) -> list[str]:
    """What a column means."""
    if report.trace.steps:
        return ["kept for backward: what autograd holds at the end of forward, at the layer that made it"]
    return ["new tensors: what a layer's ops allocate in all, most of it freed before the end"]


PROMISE = Promise(
    "memory",
    ("peak_bytes", *(f"{part}_bytes" for part in PARTS), "output_bytes", "saved_total_bytes"),
    (*LAYER, *FIGURES),
    (*MODEL, "peak", "holders", "holders_by_module", "timeline"),
    {"fit": fit.SCHEMA, "changes": changes.SCHEMA},
    (STORED,),
)
"""The keys that its JSON always has."""
