"""`archcalc memory`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from archcalc.analyses.report import Report
from archcalc.cli.answer import answer, emit_documents, format_of
from archcalc.cli.app import Models, app
from archcalc.cli.options import BUILDING, CHOOSING, INPUT, KERNELS, PRINTING, STEP, TRAIN, Options, shared
from archcalc.cli.output import watching
from archcalc.engine import Setup
from archcalc.errors import WrongUse
from archcalc.render.document import Document
from archcalc.render.layers import Selection


@app.command()
@shared(BUILDING, INPUT, TRAIN, STEP, KERNELS, CHOOSING, PRINTING)
def memory(
    model: Models,
    fit: Annotated[
        str, typer.Option("--fit", metavar="SIZE|DEVICE", help="The largest batch in 24GiB, or on an rtx4090.")
    ] = "",
    reserve: Annotated[
        str, typer.Option("--reserve", metavar="SIZE|PERCENT", help="Of it, what is set aside (with --fit).")
    ] = "",
    no_changes: Annotated[
        bool, typer.Option("--no-changes", help="Without the table of changes, a trace each.")
    ] = False,
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
      archcalc memory gpt2 --train --fit rtx4090 --batch 8
      archcalc memory gpt2 --train --device cuda --amp bf16 --timeline
      archcalc memory vgg-16 --train --frozen features --loss cross-entropy
      archcalc memory densenet --dtype bfloat16
    """
    from archcalc.render.formats import FOR_MACHINES
    from archcalc.render.pages import memory as page
    from archcalc.studies.budget import parse_budget
    from archcalc.studies.changes import ANALYSES, changes
    from archcalc.studies.largest_batch import largest_batch, one_sample_more

    if reserve and not fit:
        raise WrongUse("--reserve is set aside of the memory that --fit gives.", "add  --fit 24GiB")
    if no_changes and not (options.train or fit):
        raise WrongUse("--no-changes leaves out a table of training steps.", "add  --train, or leave it out")
    format_, typed = format_of(options), iter(model)
    in_csv, with_changes = timeline and format_ == "csv", not no_changes and format_ != "csv"

    def view(reference: str, setup: Setup, report: Report, selection: Selection, **asked: Any) -> Document:
        sample = one_sample_more(reference, report, setup) if per_sample else None
        document = page.memory(report, selection, (), page.Asked(timeline, sample, **asked))
        return replace(document, records=document.envelope["timeline"]) if in_csv else document

    def plain(report: Report, selection: Selection, _: Sequence[str]) -> Document:
        reference, setup, rows = next(typed), options.setup, ()
        if setup.training and with_changes:
            with watching("changes traced", options.quiet) as observer:
                rows = changes(reference, setup, report, observer)
        return view(reference, setup, report, selection, changes=rows)

    if not fit:
        answer(model, options, plain, ANALYSES)
        return
    budget, selection = parse_budget(fit, reserve), options.selection(format_ in FOR_MACHINES)
    documents, fits = [], []
    for reference in model:
        with watching("batches traced", options.quiet) as observer:
            fitted = largest_batch(reference, options.setup, budget, observer)
        with watching("changes traced", options.quiet) as observer:
            rows = fitted.traced_changes(observer) if with_changes else ()
        documents.append(view(reference, fitted.setup, fitted.report, selection, fitted=fitted, changes=rows))
        fits.append(fitted.fits)
    emit_documents(documents, options)
    if not all(fits):
        raise typer.Exit(1)
