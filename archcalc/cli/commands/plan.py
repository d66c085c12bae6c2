"""`archcalc plan`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from archcalc.cli.answer import emit_documents
from archcalc.cli.app import app
from archcalc.cli.completion import complete_model, on_option
from archcalc.cli.options import BUILDING, INPUT, KERNELS, PRINTING, STEP, Options, shared
from archcalc.cli.output import watching
from archcalc.errors import WrongUse

DEGREE = {"min": 1, "metavar": "N"}


@app.command()
@shared(BUILDING, INPUT, STEP, KERNELS, PRINTING)
def plan(  # noqa: PLR0913, PLR0917 # each is an option of the command
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model reference.", autocompletion=complete_model)],
    gpus: Annotated[
        int,
        typer.Option(
            "--gpus",
            min=1,
            metavar="N",
            help="Devices in all; layouts are searched unless --tp, --pp and --dp are all given.",
        ),
    ],
    on: Annotated[
        str,
        on_option("The device, for its memory and the least time: h100-sxm, a100-80g, ..."),
    ] = "",
    tp: Annotated[
        int | None, typer.Option("--tp", help="Tensor parallel: ranks that divide each layer.", **DEGREE)
    ] = None,
    pp: Annotated[int | None, typer.Option("--pp", help="Pipeline parallel: stages of the pipeline.", **DEGREE)] = None,
    dp: Annotated[
        int | None, typer.Option("--dp", help="Data parallel: ranks with batches of their own.", **DEGREE)
    ] = None,
    ep: Annotated[
        int | None, typer.Option("--ep", help="Expert parallel: of --dp, the ranks that divide the experts.", **DEGREE)
    ] = None,
    zero: Annotated[
        int | None,
        typer.Option(
            "--zero",
            min=0,
            max=3,
            metavar="0..3",
            help="Divide among --dp: 0 nothing (DDP), 1 optimizer state, 2 also gradients, 3 also parameters (FSDP2);"
            " default: searched, or 0 for one layout.",
        ),
    ] = None,
    sp: Annotated[
        bool, typer.Option("--sp", help="Sequence parallel: divide positions among the ranks of --tp, too.")
    ] = False,
    interleave: Annotated[
        int, typer.Option("--interleave", min=1, metavar="N", help="Chunks of the model on each pipeline rank.")
    ] = 1,
    schedule: Annotated[
        str, typer.Option("--schedule", metavar="NAME", help="Order of a pipeline's microbatches: 1f1b or gpipe.")
    ] = "1f1b",
    global_batch: Annotated[
        int | None,
        typer.Option("--global-batch", min=1, metavar="N", help="Samples of a step; default: one --batch a device."),
    ] = None,
    node: Annotated[int, typer.Option("--node", min=1, metavar="N", help="Devices in a machine.")] = 8,
    link: Annotated[
        str,
        typer.Option(
            "--link", metavar="NAME", help="Link inside a machine: nvlink4, pcie5, ...; default: the device's own."
        ),
    ] = "",
    network: Annotated[
        str, typer.Option("--network", metavar="NAME", help="Link between machines; default: ib-ndr.")
    ] = "",
    reserve: Annotated[
        str | None,
        typer.Option(
            "--reserve", metavar="SIZE|PERCENT", help="Memory of --on to set aside; default: 1 GiB and 5 % of NVIDIA's."
        ),
    ] = None,
    tp_plan: Annotated[
        list[str] | None,
        typer.Option(
            "--tp-plan",
            metavar="GLOB=STYLE",
            help="How --tp divides layers: colwise, rowwise or replicate; repeatable.",
        ),
    ] = None,
    *,
    options: Options,
) -> None:
    """A training step on many devices: memory a rank, bytes of each collective, the least time, the layouts that fit.

    \b
    Examples:
      archcalc plan gpt2-xl --gpus 8 --on a100-80g --recipe bf16-fp32-master
      archcalc plan gpt2-xl --gpus 64 --tp 4 --pp 4 --dp 4 --zero 1 --sp --global-batch 64
      archcalc plan resnet-50 --gpus 8 --dp 8 --tp 1 --pp 1 --batch 32
      archcalc plan hf:path/to/config.json --gpus 512 --on h100-sxm --seq-len 8192 --checkpoint 'model.layers.*'
    """
    from archcalc.render.pages import plan as page
    from archcalc.studies.plan.layout import Asked
    from archcalc.studies.plan.plan import Place, Work, parse_styles
    from archcalc.studies.plan.plan import plan as study
    from archcalc.studies.plan.schedule import SCHEDULES

    if schedule not in SCHEDULES:
        raise WrongUse(f"there is no schedule '{schedule}'.", f"choose one of  {', '.join(SCHEDULES)}")
    if schedule != SCHEDULES[0] and pp == 1:
        raise WrongUse(f"--schedule {schedule} is of a pipeline, and --pp is 1.", "add  --pp 4, or leave it out")
    options.demand_decay_in_bytes()
    setup = replace(options, train=True).setup
    asked = Asked(gpus, tp, pp, dp, ep, zero, sp, interleave, schedule)
    work = Work(global_batch, parse_styles(tp_plan or ()))
    with watching("layouts planned", options.quiet) as observer:
        planned = study(model, setup, asked, Place(on, reserve, link, network, node), work, observer)
    emit_documents([page.plan(planned)], options)
    if not planned.fits:
        raise typer.Exit(1)
