"""Commands that ask about models as they are. Each one parses, calls engine, analyses and tables, and prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from archcalc import engine
from archcalc.analyses import analyze
from archcalc.analyses.conventions import CONVENTIONS
from archcalc.analyses.report import Report
from archcalc.cli.base import Models, answer, app, demand_complete, emit_documents, format_of
from archcalc.cli.completion import complete_model
from archcalc.cli.options import (
    BUILDING,
    CHOOSING,
    COMPLETE,
    FROZEN,
    KERNELS,
    PRINTING,
    TRAINING,
    Options,
    shared,
)
from archcalc.cli.output import progress
from archcalc.errors import WrongUse
from archcalc.networks import catalogue
from archcalc.render.document import Document
from archcalc.render.formats import FOR_MACHINES
from archcalc.render.layers import Selection, matching_layers
from archcalc.render.pages import memory as bills
from archcalc.render.pages import pages, views

COUNTING = f"How MACs are counted: {', '.join(CONVENTIONS)}."


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
    emit_documents([pages.catalogue([(f.name, f.title, _member_rows(f)) for f in found])], options)


@app.command()
@shared(BUILDING, PRINTING)
def show(model: Models, *, options: Options) -> None:
    """One page on a network of the catalogue: idea, paper, figures, published ones beside them, knobs.

    \b
    Examples:
      archcalc show densenet-121
      archcalc show resnet-50-v1
    """
    from archcalc.studies.published import about

    documents = []
    for reference in model:
        if not isinstance(engine.parse(reference), engine.BuiltIn):
            hint = f"type  archcalc summary {reference}"
            raise WrongUse(f"{reference} is not of the catalogue, and show has a page for its networks only.", hint)
        report = analyze(engine.trace(reference, options.setup), ("params", "flops"))
        documents.append(pages.show(report, about(report, options.setup)))
    emit_documents(documents, options)


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
    answer(model, options, views.summary, ("params", "flops", "memory"))


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
    answer(model, options, views.params, ("params",), figure="params")


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
    answer(model, options, views.flops, analyses, figure=figure, convention=convention)


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
    from archcalc.studies.largest_batch import fitted, further, parse_budget

    typed = iter(model)
    in_csv = timeline and format_of(options) == "csv"

    def view(report: Report, selection: Selection, published: Sequence[str], **found: Any) -> Document:
        setup = replace(options.setup, batch=None) if fit else options.setup
        sample = further(next(typed), report, setup) if per_sample else None
        document = bills.memory(report, selection, published, bills.Asked(timeline, sample, **found))
        return replace(document, records=document.envelope["timeline"]) if in_csv else document

    if not fit:
        answer(model, options, view, ("params", "memory"))
        return
    budget, selection = parse_budget(fit), options.selection(format_of(options) in FOR_MACHINES)
    answers = [fitted(reference, options.setup, budget) for reference in model]
    emit_documents(
        [view(report, selection, (), fit=found, changes=changes) for report, found, changes in answers], options
    )
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

    answer(model, options, view, ("shapes",))


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
    from archcalc.analyses.explain.lines import kind_named
    from archcalc.render.pages.explain import explanation, kind_page

    kind = kind_named(model)
    if kind is not None and not layer and catalogue.normal(model) not in map(catalogue.normal, catalogue.names()):
        emit_documents([kind_page(kind)], options)
        return
    report = analyze(engine.trace(model, options.setup), ("params", "flops"))
    emit_documents([explanation(report, one) for one in matching_layers(report, layer)], options)


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
    demand_complete(reports, options)
    emit_documents([pages.compare(reports)], options)


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
    from archcalc.render.pages.verify import catalogue_verification, verification
    from archcalc.studies.verify.verify import verified

    if model:
        found = [verified(reference, options.setup) for reference in model]
        documents = [verification(report, checks) for report, checks in found]
    else:
        found = [verified(name, options.setup) for name in progress(list(catalogue.entries()), options.quiet)]
        documents = [catalogue_verification(found)]
    emit_documents(documents, options)
    if any(check.verdict == "unexplained" for _, checks in found for check in checks):
        raise typer.Exit(1)


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
