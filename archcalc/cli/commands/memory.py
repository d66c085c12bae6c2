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
from archcalc.cli.pictures import picture_format
from archcalc.errors import WrongUse

if TYPE_CHECKING:
    from archcalc.analyses.report import Report
    from archcalc.engine import Setup
    from archcalc.render.document import Document
    from archcalc.render.layers import Selection
    from archcalc.studies.budget import Budget
    from archcalc.studies.changes import Peak
    from archcalc.studies.largest_batch import Fitted


AUTO = "auto"
"""The pattern of --checkpoint that stands for a choice of archcalc's own."""


@app.command()
@shared(BUILDING, INPUT, TRAIN, STEP, KERNELS, CHOOSING, PRINTING, draws=True)
def memory(
    model: Models,
    fit: Annotated[
        str | None,
        typer.Option(
            "--fit",
            metavar="SIZE|DEVICE",
            help="The largest batch that fits 24GiB or an rtx4090; with --batch, whether it fits.",
        ),
    ] = None,
    reserve: Annotated[
        str | None,
        typer.Option(
            "--reserve",
            metavar="SIZE|PERCENT",
            help="Memory of --fit to set aside; default: 1 GiB and 5 % of NVIDIA's, nothing of a size.",
        ),
    ] = None,
    no_changes: Annotated[
        bool, typer.Option("--no-changes", help="Leave out the table of changes that free memory; each is traced.")
    ] = False,
    per_sample: Annotated[
        bool, typer.Option("--per-sample", help="Also what one sample more adds to each line.")
    ] = False,
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Live bytes over the run (csv: instead of layers).")
    ] = False,
    plot: Annotated[
        bool,
        typer.Option("--plot", help="Draw memory against extra work (with --checkpoint auto); -o x.svg writes it."),
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
      archcalc memory gpt2 --train --fit 16GiB --batch 8 --checkpoint auto
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
    options.demand_decay_in_bytes()
    auto = _demand_budget(options, fit, plot)
    if fit is not None:
        pages.emit_fitted(model, fit, reserve, auto=auto, plot=plot)
        return
    typed = iter(model)

    def view(report: Report, selection: Selection, _: Sequence[str]) -> Document:
        return pages.of_one(next(typed), report, selection)

    answer(model, options, view, ANALYSES, drawn=pages.drawn)


def _demand_budget(options: Options, fit: str | None, plot: bool) -> bool:
    """Whether --checkpoint auto is asked for; WrongUse if it has no budget, and for --plot without it."""
    auto = AUTO in options.typed.get("checkpoint", ())
    if plot and not auto:
        raise WrongUse("--plot draws the choices of --checkpoint auto.", "add  --checkpoint auto")
    if auto and options.train and fit is None:
        sentence = "--checkpoint auto chooses what to compute again so that a step fits, and no memory is given."
        raise WrongUse(sentence, "add  --fit 24GiB")
    return auto


@dataclass(frozen=True)
class Pages:
    """The pages of one command: with the cost of a further sample, with the timeline, with the table of changes."""

    options: Options
    per_sample: bool
    timeline: bool
    changes: bool

    def drawn(self, report: Report, format_: str) -> bytes:
        """The picture of a report: its timeline if that was asked for, else the layers that hold the peak."""
        from archcalc.render.pictures import timeline, treemap

        return timeline(report, format_) if self.timeline else treemap(report, "at_peak_bytes", format_)

    def of_one(self, reference: str, report: Report, selection: Selection) -> Document:
        """The page of one report; the changes of its training step are traced."""
        from archcalc.studies.changes import changes

        setup, rows = self.options.setup, []
        if setup.training and self.changes:
            with watching("changes traced", self.options.quiet) as observer:
                rows = changes(reference, setup, report, observer)
        return self._page(reference, setup, report, selection, changes=rows)

    def emit_fitted(
        self, references: Sequence[str], fit: str, reserve: str | None, *, auto: bool = False, plot: bool = False
    ) -> None:
        """Print what fits of each model; exit code 1 if nothing of one does, or not the batch that was asked for."""
        from archcalc.studies.budget import parse_budget

        picture = picture_format(self.options, references)
        budget, documents, fits = parse_budget(fit, reserve), [], []
        for reference in references:
            of_one = (
                self._chosen(reference, budget, plot, picture) if auto else self._fitted(reference, budget, picture)
            )
            documents.append(of_one[0])
            fits.append(of_one[1])
        emit_documents(documents, self.options)
        if not all(fits):
            raise typer.Exit(1)

    def _fitted(self, reference: str, budget: Budget, picture: str) -> tuple[Document, bool]:
        """The page of the largest batch, or of the batch that was asked for, and whether it fits."""
        from archcalc.studies.largest_batch import largest_batch

        with watching("batches traced", self.options.quiet) as observer:
            fitted = largest_batch(reference, self.options.setup, budget, observer)
        asked = {"fitted": fitted, "changes": self._changes(fitted)}
        document = self._page(reference, fitted.setup, fitted.report, self._selection(), **asked)
        if picture:
            document = replace(document, picture=self.drawn(fitted.report, picture))
        return document, fitted.fits

    def _chosen(self, reference: str, budget: Budget, plot: bool, picture: str) -> tuple[Document, bool]:
        """The same with what to compute again."""
        from archcalc.render.pages import recompute as page
        from archcalc.render.pages.memory import Asked
        from archcalc.studies.largest_batch import one_sample_more
        from archcalc.studies.recompute.recompute import recompute

        with watching("steps traced", self.options.quiet) as observer:
            result = recompute(reference, self.options.setup, budget, observer)
        fitted = result.fitted
        sample = one_sample_more(reference, fitted.report, fitted.setup) if self.per_sample else None
        asked = Asked(self.timeline, sample)
        document = page.recompute(result, self._selection(), self._changes(fitted), asked)
        if plot or picture:
            document = page.drawn(document, result, picture)
        return self._in_csv(document), result.fits

    def _changes(self, fitted: Fitted) -> Sequence[Peak]:
        with watching("changes traced", self.options.quiet) as observer:
            return fitted.traced_changes(observer) if self.changes else ()

    def _selection(self) -> Selection:
        from archcalc.render.formats import FOR_MACHINES

        return self.options.selection(format_of(self.options) in FOR_MACHINES)

    def _page(self, reference: str, setup: Setup, report: Report, selection: Selection, **asked: Any) -> Document:
        from archcalc.render.pages import memory as page
        from archcalc.studies.largest_batch import one_sample_more

        sample = one_sample_more(reference, report, setup) if self.per_sample else None
        document = page.memory(report, selection, (), page.Asked(self.timeline, sample, **asked))
        return self._in_csv(document)

    def _in_csv(self, document: Document) -> Document:
        """The document, whose rows in csv are the timeline if that was asked for."""
        in_csv = self.timeline and format_of(self.options) == "csv"
        return replace(document, records=document.envelope["timeline"]) if in_csv else document
