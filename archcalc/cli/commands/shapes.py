"""`archcalc shapes`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from archcalc.cli.answer import answer
from archcalc.cli.app import Models, app
from archcalc.cli.options import BUILDING, CHOOSING, INPUT, PRINTING, Options, shared

if TYPE_CHECKING:
    from archcalc.analyses.report import Report
    from archcalc.render.document import Document
    from archcalc.render.layers import Selection


@app.command()
@shared(BUILDING, INPUT, CHOOSING, PRINTING)
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
    from archcalc.analyses import Shapes
    from archcalc.render.pages import shapes as page

    def view(report: Report, selection: Selection, published: Sequence[str]) -> Document:
        chosen = replace(selection, depth=options.depth)
        return page.shapes(report, chosen, only_changes)

    answer(model, options, view, (Shapes(),))
