"""`archcalc compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from archcalc.cli.answer import demand_complete, emit_documents
from archcalc.cli.app import Models, app
from archcalc.cli.completion import on_option
from archcalc.cli.options import BUILDING, COMPLETE, INPUT, PRINTING, STEP, TRAIN, Options, shared
from archcalc.errors import WrongUse


@app.command()
@shared(BUILDING, INPUT, TRAIN, STEP, COMPLETE, PRINTING)
def compare(
    model: Models,
    on: Annotated[
        list[str] | None,
        on_option("Also the least time on h100, rtx4090, ...; repeatable."),
    ] = None,
    relative: Annotated[
        bool, typer.Option("--relative", help="Also how many times more or less than the first.")
    ] = False,
    *,
    options: Options,
) -> None:
    """Several networks side by side.

    \b
    Examples:
      archcalc compare resnet-50 densenet-121 shufflenet-v2
      archcalc compare resnet-18 resnet-34 --batch 8 -f md
      archcalc compare conv 'conv[groups=4]' --relative
      archcalc compare resnet-50 densenet-121 --batch 16 --train --optimizer momentum
      archcalc compare resnet-50 densenet-121 --on h100 --on rtx4090
    """
    from archcalc.render.pages import compare as page
    from archcalc.studies.compare import side_by_side

    if relative and len(model) < 2:
        hint = "name another model, or leave  --relative  out"
        raise WrongUse("--relative compares with the first model, and there is one alone.", hint)
    compared = side_by_side(model, options.setup, on or ())
    demand_complete(compared.reports, options)
    emit_documents([page.compare(compared, relative)], options)
