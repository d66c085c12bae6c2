"""The answer of `show`: one page on a network of the catalogue."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.analyses.counting_words import OURS
from archcalc.analyses.report import Report
from archcalc.render.around import as_typed, envelope, head
from archcalc.render.document import EXACT, NAME, NUMBER, TEXT, Column, Document, Table
from archcalc.render.promise import MODEL, Promise
from archcalc.studies.published import About
from archcalc.text.spelling import setting


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


def _wrapped(text: str, width: int = 100) -> list[str]:
    """Prose in lines of at most `width` characters."""
    return textwrap.wrap(text, width)


PROMISE = Promise("show", ("params", "macs", "flops", "output_shape"), (), (*MODEL, "about"))
"""The keys that its JSON always has."""
