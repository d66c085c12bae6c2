"""The answer of `show`: one page on a network of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.analyses.counting_words import OURS
from archcalc.analyses.report import Report
from archcalc.render.around import envelope, figures_in_short, head
from archcalc.render.document import EXACT, NAME, NUMBER, TEXT, Column, Document, Drawing, Prose, Table
from archcalc.render.promise import MODEL, Promise
from archcalc.render.typed import as_typed
from archcalc.studies.published import About
from archcalc.text.spelling import setting


def show(report: Report, about: About) -> Document:
    """One page: what it is, its paper, its figures, the published ones beside them, its knobs."""
    totals = report.totals
    typed = as_typed(report.trace)
    lines = [figures_in_short(report), *head(report), "", Prose(f"{about.title}: {about.idea}")]
    lines += [Prose(about.about)] if about.about else []
    lines += ["", *map(Drawing, about.diagram.strip("\n").splitlines()), "", Prose(about.paper)]
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
        *_reasons(about.published),
        f"next: archcalc summary {typed} · archcalc explain {typed} · archcalc shapes {typed} --only-changes",
    ]
    tables = [figures, knobs, published]
    shown = {key: totals[key] for key in ("params", "macs", "flops", "output_shape")}
    recurring = [f"convention: {OURS}"]
    recurring += ["difference: = where our figure rounds to the printed one"] if about.published else []
    around = {**envelope(report, shown), "about": _about_envelope(about)}
    return Document("show", lines, tables, foot, around, recurring=recurring)


def _reasons(published: Sequence[Mapping[str, Any]]) -> list[str]:
    """One line for each reason why published figures differ."""
    by_note: dict[str, list[str]] = {}
    for row in published:
        if row["note"]:
            by_note.setdefault(row["note"], []).append(row["printed"])
    return [f"{' and '.join(printed)}: {note}" for note, printed in by_note.items()]


def _about_envelope(about: About) -> dict[str, Any]:
    return {
        "title": about.title,
        "idea": about.idea,
        "about": about.about,
        "paper": about.paper,
        "diagram": about.diagram,
    }


PROMISE = Promise("show", ("params", "macs", "flops", "output_shape"), (), (*MODEL, "about"))
"""The keys that its JSON always has."""
