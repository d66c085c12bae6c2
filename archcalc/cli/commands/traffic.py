"""`archcalc traffic`."""

from __future__ import annotations

from typing import Annotated

import typer

from archcalc.cli.answer import answer
from archcalc.cli.app import Models, app
from archcalc.cli.options import BUILDING, CHOOSING, COMPLETE, INPUT, KERNELS, PRINTING, STEP, TRAIN, Options, shared
from archcalc.cli.pictures import treemap_of
from archcalc.errors import WrongUse


@app.command()
@shared(BUILDING, INPUT, TRAIN, STEP, KERNELS, COMPLETE, CHOOSING, PRINTING, draws=True)
def traffic(
    model: Models,
    fused: Annotated[bool, typer.Option("--fused", help="Elementwise chains read and write once.")] = False,
    *,
    options: Options,
) -> None:
    """Bytes that ops read and write (memory access cost) by layer, and multiply-adds for each byte.

    \b
    Examples:
      archcalc traffic shufflenet-v2
      archcalc traffic resnet-50 --fused --depth 2
      archcalc traffic gpt2 --train --optimizer adamw
    """
    from archcalc.analyses import Traffic
    from archcalc.render.pages import traffic as page

    if "keep_gradients" in options.typed:
        raise WrongUse("--keep-gradients moves no bytes: it only holds them.", "leave it out, or  archcalc memory")
    answer(model, options, page.traffic, (Traffic(fused),), drawn=treemap_of("traffic_bytes"))
