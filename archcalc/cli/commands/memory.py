"""`archcalc memory`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from archcalc.cli.answer import answer, emit_documents, format_of
from archcalc.cli.app import Models, app
from archcalc.cli.options import BUILDING, CHOOSING, INPUT, KERNELS, PRINTING, STEP, TRAIN, Options, shared
from archcalc.cli.output import watching
from archcalc.errors import WrongUse

if TYPE_CHECKING:
    from archcalc.analyses.report import Report
    from archcalc.engine import Setup
    from archcalc.render.document import Document
    from archcalc.render.layers import Selection


@app.command()
@shared(BUILDING, INPUT, TRAIN, STEP, KERNELS, CHOOSING, PRINTING)
def memory(
    model: Models,
    fit: Annotated[
        str | None, typer.Option("--fit", metavar="SIZE|DEVICE", help="The largest batch in 24GiB, or on an rtx4090.")
    ] = None,
    reserve: Annotated[
        str | None, typer.Option("--reserve", metavar="SIZE|PERCENT", help="Of it, what is set aside (with --fit).")
    ] = None,
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
      archcalc memory gpt2 --train --device cuda --recipe amp-bf16 --timeline
      archcalc memory gpt2 --train --recipe bf16-fp32-master
      archcalc memory vgg-16 --train --frozen features --loss cross-entropy
      archcalc memory densenet --dtype bfloat16
    """
    from archcalc.studies.changes import ANALYSES

    if reserve is not None and fit is None:
        raise WrongUse("--reserve is set aside of the memory that --fit gives.", "add  --fit 24GiB")
    if no_changes and not (options.train or fit is not None):
        raise WrongUse("--no-changes leaves out a table of training steps.", "add  --train, or leave it out")
    pages = Pages(options, per_sample, timeline, changes=not no_changes and format_of(options) != "csv")
    if fit is not None:
        pages.emit_fitted(model, fit, reserve)
        return
    typed = iter(model)
    answer(model, options, lambda report, selection, _: pages.of_one(next(typed), report, selection), ANALYSES)


@dataclass(frozen=True)
class Pages:
    """The pages of one command: with the cost of a further sample, with the timeline, with the table of changes."""

    options: Options
    per_sample: bool
    timeline: bool
    changes: bool

    def of_one(self, reference: str, report: Report, selection: Selection) -> Document:
        """The page of one report; the changes of its training step are traced."""
        from archcalc.studies.changes import changes

        setup, rows = self.options.setup, []
        if setup.training and self.changes:
            with watching("changes traced", self.options.quiet) as observer:
                rows = changes(reference, setup, report, observer)
        return self._page(reference, setup, report, selection, changes=rows)

    def emit_fitted(self, references: Sequence[str], fit: str, reserve: str | None) -> None:
        """Print what fits of each model; exit code 1 if nothing of one does, or not the batch that was asked for."""
        from archcalc.render.formats import FOR_MACHINES
        from archcalc.studies.budget import parse_budget
        from archcalc.studies.largest_batch import largest_batch

        budget, setup = parse_budget(fit, reserve), self.options.setup
        selection = self.options.selection(format_of(self.options) in FOR_MACHINES)
        documents, fits = [], []
        for reference in references:
            with watching("batches traced", self.options.quiet) as observer:
                fitted = largest_batch(reference, setup, budget, observer)
            with watching("changes traced", self.options.quiet) as observer:
                rows = fitted.traced_changes(observer) if self.changes else ()
            asked = {"fitted": fitted, "changes": rows}
            documents.append(self._page(reference, fitted.setup, fitted.report, selection, **asked))
            fits.append(fitted.fits)
        emit_documents(documents, self.options)
        if not all(fits):
            raise typer.Exit(1)

    def _page(self, reference: str, setup: Setup, report: Report, selection: Selection, **asked: Any) -> Document:
        from archcalc.render.pages import memory as page
        from archcalc.studies.largest_batch import one_sample_more

        sample = one_sample_more(reference, report, setup) if self.per_sample else None
        document = page.memory(report, selection, (), page.Asked(self.timeline, sample, **asked))
        in_csv = self.timeline and format_of(self.options) == "csv"
        return replace(document, records=document.envelope["timeline"]) if in_csv else document
