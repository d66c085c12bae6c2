"""The way from references to printed documents that commands share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from archcalc.cli.options import Options
from archcalc.cli.output import choose_format, emit, tell, watching
from archcalc.cli.pictures import picture_format
from archcalc.errors import ArchcalcError, Incomplete, NotATrace, one_line
from archcalc.render.formats import FOR_MACHINES

if TYPE_CHECKING:
    from archcalc.analyses import Analysis, Report
    from archcalc.engine import Setup
    from archcalc.render.document import Document
    from archcalc.render.layers import Selection
    from archcalc.tracing import Trace

    View = Callable[[Report, Selection, Sequence[str]], Document]


def answer(
    references: Sequence[str],
    options: Options,
    view: View,
    analyses: Sequence[Analysis],
    *,
    figure: str = "",
    drawn: Callable[[Report, str], bytes] | None = None,
    trace: Callable[[str, Setup], Trace] | None = None,
) -> None:
    """Trace, analyse and show each reference; nothing is printed before all of them are done.

    `drawn` makes the picture of a report for files that are pictures, in one of their formats.
    """
    from archcalc import engine
    from archcalc.analyses import analyze

    picture = picture_format(options, references)
    selection = options.selection(format_of(options) in FOR_MACHINES)
    engine.demand_known(*references)
    documents = []
    for reference in references:
        start = time.perf_counter()
        with watching("ops computed on values", options.quiet or not options.setup.data) as observer:
            run = (trace or partial(engine.trace, watch=observer.advance))(reference, options.setup)
        traced = time.perf_counter()
        stored = isinstance(engine.parse(reference), engine.StoredTrace)
        with _damage_told(reference) if stored else nullcontext():
            report = analyze(run, analyses)
            demand_complete([report], options)
            own = not stored and not options.setup.lora  # no torch for a file; papers count no adapters
            published = _published(report, figure) if figure and own else []
            document = view(report, selection, published)
            documents.append(replace(document, picture=drawn(report, picture)) if drawn and picture else document)
        if options.verbose:
            spent = time.perf_counter() - traced
            calls = f"{len(run.calls):,} op calls"
            how = "read from the cache" if engine.last_hit() else "traced"
            why = f"; not kept: {reason}" if (reason := engine.why_not_kept()) else ""
            tell(f"{reference}: {how} {calls} in {traced - start:.2f} s, analysed in {spent:.2f} s{why}")
    emit_documents(documents, options)


@contextmanager
def _damage_told(path: str) -> Iterator[None]:
    """In this block a stored trace is analysed: what goes wrong there is the file's, such as a product of nothing."""
    try:
        yield
    except ArchcalcError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise NotATrace(path, f"it is damaged ({one_line(error)})") from error


def demand_complete(reports: Sequence[Report], options: Options) -> None:
    """Under --strict an op without a rule is an error."""
    for report in reports:
        if options.strict and report.totals.get("uncounted"):
            raise Incomplete(report.trace.model.reference, report.notes)


def _published(report: Report, figure: str) -> list[str]:
    from archcalc.studies.published import published_lines

    return published_lines(report, figure)


def format_of(options: Options, more: Iterable[str] = ()) -> str:
    """The format that the answer will have; `more` are a command's own, beside those of all."""
    return choose_format(options.format_, options.output, options.json_, more)


def emit_documents(documents: Sequence[Document], options: Options) -> None:
    """Print the documents as the options say."""
    emit(
        documents,
        format_=options.format_,
        file=options.output,
        as_json=options.json_,
        quiet=options.quiet,
        verbose=options.verbose,
    )
