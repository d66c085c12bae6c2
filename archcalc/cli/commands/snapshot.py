"""`archcalc snapshot`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from archcalc import engine
from archcalc.cli.app import Models, app
from archcalc.cli.options import BUILDING, INPUT, KERNELS, PRINTING, STEP, Options, shared
from archcalc.cli.output import emit_text


@app.command()
@shared(BUILDING, INPUT, STEP, KERNELS, PRINTING, form="json")
def snapshot(
    model: Models,
    train: Annotated[bool, typer.Option("--train", help="Also the peak of a training step.")] = False,
    *,
    options: Options,
) -> None:
    """Figures by layer as a byte-stable file to review and to diff: no times, no paths, one layer a line.

    \b
    Examples:
      archcalc snapshot resnet-18 -o .archcalc/resnet.json
      archcalc snapshot mynet.py:Net -i 1x3x224x224 --train -o .archcalc/net.json
    """
    from archcalc.studies.guard.snapshot import to_json
    from archcalc.studies.guard.sources import taken

    setup = replace(options, train=train).setup
    engine.demand_known(*model)
    emit_text(to_json([taken(reference, setup) for reference in model]), options.output, options.quiet)
