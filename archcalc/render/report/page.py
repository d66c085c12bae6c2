"""One HTML file with its style, script and data inside: it opens from a disk and asks the network for nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from archcalc.analyses.counting_words import OURS
from archcalc.analyses.report import Report
from archcalc.errors import MissingExtra, one_line
from archcalc.render.around import completeness, envelope, head
from archcalc.render.document import Document
from archcalc.render.formats.as_html import as_html
from archcalc.render.layers import Selection
from archcalc.render.pages import diff, memory, speed, summary
from archcalc.render.report.payload import payload
from archcalc.studies.full_report import FullReport
from archcalc.studies.speed.speed import OnDevice
from archcalc.text import units
from archcalc.text.visible import visible
from archcalc.version import __version__

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("base.js", "treemap.js", "timeline.js", "roofline.js", "layers.js", "start.js")
"""The parts of the script, in their order."""


def page(full: FullReport) -> str:
    """The report as one HTML document; MissingExtra without jinja2."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtra("jinja2", "a report page", one_line(error)) from None
    room = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    devices = full.on or (None,) * len(full.reports)
    names = [visible(report.trace.model.name) for report in full.reports]
    return room.get_template("page.html").render(
        title=" → ".join(names),
        names=names,
        models=[_model(*parts) for parts in zip(full.reports, full.published, devices, strict=True)],
        changes=as_html([diff.diff(full.comparison)]) if full.comparison else "",
        command=visible(full.command),
        version=__version__,
        style=(ASSETS / "page.css").read_text(encoding="utf-8"),
        script="\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS),
        data=embedded([payload(report, on) for report, on in zip(full.reports, devices, strict=True)]),
    )


def embedded(value: Any) -> str:
    r"""JSON that stands in a script element: no character of it can end the element or begin a comment.

    >>> embedded({"a": "</script><!--"})
    '{"a":"\\u003c/script\\u003e\\u003c!--"}'
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)  # ASCII: line separators are escapes, too
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _model(report: Report, published: tuple[str, ...], on: OnDevice | None) -> dict[str, Any]:
    """What the page says of one model in words, apart from its figures by layer."""
    bill = memory.memory(report, Selection(depth=0))  # its table of layers, and what is said of it, are not shown
    return {
        "verdict": visible(_verdict(report)),
        "speed": visible(speed.verdict(on, bool(report.trace.steps))) if on else "",
        "left_out": [speed.UNFUSED, speed.left_out([on])] if on else [],
        "about": [visible(line) for line in head(report)],
        "cards": [(words, visible(text), exact) for words, text, exact in _cards(report)],
        "bill": as_html([replace(bill, head=(), tables=bill.tables[:-1], foot=bill.foot[:-1])]),
        "layers": as_html([_layers(report)]),
        "published": [visible(line.removeprefix("published: ")) for line in published],
        "assumptions": [(visible(key), visible(_said(value))) for key, value in _assumptions(report).items()],
        "completeness": [visible(line) for line in (f"convention: {OURS}", *completeness(report))],
    }


def _layers(report: Report) -> Document:
    """The layer table for readers without scripts."""
    whole = summary.summary(report, Selection())
    return replace(whole, head=(), foot=())


def _verdict(report: Report) -> str:
    """One line that answers: parameters, multiply-adds, and the peak."""
    mark = "≥ " if report.totals["uncounted"] else ""
    run = "a training step" if report.trace.steps else "a forward pass"
    return (
        f"{units.exact(report.params)} parameters · {mark}{units.si(report.macs)} MACs · "
        f"peak of {run} {units.size(report.peak_bytes)}"
    )


def _cards(report: Report) -> list[tuple[str, str, str]]:
    """The totals: words, the rounded figure, and every digit of it."""
    totals, mark = report.totals, "≥ " if report.totals["uncounted"] else ""
    moved = "≥ " if totals["traffic_unknown"] else ""
    run = "training step" if report.trace.steps else "forward pass"
    counted = (
        ("parameters", "", totals["params"], units.si, "parameters"),
        ("MACs", mark, totals["macs"], units.si, "multiply-accumulates of a forward pass"),
        ("elementwise operations", mark, totals["elementwise_flops"], units.si, "operations of a forward pass"),
        (f"read and written in a {run}", moved, totals["traffic_bytes"], units.size, "bytes"),
        (f"peak of a {run}", "", totals["peak_bytes"], units.size, "bytes"),
    )
    return [(words, f"{sign}{text(value)}", f"{value:,} {unit}") for words, sign, value, text, unit in counted]


def _assumptions(report: Report) -> dict[str, Any]:
    """The settings that the figures depend on; those that are not set are left out."""
    assumed = envelope(report, {})["assumptions"]
    knobs = {f"knob {knob}": value for knob, value in report.trace.model.config.items()}
    versions = {f"version of {name}": value for name, value in report.trace.versions.items()}
    return {key: value for key, value in {**assumed, **knobs, **versions}.items() if value not in (None, "", (), [])}


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
