"""The application that commands register with, and the way from a reference to a printed document that they share."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated

import typer

from archcalc import engine
from archcalc.analyses import analyze
from archcalc.analyses.report import Report
from archcalc.cli.completion import complete_model
from archcalc.cli.options import Options
from archcalc.cli.output import choose_format, emit
from archcalc.errors import Incomplete
from archcalc.render.document import Document
from archcalc.render.formats import FOR_MACHINES
from archcalc.render.layers import Selection
from archcalc.version import __version__

HELP = """Shapes, parameters, multiply-adds and memory of a neural network, from its definition alone.

\b
Examples:
  archcalc params densenet              parameters by layer
  archcalc flops shufflenet-v2          multiply-adds and FLOPs
  archcalc memory resnet-50 --batch 32  peak of a forward pass
  archcalc shapes resnet-18             every shape and the rule that made it
  archcalc explain resnet-18 conv1      the formulas, in letters and in numbers
  archcalc compare resnet-50 densenet   side by side
  archcalc law densenet-bc-cifar --over depth   exact formulas and big O
  archcalc verify resnet-50             against papers, libraries and other counters
  archcalc list                         the catalogue
  archcalc summary mynet.py:Net -i 1x3x224x224
  archcalc flops timm:vit_base_patch16_224

A MODEL is a NAME of the catalogue, package.module:EXPR, path/to/file.py:EXPR, torchvision:NAME, timm:NAME,
hf:ORG/NAME, hf:path/to/config.json, hf:bert or a stored trace.json; EXPR is a module, a class or a function, called or
not with plain values: mynet:make(width=2).
"""

app = typer.Typer(
    name="archcalc",
    help=HELP,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Models = Annotated[
    list[str],
    typer.Argument(metavar="MODEL...", help="One or several model references.", autocompletion=complete_model),
]
View = Callable[[Report, Selection, Sequence[str]], Document]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"archcalc {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def archcalc(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Print the help when no command is given."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def answer(
    references: Sequence[str],
    options: Options,
    view: View,
    analyses: Sequence[str],
    *,
    figure: str = "",
    convention: str = "archcalc",
) -> None:
    """Trace, analyse and show each reference; nothing is printed before all of them are done."""
    selection = options.selection(format_of(options) in FOR_MACHINES)
    documents = []
    for reference in references:
        start = time.perf_counter()
        trace = engine.trace(reference, options.setup)
        traced = time.perf_counter()
        report = analyze(trace, analyses, convention)
        demand_complete([report], options)
        stored = isinstance(engine.parse(reference), engine.StoredTrace)  # its figures do not need torch
        published = _published(report, figure) if figure and not stored else []
        documents.append(view(report, selection, published))
        if options.verbose:
            spent = time.perf_counter() - traced
            calls = f"{len(trace.calls):,} op calls"
            print(f"{reference}: traced {calls} in {traced - start:.2f} s, analysed in {spent:.2f} s", file=sys.stderr)
    emit_documents(documents, options)


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
    emit(documents, format_=options.format_, file=options.output, as_json=options.json_, quiet=options.quiet)
