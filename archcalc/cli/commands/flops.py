"""`archcalc flops`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from archcalc.analyses.counting_words import NAMES, demand_convention
from archcalc.cli.answer import answer
from archcalc.cli.app import Models, app
from archcalc.cli.options import BUILDING, CHOOSING, COMPLETE, INPUT, PRINTING, Options, shared
from archcalc.cli.pictures import treemap_of
from archcalc.engine.setup import OF_BACKWARD
from archcalc.errors import WrongUse

COUNTING = f"How MACs are counted: {', '.join(NAMES)}."


@app.command()
@shared(BUILDING, INPUT, *OF_BACKWARD, COMPLETE, CHOOSING, PRINTING, draws=True)
def flops(
    model: Models,
    convention: Annotated[str, typer.Option("--convention", metavar="NAME", help=COUNTING)] = "archcalc",
    backward: Annotated[bool, typer.Option("--backward", help="Also the MACs of the backward pass.")] = False,
    *,
    options: Options,
) -> None:
    """Multiply-accumulates (MACs) and FLOPs = 2 x MACs by layer; elementwise work in a column of its own.

    \b
    Examples:
      archcalc flops shufflenet-v2
      archcalc flops resnet-50 --size 320 --depth 2
      archcalc flops resnet-18 --layer 'layer4*'
      archcalc flops gpt2 --convention half-causal
      archcalc flops resnet-18 --backward --frozen 'layer[12]'
    """
    from archcalc.analyses import Analysis, Backward, Flops
    from archcalc.render.pages import flops as page

    if backward and "mode" in options.typed:
        sentence = "--backward and --mode do not go together: the step that it counts runs in train mode."
        raise WrongUse(sentence, "choose one")
    step = [key for key in OF_BACKWARD if key in options.typed]
    if step and not backward:
        raise WrongUse(f"--{step[0]} is an option of the backward pass.", "add  --backward")
    demand_convention(convention)  # a wrong one is told before any model is traced
    analyses: tuple[Analysis, ...] = (Flops(convention), *([Backward()] if backward else []))
    figure = "macs" if convention == "archcalc" else ""
    options = replace(options, train=True) if backward else options
    answer(model, options, page.flops, analyses, figure=figure, drawn=treemap_of("macs"))
