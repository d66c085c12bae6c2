"""The commands. Each one parses, calls engine, analyses and tables, and prints."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from archcalc import engine
from archcalc.analyses import analyze
from archcalc.analyses.conventions import CONVENTIONS
from archcalc.analyses.report import Report
from archcalc.cli.complete import complete_model
from archcalc.cli.options import (
    BUILDING,
    CHOOSING,
    COMPLETE,
    FROZEN,
    KERNELS,
    PRINTING,
    STEP,
    TRAINING,
    Options,
    shared,
)
from archcalc.cli.output import choose_format, emit, progress
from archcalc.errors import Incomplete, WrongUse
from archcalc.networks import catalogue
from archcalc.tables import FOR_MACHINES, bills, pages, views
from archcalc.tables.layers import Selection, matching_layers
from archcalc.tables.table import Document
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
COUNTING = f"How MACs are counted: {', '.join(CONVENTIONS)}."
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


@app.command(name="list", epilog="Example: archcalc list 'resnet*'")
@shared(PRINTING)
def list_(
    glob: Annotated[str, typer.Argument(metavar="[GLOB]", help="Only names or families that match.")] = "*",
    *,
    options: Options,
) -> None:
    """The catalogue: families, networks, parameters and MACs. Needs no torch.

    \b
    Examples:
      archcalc list
      archcalc list 'densenet*'
    """
    found = catalogue.matching(glob)
    if not found:
        catalogue.resolve(glob)
    _emit([pages.catalogue([(f.name, f.title, _member_rows(f)) for f in found])], options)


@app.command()
@shared(BUILDING, PRINTING)
def show(model: Models, *, options: Options) -> None:
    """One page on a network of the catalogue: idea, paper, figures, published ones beside them, knobs.

    \b
    Examples:
      archcalc show densenet-121
      archcalc show resnet-50-v1
    """
    from archcalc.cli.about import about

    documents = []
    for reference in model:
        if not isinstance(engine.parse(reference), engine.BuiltIn):
            hint = f"type  archcalc summary {reference}"
            raise WrongUse(f"{reference} is not of the catalogue, and show has a page for its networks only.", hint)
        report = analyze(engine.trace(reference, options.setup), ("params", "flops"))
        documents.append(pages.show(report, about(report, options.setup)))
    _emit(documents, options)


@app.command()
@shared(BUILDING, COMPLETE, CHOOSING, PRINTING)
def summary(model: Models, *, options: Options) -> None:
    """Layer table: output, parameters, MACs, memory.

    \b
    Examples:
      archcalc summary resnet-18
      archcalc summary resnet-18 --depth 2
      archcalc summary mynet.py:Net -i 1x3x224x224
    """
    _answer(model, options, views.summary, ("params", "flops", "memory"))


@app.command()
@shared(BUILDING, CHOOSING, PRINTING)
def params(model: Models, *, options: Options) -> None:
    """Parameters by layer: unique ones, tied ones once; trainable, frozen and buffers apart.

    \b
    Examples:
      archcalc params densenet
      archcalc params densenet-bc-cifar --set depth=250 --set growth_rate=24
      archcalc params resnet-50 --top 5 --json
    """
    _answer(model, options, views.params, ("params",), figure="params")


@app.command()
@shared(BUILDING, FROZEN, COMPLETE, CHOOSING, PRINTING)
def flops(
    model: Models,
    convention: Annotated[str, typer.Option("--convention", metavar="NAME", help=COUNTING)] = "archcalc",
    backward: Annotated[bool, typer.Option("--backward", help="Also the MACs of the backward pass.")] = False,
    *,
    options: Options,
) -> None:
    """Multiply-accumulates (MACs) and FLOPs = 2 x MACs by layer; elementwise work in a column of its own.

    \b
    Examples:
      archcalc flops shufflenet-v2
      archcalc flops resnet-50 --size 320 --depth 2
      archcalc flops resnet-18 --layer 'layer4*'
      archcalc flops gpt2 --convention half-causal
      archcalc flops resnet-18 --backward --frozen 'layer[12]'
    """
    if backward:
        options = replace(options, train=True)
    analyses = ("flops", "backward") if backward else ("flops",)
    figure = "macs" if convention == "archcalc" else ""
    _answer(model, options, views.flops, analyses, figure=figure, convention=convention)


@app.command()
@shared(BUILDING, TRAINING, KERNELS, CHOOSING, PRINTING)
def memory(
    model: Models,
    fit: Annotated[str, typer.Option("--fit", metavar="SIZE", help="The largest batch within 24GiB, say.")] = "",
    per_sample: Annotated[bool, typer.Option("--per-sample", help="Also what each further sample costs.")] = False,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Live bytes over the run (csv: instead of layers).")
    ] = False,
    *,
    options: Options,
) -> None:
    """Memory of a forward pass, or of a training step: the bill at the peak of live bytes, and who holds them.

    \b
    Examples:
      archcalc memory resnet-50 --batch 32
      archcalc memory resnet-50 --batch 32 --train --optimizer adam
      archcalc memory resnet-50 --train --fit 24GiB
      archcalc memory gpt2 --train --device cuda --amp bf16 --timeline
      archcalc memory vgg-16 --train --frozen features --loss cross-entropy
      archcalc memory densenet --dtype bfloat16
    """
    from archcalc.cli.memory import fitted, further, parse_budget

    in_csv = timeline and _format(options) == "csv"

    def view(report: Report, selection: Selection, published: Sequence[str], **found: Any) -> Document:
        sample = further(report, options.setup) if per_sample else None
        document = bills.memory(report, selection, published, bills.Asked(timeline, sample, **found))
        return replace(document, records=document.envelope["timeline"]) if in_csv else document

    if not fit:
        _answer(model, options, view, ("params", "memory"))
        return
    budget, selection = parse_budget(fit), options.selection(_format(options) in FOR_MACHINES)
    answers = [fitted(reference, options.setup, budget) for reference in model]
    _emit([view(report, selection, (), fit=found, changes=changes) for report, found, changes in answers], options)
    if not all(found.batch for _, found, _ in answers):
        raise typer.Exit(1)


@app.command()
@shared(BUILDING, CHOOSING, PRINTING)
def shapes(
    model: Models,
    only_changes: Annotated[bool, typer.Option("--only-changes", help="Only steps that change the shape.")] = False,
    *,
    options: Options,
) -> None:
    """The shape at every step, the rule that made it, stride and receptive field.

    \b
    Examples:
      archcalc shapes resnet-18 --only-changes
      archcalc shapes shufflenet-v2 --layer stage2.0
    """

    def view(report: Report, selection: Selection, published: Sequence[str]) -> Document:
        chosen = Selection(options.depth, options.layer, options.top, options.sort)
        return views.shapes(report, chosen, only_changes)

    _answer(model, options, view, ("shapes",))


@app.command()
@shared(BUILDING, PRINTING)
def explain(
    model: Annotated[str, typer.Argument(metavar="MODEL|KIND", help="A model reference, or a kind such as conv2d.")],
    layer: Annotated[str, typer.Argument(metavar="[LAYER]", help="Path of a layer, or a pattern.")] = "",
    *,
    options: Options,
) -> None:
    """The formulas of a layer's output, parameters and MACs: in letters, then with its numbers.

    \b
    Examples:
      archcalc explain resnet-18 layer2.0.conv1
      archcalc explain se-block --set channels=512
      archcalc explain conv2d
    """
    from archcalc.analyses.explain import kind_named
    from archcalc.tables.explanations import explanation, kind_page

    kind = kind_named(model)
    if kind is not None and not layer and catalogue.normal(model) not in map(catalogue.normal, catalogue.names()):
        _emit([kind_page(kind)], options)
        return
    report = analyze(engine.trace(model, options.setup), ("params", "flops"))
    _emit([explanation(report, one) for one in matching_layers(report, layer)], options)


@app.command()
@shared(BUILDING, TRAINING, COMPLETE, PRINTING)
def compare(model: Models, *, options: Options) -> None:
    """Several networks side by side.

    \b
    Examples:
      archcalc compare resnet-50 densenet-121 shufflenet-v2
      archcalc compare resnet-18 resnet-34 --batch 8 -f md
      archcalc compare resnet-50 densenet-121 --batch 16 --train --optimizer momentum
    """
    names = ("params", "flops", "memory")
    reports = [analyze(engine.trace(reference, options.setup), names) for reference in model]
    _demand_complete(reports, options)
    _emit([pages.compare(reports)], options)


@app.command()
@shared(BUILDING, STEP, KERNELS, PRINTING)
def law(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="A model reference.", autocompletion=complete_model)
    ] = "",
    over: Annotated[str, typer.Option("--over", metavar="KNOB[,KNOB]", help="What grows; KNOB=KNOB ties two.")] = "",
    figure: Annotated[
        list[str] | None, typer.Option("--figure", metavar="NAME", help="Only this figure; repeatable.")
    ] = None,
    measure: Annotated[
        str, typer.Option("--measure", metavar="A:B:STEP", help="Values beside the law, from A to B.")
    ] = "",
    latex: Annotated[bool, typer.Option("--latex", help="Formulas in LaTeX.")] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the first figure; -o law.svg or .png writes it.")] = False,
    table: Annotated[str, typer.Option("--table", metavar="NAME", help="A classic comparison: self-attention.")] = "",
    *,
    options: Options,
) -> None:
    """Figures as exact formulas in the knobs, with their big O; each is checked on members apart before it is printed.

    \b
    Examples:
      archcalc law multi-head-attention --over seq_len,d_model
      archcalc law densenet-bc-cifar --over depth --figure saved_total_bytes
      archcalc law gpt2 --over seq_len --figure macs --measure 1024:8192:1024
      archcalc law dense-block --set bottleneck=false --over layers,growth_rate=in_channels --figure weights
      archcalc law --table self-attention
    """
    from archcalc.cli.law import Asked, answer
    from archcalc.cli.layer_comparison import layer_comparison

    if table:
        _emit([layer_comparison(table, model, options)], options)
        return
    asked = Asked(model, over, tuple(figure or ()), measure, latex, plot)
    document, complete = answer(asked, options)
    _emit([document], options)
    if not complete:
        raise typer.Exit(3)


@app.command()
@shared(BUILDING, STEP, KERNELS, PRINTING)
def sweep(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model reference.", autocompletion=complete_model)],
    figure: Annotated[
        list[str] | None, typer.Option("--figure", metavar="NAME", help="params, macs, peak_bytes, ...; repeatable.")
    ] = None,
    where: Annotated[str, typer.Option("--where", metavar="CONDITION", help="Show these: 'macs < 1e9'.")] = "",
    sort: Annotated[str, typer.Option("--sort", metavar="KEY", help="Order by a knob or a figure.")] = "",
    pareto: Annotated[
        str, typer.Option("--pareto", metavar="A,B", help="Mark the front of two figures: macs,params:max.")
    ] = "",
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, metavar="N", help="Processes; all cores by default.")
    ] = None,
    executor: Annotated[str, typer.Option("--executor", metavar="dask://HOST:PORT", help="A cluster of dask's.")] = "",
    *,
    options: Options,
) -> None:
    """A grid of members: --set KNOB=A:B:STEP is a range, --set KNOB=A,B are alternatives. -o FILE keeps every member.

    \b
    Examples:
      archcalc sweep densenet-bc-cifar --set depth=40:250:30 --set growth_rate=12,24 --sort params
      archcalc sweep wrn --set depth=16:40:6 --set widen_factor=1,2,4 --where 'macs < 1e9' --pareto macs,params:max
      archcalc sweep resnet-50 --set batch=1:64:9 --figure peak_bytes -o resnet.csv
    """
    from archcalc.cli.sweep_answer import SweepAsked, answer

    _emit(
        [answer(SweepAsked(model, tuple(figure or ()), where, sort, pareto, jobs, executor), options)],
        replace(options, output=""),
    )


@app.command()
@shared(BUILDING, PRINTING)
def verify(
    model: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL...]", help="Model references; none: the catalogue.", autocompletion=complete_model
        ),
    ] = None,
    *,
    options: Options,
) -> None:
    """Our figures beside published ones, other implementations and other counters; exit 1 for what nobody explains.

    \b
    Examples:
      archcalc verify resnet-50
      archcalc verify timm:vit_base_patch16_224
      archcalc verify
    """
    from archcalc.cli.verify import verified
    from archcalc.tables.verification import catalogue_verification, verification

    if model:
        found = [verified(reference, options.setup) for reference in model]
        documents = [verification(report, checks) for report, checks in found]
    else:
        found = [verified(name, options.setup) for name in progress(list(catalogue.entries()), options.quiet)]
        documents = [catalogue_verification(found)]
    _emit(documents, options)
    if any(check.verdict == "unexplained" for _, checks in found for check in checks):
        raise typer.Exit(1)


def _answer(
    references: Sequence[str],
    options: Options,
    view: View,
    analyses: Sequence[str],
    *,
    figure: str = "",
    convention: str = "archcalc",
) -> None:
    """Trace, analyse and show each reference; nothing is printed before all of them are done."""
    selection = options.selection(_format(options) in FOR_MACHINES)
    documents = []
    for reference in references:
        start = time.perf_counter()
        trace = engine.trace(reference, options.setup)
        traced = time.perf_counter()
        report = analyze(trace, analyses, convention)
        _demand_complete([report], options)
        stored = isinstance(engine.parse(reference), engine.StoredTrace)  # its figures do not need torch
        published = _published(report, figure) if figure and not stored else []
        documents.append(view(report, selection, published))
        if options.verbose:
            spent = time.perf_counter() - traced
            calls = f"{len(trace.calls):,} op calls"
            print(f"{reference}: traced {calls} in {traced - start:.2f} s, analysed in {spent:.2f} s", file=sys.stderr)
    _emit(documents, options)


def _demand_complete(reports: Sequence[Report], options: Options) -> None:
    """Under --strict an op without a rule is an error."""
    for report in reports:
        if options.strict and report.totals.get("uncounted"):
            raise Incomplete(report.trace.model.reference, report.notes)


def _published(report: Report, figure: str) -> list[str]:
    from archcalc.cli.about import published_lines

    return published_lines(report, figure)


def _format(options: Options) -> str:
    return choose_format(options.format_, options.output, options.json_)


def _emit(documents: Sequence[Document], options: Options) -> None:
    emit(documents, format_=options.format_, file=options.output, as_json=options.json_, quiet=options.quiet)


def _member_rows(family: catalogue.FamilyEntry) -> list[dict[str, object]]:
    return [
        {
            "family": family.name,
            "name": member.name,
            "default": member.name == family.default,
            "aliases": [*member.aliases, *((family.name, *family.aliases) if member.name == family.default else ())],
            "year": member.year,
            "input": member.input,
            "params": member.params,
            "macs": member.macs,
            "knobs": dict(member.knobs),
        }
        for member in family.members
    ]
