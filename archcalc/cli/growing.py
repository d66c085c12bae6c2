"""Commands that ask how figures grow over families of models."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from archcalc.cli.base import app, emit_documents
from archcalc.cli.completion import complete_model
from archcalc.cli.options import (
    BUILDING,
    KERNELS,
    PRINTING,
    STEP,
    Options,
    shared,
)


@app.command()
@shared(BUILDING, STEP, KERNELS, PRINTING)
def law(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="A model reference.", autocompletion=complete_model)
    ] = "",
    over: Annotated[str, typer.Option("--over", metavar="KNOB[,KNOB]", help="What grows; KNOB=KNOB ties two.")] = "",
    figure: Annotated[
        list[str] | None, typer.Option("--figure", metavar="NAME", help="Only this figure; repeatable.")
    ] = None,
    measure: Annotated[
        str, typer.Option("--measure", metavar="A:B:STEP", help="Values beside the law, from A to B.")
    ] = "",
    latex: Annotated[bool, typer.Option("--latex", help="Formulas in LaTeX.")] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the first figure; -o law.svg or .png writes it.")] = False,
    table: Annotated[str, typer.Option("--table", metavar="NAME", help="A classic comparison: self-attention.")] = "",
    *,
    options: Options,
) -> None:
    """Figures as exact formulas in the knobs, with their big O; each is checked on members apart before it is printed.

    \b
    Examples:
      archcalc law multi-head-attention --over seq_len,d_model
      archcalc law densenet-bc-cifar --over depth --figure saved_total_bytes
      archcalc law gpt2 --over seq_len --figure macs --measure 1024:8192:1024
      archcalc law dense-block --set bottleneck=false --over layers,growth_rate=in_channels --figure weights
      archcalc law --table self-attention
    """
    from archcalc.studies.law.layer_comparison import layer_comparison
    from archcalc.studies.law.members import Asked
    from archcalc.studies.law.members import answer as answered

    if table:
        emit_documents([layer_comparison(table, model, options)], options)
        return
    asked = Asked(model, over, tuple(figure or ()), measure, latex, plot)
    document, complete = answered(asked, options)
    emit_documents([document], options)
    if not complete:
        raise typer.Exit(3)


@app.command()
@shared(BUILDING, STEP, KERNELS, PRINTING)
def sweep(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model reference.", autocompletion=complete_model)],
    figure: Annotated[
        list[str] | None, typer.Option("--figure", metavar="NAME", help="params, macs, peak_bytes, ...; repeatable.")
    ] = None,
    where: Annotated[str, typer.Option("--where", metavar="CONDITION", help="Show these: 'macs < 1e9'.")] = "",
    sort: Annotated[str, typer.Option("--sort", metavar="KEY", help="Order by a knob or a figure.")] = "",
    pareto: Annotated[
        str, typer.Option("--pareto", metavar="A,B", help="Mark the front of two figures: macs,params:max.")
    ] = "",
    jobs: Annotated[
        int | None, typer.Option("--jobs", min=1, metavar="N", help="Processes; all cores by default.")
    ] = None,
    executor: Annotated[str, typer.Option("--executor", metavar="dask://HOST:PORT", help="A cluster of dask's.")] = "",
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
    from archcalc.studies.sweep.answer import SweepAsked
    from archcalc.studies.sweep.answer import answer as answered

    asked = SweepAsked(model, tuple(figure or ()), where, sort, pareto, jobs, executor)
    emit_documents([answered(asked, options)], replace(options, output=""))
