"""Parts of an answer around its tables: the line about the model, what its figures lack, the envelope of the JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.analyses.report import Report
from archcalc.analyses.shapes import Walk
from archcalc.analyses.weights import types_in_words
from archcalc.render.document import Document, Table, field_text
from archcalc.render.layers import Selection
from archcalc.text import units
from archcalc.text.spelling import setting
from archcalc.tracing import DEFINITION, Trace

COMPLETE = "complete"
"""How the footnote begins that says that every op was counted."""
GIVEN = ("option", "argument")
"""Origins of an input that the user gave; other origins name what declared it."""


def document(
    command: str,
    report: Report,
    tables: Sequence[Table],
    foot: Sequence[str],
    totals: Mapping[str, Any],
    verdict: str = "",
    recurring: Sequence[str] = (),
) -> Document:
    """An answer on one report: the verdict, its head line, tables and footnotes, and the envelope with its totals."""
    lines = [*([verdict] if verdict else []), *head(report)]
    return Document(command, lines, tables, foot, envelope(report, totals), recurring=recurring)


def head(report: Report) -> list[str]:
    """The line that says what was measured, and the notes of the report."""
    trace = report.trace
    inputs = ", ".join(_input_text(trace, index) for index in range(len(trace.inputs)))
    about = f"{trace.model.name} · {source(trace)}"
    about += "".join(f" · {knob}={setting(value)}" for knob, value in trace.model.settings.items())
    about += f" · LoRA {trace.assumptions['lora']}" if trace.assumptions.get("lora") else ""
    if trace.assumptions["mode"] == DEFINITION:
        return [f"{about} · from the definition: no input, no run", *report.notes]
    types = types_in_words(trace)
    own = f" · {types} weights" if types != trace.assumptions["dtype"] else ""
    own += f" · with data (seed {trace.assumptions['seed']})" if trace.assumptions.get("data") else ""
    line = f"{about} · input {inputs or 'none'} · {trace.assumptions['mode']}{own}"
    return [line, *_field_line(report), *report.notes]


def source(trace: Trace) -> str:
    """Where the model comes from, in words: 'built-in', 'python', 'timm'."""
    return {"builtin": "built-in"}.get(trace.model.source, trace.model.source)


def _input_text(trace: Trace, index: int) -> str:
    given = trace.inputs[index]
    name = f"{given.name}=" if len(trace.inputs) > 1 else ""
    origin = "given" if given.origin in GIVEN else given.origin
    return f"{name}{units.shape(given.shape)} {given.dtype} ({origin})"


def _field_line(report: Report) -> list[str]:
    if not report.totals.get("receptive_field") or "macs" in report.totals:
        return []
    where = report.record(Walk).field_at
    field = field_text(report.totals["receptive_field"])
    stride = field_text(report.totals["total_stride"])
    seen = "the whole input" if field == "all" else f"{field} px"
    return [f"total stride {stride} · receptive field {seen} at {where or 'the model itself'}"]


def envelope(report: Report, totals: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a JSON answer on one model, without its rows."""
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
            {"name": given.name, "dtype": given.dtype, "shape": list(given.shape), "from": given.origin}
            for given in trace.inputs
        ],
        "assumptions": {**trace.assumptions, "weights": types_in_words(trace)},
        "totals": dict(totals),
        "notes": list(report.notes),
    }


def macs_and_flops(report: Report) -> str:
    """Both totals with every digit, ≥ where they are lower bounds."""
    sign = "≥ " if report.totals["uncounted"] else ""
    return f"{sign}{units.exact(report.macs)} MACs · {sign}{units.exact(report.flops)} FLOPs"


def whole(selection: Selection) -> str:
    """How a verdict begins that is of the whole network, where the table shows some of its layers."""
    return "the whole network: " if selection.layer else ""


def figures_in_short(report: Report) -> str:
    """Parameters with every digit, and MACs with a prefix, ≥ where they are a lower bound."""
    sign = "≥ " if report.totals["uncounted"] else ""
    return f"{units.exact(report.params)} parameters · {sign}{units.si(report.macs)} MACs"


def at_least(report: Report) -> frozenset[str]:
    """The keys of the figures that are lower bounds."""
    return frozenset(("macs", "flops", "elementwise_flops") if report.totals["uncounted"] else ())


def completeness(report: Report) -> list[str]:
    """What the figures lack: ops without a rule, or modules that did not run; nothing if they lack nothing."""
    return [line for line in _counted(report) if not line.startswith(COMPLETE)]


def complete(report: Report) -> list[str]:
    """The number of op calls in each class, where every op has a rule and all ran."""
    return [line for line in _counted(report) if line.startswith(COMPLETE)]


def _counted(report: Report) -> list[str]:
    calls, names = report.totals["calls"], report.totals["uncounted"]
    known = (
        f"{units.plural(calls['contraction'], 'contraction')} counted, "
        f"{calls['elementwise']:,} elementwise estimated, {units.plural(calls['movement'], 'movement')} free"
    )
    idle = report.trace.assumptions.get("did_not_run")
    if not names and isinstance(idle, tuple | list):
        return [f"of what ran: {known}; every op has a rule; {', '.join(map(str, idle))} did not run"]
    if not names:
        return [f"{COMPLETE}: {known}; every op has a rule"]
    return [f"≥: lower bounds: {known}, {calls['unknown']:,} without a rule: {', '.join(names)}"]
