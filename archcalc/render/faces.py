"""The page of each kind of result, and the result in a format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from archcalc.analyses.explain.lines import Explanation
from archcalc.analyses.flops import Contractions
from archcalc.analyses.lint.lint import Linted
from archcalc.analyses.memory import LiveBytes
from archcalc.analyses.params import ByType
from archcalc.analyses.report import Report
from archcalc.analyses.shapes import Walk
from archcalc.analyses.traffic import Kernels
from archcalc.errors import MissingExtra, one_line
from archcalc.render.document import Document
from archcalc.render.formats import Screen, render
from archcalc.render.formats.as_html import as_html
from archcalc.render.layers import ALL, Selection
from archcalc.render.pages import (
    check,
    compare,
    diff,
    explain,
    figures,
    flops,
    law,
    lint,
    memory,
    params,
    plan,
    recompute,
    serve,
    shapes,
    speed,
    summary,
    sweep,
    traffic,
    verify,
)
from archcalc.render.report.page import page
from archcalc.studies.compare import SideBySide
from archcalc.studies.full_report import FullReport
from archcalc.studies.guard.check import CheckRun
from archcalc.studies.guard.comparison import NOTHING, Comparison
from archcalc.studies.guard.diff import diff as changes_of
from archcalc.studies.guard.snapshot import Snapshot
from archcalc.studies.largest_batch import Fitted
from archcalc.studies.law.law import Laws
from archcalc.studies.plan.plan import Plan
from archcalc.studies.recompute.recompute import Recomputed
from archcalc.studies.serve.serve import Serving
from archcalc.studies.speed.speed import Speeds
from archcalc.studies.sweep.sweep import Swept
from archcalc.studies.verify.verify import Verification

PARTS: tuple[tuple[frozenset[type], Callable[[Report, Selection], Document]], ...] = (
    (frozenset({ByType, Contractions, LiveBytes}), summary.summary),
    (frozenset({ByType, LiveBytes}), memory.memory),
    (frozenset({Contractions}), flops.flops),
    (frozenset({Kernels}), traffic.traffic),
    (frozenset({ByType}), params.params),
    (frozenset({Walk}), lambda report, _: shapes.shapes(report, Selection(each=True), only_changes=False)),
)
"""The records that a page needs, and the page: the first whose records a report has is the report's."""


def _report(report: Report, selection: Selection) -> Document:
    """The page of what was analysed: of all, of one analysis such as the parameters, else the figures by their keys."""
    found = report.records.keys()
    if report.trace.steps and {ByType, LiveBytes} <= found:
        return memory.memory(report, selection)
    page_of = next((page_of for needed, page_of in PARTS if needed <= found), figures.figures)
    return page_of(report, selection)


def _fitted(fitted: Fitted, selection: Selection) -> Document:
    return memory.memory(fitted.report, selection, (), memory.Asked(fitted=fitted, changes=fitted.changes))


def _recomputed(result: Recomputed, selection: Selection) -> Document:
    return recompute.recompute(result, selection, result.fitted.changes)


def _snapshot(snapshot: Snapshot, _: Selection) -> Document:
    return diff.diff(Comparison(NOTHING, snapshot, changes_of(NOTHING, snapshot)), everything=True)


PAGES: dict[type, Callable[[Any, Selection], Document]] = {
    Report: _report,
    FullReport: lambda full, selection: _report(full.reports[-1], selection),
    Fitted: _fitted,
    Recomputed: _recomputed,
    Snapshot: _snapshot,
    Comparison: lambda comparison, _: diff.diff(comparison),
    SideBySide: lambda compared, _: compare.compare(compared),
    Explanation: lambda explanation, _: explain.explanation(explanation.report, explanation.layer),
    Linted: lambda linted, _: lint.lint(linted),
    Laws: lambda laws, _: law.laws(laws),
    Serving: lambda serving, _: serve.serve(serving),
    Speeds: speed.speed,
    Swept: lambda swept, _: sweep.sweep(swept),
    Plan: lambda planned, _: plan.plan(planned),
    Verification: lambda verification, _: verify.verification(verification),
    CheckRun: lambda run, _: check.checks(run),
}


def shown(result: Any, format_: str) -> Any:
    """A result in a format of the command line, as "html", a "dataframe" of its rows, or a full report's "page"."""
    if format_ == "page":
        return page(result)
    every_layer = format_ in ("json", "dataframe")
    document = PAGES[type(result)](result, Selection(depth=ALL, zeros=True) if every_layer else Selection())
    if format_ == "html":
        return as_html([document])
    if format_ == "dataframe":
        return _data_frame(document)
    return render([document], format_, Screen())


def _data_frame(document: Document) -> Any:
    try:
        import pandas
    except ImportError as error:
        raise MissingExtra("pandas", "to_dataframe()", one_line(error)) from None
    return pandas.DataFrame([dict(row) for row in document.rows])
