"""`archcalc devices`."""

from __future__ import annotations

from typing import Annotated

import typer

from archcalc.cli.answer import emit_documents
from archcalc.cli.app import app
from archcalc.cli.options import PRINTING, Options, shared


@app.command()
@shared(PRINTING)
def devices(
    glob: Annotated[str, typer.Argument(metavar="[GLOB]", help="Only devices whose name or alias matches.")] = "*",
    *,
    options: Options,
) -> None:
    """Devices by their data sheets: memory, bandwidth and dense peaks, with their sources. Needs no torch.

    \b
    Examples:
      archcalc devices
      archcalc devices 'rtx*'
      archcalc devices a100-80g
    """
    from archcalc import hardware
    from archcalc.render.pages import devices as page

    found = hardware.matching(glob) or [hardware.device(glob)]
    emit_documents([page.devices(found)], options)
