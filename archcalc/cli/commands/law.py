"""`archcalc law`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from archcalc.analyses.metrics import metric_named
from archcalc.cli.answer import emit_documents
from archcalc.cli.app import app
from archcalc.cli.completion import complete_model
from archcalc.cli.options import BUILDING, INPUT, KERNELS, PRINTING, STEP, Options, shared
from archcalc.cli.output import watching
from archcalc.errors import WrongUse

MOST = 500
"""Values that --measure tabulates at most."""
TABLE = "self-attention"
"""The classic comparison that --table knows."""


@app.command()
@shared(BUILDING, INPUT, STEP, KERNELS, PRINTING)
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
    from archcalc.render.pages import law as page
    from archcalc.render.plots import SUFFIXES
    from archcalc.studies.law.law import laws

    if table:
        _print_table(table, model, options)
        return
    if not model:
        hint = f"type  archcalc law MODEL --over KNOB  or  archcalc law --table {TABLE}"
        raise WrongUse("law needs a model.", hint)
    knobs, values = _knobs(over), parse_range(measure)
    for name in figure or ():
        metric_named(name)  # a wrong one is told before any model is traced
    suffix = Path(options.output).suffix.lower()
    picture = suffix if suffix in SUFFIXES else ""
    if (values or plot or picture) and len(knobs) != 1:
        raise WrongUse("--measure and --plot follow one knob.", "give one knob to  --over")
    with watching("members traced", options.quiet) as observer:
        result = laws(model, options.setup_with_step, knobs, figure or (), values, observer)
        document = page.laws(result, latex=latex)
        if result.laws and (plot or picture):
            document = page.drawn(document, result, picture)
    emit_documents([document], options)
    if result.refused:
        raise typer.Exit(3)


def _print_table(table: str, model: str, options: Options) -> None:
    """The layers of sequence models side by side; WrongUse for another table."""
    from archcalc.render.pages import layer_comparison as page
    from archcalc.studies.law.layer_comparison import layer_comparison

    if table != TABLE:
        raise WrongUse(f"there is no table '{table}'.", f"write  --table {TABLE}")
    if model:
        raise WrongUse("--table has its own layers and takes no model.", f"type  archcalc law --table {TABLE}")
    with watching("members traced", options.quiet) as observer:
        layers = layer_comparison(observer)
    emit_documents([page.layer_comparison(layers)], options)


def _knobs(over: str) -> list[str]:
    knobs = [knob.strip().replace("-", "_") for knob in over.split(",") if knob.strip()]
    if len(set(knobs)) < len(knobs):
        raise WrongUse("--over names a knob twice.", "name each knob once")
    return knobs


def parse_range(text: str) -> list[int]:
    """'10:100:10' as 10, 20, ..., 100; nothing for ''. WrongUse shows the form.

    >>> parse_range("10:40:10"), parse_range("")
    ([10, 20, 30, 40], [])
    """
    if not text:
        return []
    match = re.fullmatch(r"(\d{1,18}):(\d{1,18})(?::(\d{1,18}))?", text.strip())
    first, last, step = (int(part or 1) for part in match.groups()) if match else (0, 0, 0)
    if not 0 < first <= last or step < 1 or (last - first) // step >= MOST:
        raise WrongUse(f"'{text}' is not a range of at most {MOST} values.", "write  --measure 10:100:10")
    return list(range(first, last + 1, step))
