"""`archcalc list`."""

from __future__ import annotations

from typing import Annotated

import typer

from archcalc.cli.answer import emit_documents
from archcalc.cli.app import app
from archcalc.cli.options import PRINTING, Options, shared


@app.command(name="list")
@shared(PRINTING)
def list_(
    glob: Annotated[str, typer.Argument(metavar="[GLOB]", help="Only networks or families whose name matches.")] = "*",
    *,
    options: Options,
) -> None:
    """The catalogue: families, networks, parameters and MACs. Needs no torch.

    \b
    Examples:
      archcalc list
      archcalc list 'densenet*'
    """
    from archcalc.networks import catalogue
    from archcalc.render.pages import list as page

    families = catalogue.matching(glob)
    if not families:
        catalogue.resolve(glob)
    emit_documents([page.catalogue(families)], options)
