"""`archcalc diff`."""

from __future__ import annotations

from typing import Annotated

import typer

from archcalc import engine
from archcalc.cli.answer import emit_documents
from archcalc.cli.app import app
from archcalc.cli.options import BUILDING, INPUT, PRINTING, Options, shared


@app.command()
@shared(BUILDING, INPUT, PRINTING)
def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="A model, a snapshot or a stored trace.")],
    new: Annotated[
        str, typer.Argument(metavar="NEW", help="A model, a snapshot or a stored trace to compare with it.")
    ],
    all_: Annotated[bool, typer.Option("--all", help="Also layers that only moved or run on another size.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 1 where something changed.")] = False,
    *,
    options: Options,
) -> None:
    """Changes between two networks, layer by layer, through renames and insertions.

    \b
    Examples:
      archcalc diff .archcalc/net.json mynet.py:Net -i 1x3x224x224
      archcalc diff resnet-50-v1 resnet-50
      archcalc diff old.json new.json -f md --exit-code
    """
    from archcalc.render.pages import diff as page
    from archcalc.studies.guard.comparison import compared

    engine.demand_known(old, new)
    comparisons = compared(old, new, options.setup)
    emit_documents([page.diff(comparison, everything=all_) for comparison in comparisons], options)
    if exit_code and any(comparison.changed for comparison in comparisons):
        raise typer.Exit(1)
