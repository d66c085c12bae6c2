"""`archcalc speed`."""

from __future__ import annotations

from typing import Annotated

import typer

from archcalc.cli.answer import emit_documents, format_of
from archcalc.cli.app import app
from archcalc.cli.completion import complete_model, on_option
from archcalc.cli.options import BUILDING, CHOOSING, INPUT, KERNELS, PRINTING, STEP, TRAIN, Options, shared
from archcalc.cli.output import watching
from archcalc.cli.pictures import picture_format
from archcalc.errors import WrongUse
from archcalc.text.visible import shortened

FORM = "write  --sweep-batch 1,8,64,512"
DIGITS = 15
"""Of the largest batch: all of its bytes are still a number of 64 bits."""


@app.command()
@shared(BUILDING, INPUT, TRAIN, STEP, KERNELS, CHOOSING, PRINTING, draws=True)
def speed(
    model: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL...", help="One or several model references.", autocompletion=complete_model),
    ] = None,
    on: Annotated[
        list[str] | None,
        on_option(
            "h100, rtx4090, my.toml, tflops=312,gbps=2039, or cpu (measured); repeatable. Without a value: the list."
        ),
    ] = None,
    sweep_batch: Annotated[
        str, typer.Option("--sweep-batch", metavar="N,N,...", help="Also at these batches: what bounds each.")
    ] = "",
    plot: Annotated[bool, typer.Option("--plot", help="Draw the roofline; -o roofline.svg or .png writes it.")] = False,
    *,
    options: Options,
) -> None:
    """The least time that a pass or a step can take on a device, and what bounds it, by layer. Never a prediction.

    \b
    Examples:
      archcalc speed resnet-50 --on h100 --batch 32
      archcalc speed gpt2 --on rtx4090 --on a100-80g --amp bf16
      archcalc speed resnet-50 --on rtx3090 --train --batch 64 --recipe amp-fp16
      archcalc speed shufflenet-v2 --on cpu
      archcalc speed resnet-18 --on rtx4090 --sweep-batch 1,4,16,64,256
      archcalc speed resnet-18 --on h100 -o roofline.svg
    """
    from archcalc.render.formats import FOR_MACHINES
    from archcalc.render.pages import devices as list_of_devices
    from archcalc.render.pages import speed as page
    from archcalc.studies.speed.speed import speed as study

    if on == [""]:
        from archcalc import hardware

        emit_documents([list_of_devices.devices(hardware.devices())], options)
        return
    if not model:
        raise WrongUse("speed needs a model.", "type  archcalc speed resnet-50 --on h100")
    batches, picture = _batches(sweep_batch), picture_format(options, model)
    selection = options.selection(not picture and format_of(options) in FOR_MACHINES)
    documents = []
    for reference in model:
        with watching("models traced", options.quiet) as observer:
            speeds = study(reference, options.setup, on or (), batches, observer)
        document = page.speed(speeds, selection)
        documents.append(page.drawn(document, speeds, picture) if plot or picture else document)
    emit_documents(documents, options)


def _batches(text: str) -> list[int]:
    """'1,8,64' as numbers; none for ''. WrongUse shows the form."""
    parts = [part.strip() for part in text.split(",")] if text else []
    if not all(part.isascii() and part.isdigit() and len(part) <= DIGITS and int(part) > 0 for part in parts):
        raise WrongUse(f"'--sweep-batch {shortened(text)}' is no list of batches.", FORM)
    batches = [int(part) for part in parts]
    if twice := next((batch for batch in batches if batches.count(batch) > 1), None):
        raise WrongUse(f"--sweep-batch names batch {twice:,} a second time.", "name each batch once")
    return sorted(batches)
