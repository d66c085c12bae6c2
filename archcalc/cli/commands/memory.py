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
from archcalc.render.document import Document
from archcalc.render.layers import Selection


@app.command()
@shared(BUILDING, INPUT, TRAIN, STEP, KERNELS, CHOOSING, PRINTING)
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
      archcalc memory gpt2 --train --device cuda --recipe amp-bf16 --timeline
      archcalc memory gpt2 --train --recipe bf16-fp32-master
      archcalc memory vgg-16 --train --frozen features --loss cross-entropy
      archcalc memory densenet --dtype bfloat16
    """
    from archcalc.render.formats import FOR_MACHINES
    from archcalc.render.pages import memory as page
    from archcalc.studies.largest_batch import ANALYSES, largest_batch, one_sample_more, parse_budget

    typed = iter(model)
    in_csv = timeline and format_of(options) == "csv"

    def view(report: Report, selection: Selection, published: Sequence[str], **fitted: Any) -> Document:
        setup = replace(options.setup, batch=None) if fit else options.setup
        sample = one_sample_more(next(typed), report, setup) if per_sample else None
        document = page.memory(report, selection, published, page.Asked(timeline, sample, **fitted))
        return replace(document, records=document.envelope["timeline"]) if in_csv else document

    if not fit:
        answer(model, options, view, ANALYSES)
        return
    budget, selection = parse_budget(fit), options.selection(format_of(options) in FOR_MACHINES)
    answers = [largest_batch(reference, options.setup, budget) for reference in model]
    emit_documents(
        [view(answer_.report, selection, (), fit=answer_.fit, changes=answer_.changes) for answer_ in answers], options
    )
    if not all(answer_.fit.batch for answer_ in answers):
        raise typer.Exit(1)
