"""Documents that are not one report's layers: the catalogue, the page of one network, the comparison of several."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from archcalc.analyses.conventions import OURS
from archcalc.analyses.report import Report
from archcalc.render.document import BYTES, EXACT, GROUP, NAME, NUMBER, SI, TEXT, Column, Document, Table
from archcalc.render.pages.views import as_typed, envelope, head, setting
from archcalc.text import units


@dataclass(frozen=True)
class About:
    """What a definition says of itself, and its published figures beside ours, as rows."""

    title: str
    idea: str
    about: str
    paper: str
    knobs: Mapping[str, Any]
    published: Sequence[Mapping[str, Any]]
    diagram: str = ""


def show(report: Report, about: About) -> Document:
    """One page: what it is, its paper, its figures, the published ones beside them, its knobs."""
    totals = report.totals
    typed = as_typed(report.trace)
    lines = [*head(report), "", *_wrapped(f"{about.title}: {about.idea}"), *_wrapped(about.about)]
    lines += ["", *about.diagram.strip("\n").splitlines(), "", about.paper]
    figures = Table(
        [Column("figure", "figure", TEXT), Column("value", "ours", EXACT)],
        [
            {"figure": "parameters", "value": totals["params"]},
            {"figure": "MACs", "value": totals["macs"]},
            {"figure": "FLOPs (2 x MACs)", "value": totals["flops"]},
        ],
    )
    knobs = Table(
        [Column("knob", "knob (--set)", NAME), Column("value", "value", TEXT)],
        [
            {"knob": knob, "value": "not set" if value is None else setting(value)}
            for knob, value in about.knobs.items()
        ],
    )
    published = Table(
        [
            Column("figure", "published", TEXT),
            Column("printed", "printed", NUMBER),
            Column("ours", "ours", EXACT),
            Column("difference", "difference", TEXT),
            Column("where", "where", TEXT),
        ],
        about.published,
    )
    foot = [
        f"convention: {OURS}",
        *(["difference: = where our figure rounds to the printed one"] if about.published else []),
        *_reasons(about.published),
        f"next: archcalc summary {typed} · archcalc explain {typed} · archcalc shapes {typed} --only-changes",
    ]
    tables = [figures, knobs, published]
    shown = {key: totals[key] for key in ("params", "macs", "flops", "output_shape")}
    return Document("show", lines, tables, foot, {**envelope(report, shown), "about": _about_envelope(about)})


def _reasons(published: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is to be said of published figures, one line a reason."""
    by_note: dict[str, list[str]] = {}
    for row in published:
        if row["note"]:
            by_note.setdefault(row["note"], []).append(row["printed"])
    return [f"{' and '.join(printed)}: {note}" for note, printed in by_note.items()]


def published_row(figure: str, printed: str, ours: int, agrees: bool, said: Mapping[str, str]) -> dict[str, Any]:
    """One published figure beside ours; `said` holds where, called and note."""
    called = f" (printed as {said['called']})" if said["called"] else ""
    return {
        "figure": {"params": "parameters", "macs": "MACs"}[figure] + called,
        "printed": printed,
        "ours": ours,
        "difference": "=" if agrees else units.difference(ours, units.parse_count(printed)),
        "where": said["where"],
        "note": said["note"],
    }


def compare(reports: Sequence[Report]) -> Document:
    """Models side by side: one row a model for machines, one column a model for people."""
    rows = [_compared(report) for report in reports]
    training = bool(reports[0].trace.steps)
    columns = [
        Column("model", "figure", NAME),
        Column("params", "parameters", EXACT),
        Column("macs", "MACs", SI),
        Column("flops", "FLOPs (2 x MACs)", SI),
        Column("elementwise_flops", "elementwise operations", SI),
        Column("param_bytes", "bytes of parameters", BYTES),
        *([Column("saved_total_bytes", "kept for backward", BYTES)] if training else []),
        Column("peak_bytes", f"peak of a {'training step' if training else 'forward pass'}", BYTES),
        Column("macs_per_param", "MACs per parameter", EXACT),
        Column("contractions", "convolutions and matmuls", EXACT),
    ]
    smaller = [column.key for column in columns[1:] if column.key not in ("macs_per_param", "contractions")]
    stars = frozenset(star for column in smaller for star in _stars(rows, column))
    lines = [f"input of {report.trace.model.name}: {head(report)[0].split(' · input ')[1]}" for report in reports]
    same = {line.partition(": ")[2] for line in lines}
    title = [f"input {same.pop()} · ★ smallest"] if len(same) == 1 else ["★ smallest", *lines]
    notes = [note for report in reports for note in report.notes]
    foot = [f"convention: {OURS}", *_step(reports[0]), f"next: archcalc summary {as_typed(reports[0].trace)}"]
    around = {
        "models": [envelope(report, {})["model"] for report in reports],
        "inputs": [envelope(report, {})["inputs"] for report in reports],
        "assumptions": dict(reports[0].trace.assumptions),
        "totals": {},
        "notes": notes,
    }
    table = Table(columns, rows, stars=stars, transposed=True)
    return Document("compare", [*title, *notes], [table], foot, around)


def _step(report: Report) -> list[str]:
    """What a training step assumes."""
    said = report.trace.assumptions
    if not report.trace.steps:
        return []
    return [f"training step: {said['dtype']}, {said['optimizer']}, loss {said['loss']}, attention unfused"]


def _stars(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[int, str]]:
    """The smallest of a column; none where all are equal."""
    smallest, largest = min(row[key] for row in rows), max(row[key] for row in rows)
    return [(n, key) for n, row in enumerate(rows) if row[key] == smallest] if smallest < largest else []


def _compared(report: Report) -> dict[str, Any]:
    totals = report.totals
    keys = ("params", "macs", "flops", "elementwise_flops", "param_bytes", "saved_total_bytes", "peak_bytes")
    calls = report.details["contraction_calls"]
    ratio = round(totals["macs"] / totals["params"]) if totals["params"] else None
    figures = {key: totals[key] for key in keys}
    return {"model": report.trace.model.name, **figures, "macs_per_param": ratio, "contractions": calls}


def catalogue(families: Sequence[tuple[str, str, Sequence[Mapping[str, Any]]]]) -> Document:
    """The catalogue by family: (name, title, rows of members)."""
    rows = [row for _, _, members in families for row in members]
    columns = [
        Column("family", "family", GROUP),
        Column("name", "network", NAME),
        Column("year", "year", NUMBER),
        Column("input", "input", TEXT),
        Column("params", "parameters", EXACT),
        Column("macs", "MACs", SI),
    ]
    foot = [
        "* the default of its family: its name alone means this member · case, - and _ do not matter",
        f"figures at batch 1 with the default knobs · {OURS}",
        "next: archcalc show NAME · archcalc params NAME · archcalc flops NAME",
    ]
    count = (
        f"{len(rows)} network{'s' * (len(rows) != 1)} in {len(families)} famil{'y' if len(families) == 1 else 'ies'}"
    )
    totals = {"networks": len(rows), "families": len(families)}
    return Document("list", [count], [Table(columns, rows)], foot, {"totals": totals, "notes": []})


def _about_envelope(about: About) -> dict[str, Any]:
    return {
        "title": about.title,
        "idea": about.idea,
        "about": about.about,
        "paper": about.paper,
        "diagram": about.diagram,
    }


def _wrapped(text: str, width: int = 100) -> list[str]:
    """Prose in lines of at most `width` characters."""
    return textwrap.wrap(text, width)
