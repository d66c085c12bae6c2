"""`archcalc sweep`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from archcalc.cli.answer import emit_documents
from archcalc.cli.app import app
from archcalc.cli.completion import complete_model
from archcalc.cli.options import BUILDING, INPUT, KERNELS, PRINTING, STEP, Options, shared, without
from archcalc.cli.output import watching
from archcalc.cli.pictures import picture_format
from archcalc.errors import WrongUse


@app.command()
@shared(BUILDING, INPUT, STEP, KERNELS, PRINTING, draws=True, own_endings=True)
def sweep(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model reference.", autocompletion=complete_model)],
    figure: Annotated[
        list[str] | None,
        typer.Option(
            "--figure",
            metavar="NAME",
            help="A figure: params, macs, peak_bytes, ...; repeatable; default: params and macs.",
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="CONDITION", help="Show these: 'macs < 1e9'; all conditions if repeated."),
    ] = None,
    sort: Annotated[str, typer.Option("--sort", metavar="KEY", help="Order by a knob or a figure.")] = "",
    pareto: Annotated[
        str, typer.Option("--pareto", metavar="A,B", help="Mark the front of two figures: macs,params:max.")
    ] = "",
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", min=1, metavar="N", help="Processes; default: more than one if that saves time."),
    ] = None,
    executor: Annotated[
        str, typer.Option("--executor", metavar="dask://HOST:PORT", help="Measure the members on a cluster of dask.")
    ] = "",
    *,
    options: Options,
) -> None:
    """A grid of members: --set KNOB=A:B:STEP is a range, --set KNOB=A,B are alternatives. -o FILE keeps every member.

    \b
    Examples:
      archcalc sweep densenet-bc-cifar --set depth=40:250:30 --set growth_rate=12,24 --sort params
      archcalc sweep wrn --set depth=16:40:6 --set widen_factor=1,2,4 --where 'macs < 1e9' --pareto macs,params:max
      archcalc sweep resnet-50 --set batch=1:64:9 --figure peak_bytes -o resnet.csv
    """
    from archcalc.render.pages import sweep as page
    from archcalc.render.pictures import pareto as pareto_picture
    from archcalc.studies.sweep.sweep import DEFAULT, Choice, Workers
    from archcalc.studies.sweep.sweep import sweep as study

    figures, picture = figure or DEFAULT, picture_format(options, [model])
    if picture and not pareto:
        raise WrongUse("the picture of a sweep is its Pareto front.", "add  --pareto macs,params:max")
    setup, values = without(options, "set").setup_with_step(figures), options.typed.get("set", ())
    choice, workers = Choice(where or (), sort, pareto), Workers(jobs, executor)
    kept = "" if picture else options.output
    with watching("members measured", options.quiet) as observer:
        swept = study(model, setup, values, figures, choice, workers=workers, file=kept, observer=observer)
    document = page.sweep(swept)
    if picture:
        document = replace(document, picture=pareto_picture(swept, picture))
    emit_documents([document], replace(options, output="" if kept else options.output))
