"""`archcalc law`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import prod
from typing import Annotated, Any

import typer

from archcalc.cli.answer import emit_documents
from archcalc.cli.app import app
from archcalc.cli.completion import complete_model
from archcalc.cli.options import BUILDING, INPUT, KERNELS, PRINTING, STEP, Options, shared
from archcalc.cli.output import watching
from archcalc.cli.pictures import picture_format
from archcalc.engine.setup import settings
from archcalc.errors import WrongUse

MOST = 500
"""Members that --measure tabulates at most."""
TABLE = "self-attention"
"""The classic comparison that --table knows."""


@app.command()
@shared(BUILDING, INPUT, STEP, KERNELS, PRINTING, draws=True)
def law(
    model: Annotated[
        str, typer.Argument(metavar="[MODEL]", help="A model reference.", autocompletion=complete_model)
    ] = "",
    over: Annotated[
        str, typer.Option("--over", metavar="KNOB[,KNOB]", help="Knobs that grow; KNOB=KNOB: two that grow together.")
    ] = "",
    figure: Annotated[
        list[str] | None,
        typer.Option("--figure", metavar="NAME", help="Only this figure, such as macs or peak_bytes; repeatable."),
    ] = None,
    measure: Annotated[
        str,
        typer.Option("--measure", metavar="A:B:STEP|KNOB=N,KNOB=N", help="Values beside the law; N may be a range."),
    ] = "",
    cross: Annotated[
        str, typer.Option("--cross", metavar="FIGURE,FIGURE", help="Where the first figure passes the second.")
    ] = "",
    latex: Annotated[bool, typer.Option("--latex", help="Formulas in LaTeX.")] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the first figure; -o law.svg or .png writes it.")] = False,
    table: Annotated[
        str, typer.Option("--table", metavar="NAME", help="A comparison of layers, without a MODEL: self-attention.")
    ] = "",
    *,
    options: Options,
) -> None:
    """Figures as exact formulas in the knobs, with big O, each checked on networks that were not used to find it.

    \b
    Examples:
      archcalc law multi-head-attention --over seq_len,d_model
      archcalc law densenet-bc-cifar --over depth --figure saved_total_bytes
      archcalc law gpt2 --over seq_len --figure macs --measure 1024:8192:1024
      archcalc law multi-head-attention --over seq_len,d_model --measure seq_len=4096,d_model=512:2048:512
      archcalc law dense-block --set bottleneck=false --over layers,growth_rate=in_channels --figure weights
      archcalc law dense-block --set bottleneck=false --over growth_rate=in_channels,size --cross weights,live:cat
      archcalc law --table self-attention
    """
    from archcalc.analyses.metrics import formula_metric_named
    from archcalc.render.pages import law as page
    from archcalc.studies.law.crossing import crossing, demand_comparable
    from archcalc.studies.law.law import DEFAULT, laws

    if table:
        _demand_alone(
            options, {"over": over, "figure": figure, "measure": measure, "cross": cross, "latex": latex, "plot": plot}
        )
        _print_table(table, model, options)
        return
    if not model:
        hint = f"type  archcalc law MODEL --over KNOB  or  archcalc law --table {TABLE}"
        raise WrongUse("law needs a model.", hint)
    knobs = _knobs(over)
    members = parse_members(measure, knobs)
    figure = figures_of(cross, figure)
    for name in figure or ():
        formula_metric_named(name)  # a wrong one is told before any model is traced
    picture = picture_format(options, [model])
    if (plot or picture) and len(knobs) != 1:
        raise WrongUse("a drawing follows one knob.", "give one knob to  --over")
    if cross:
        demand_comparable(*figure)
    setup = options.setup_with_step(figure or DEFAULT)
    with watching("members traced", options.quiet) as observer:
        result = laws(model, setup, knobs, figure or (), members, observer)
        document = page.laws(result, latex=latex)
        if cross:
            document = page.crossed(document, result, crossing(result, *figure))
        if result.laws and (plot or picture):
            document = page.drawn(document, result, picture)
    undrawn = bool(picture) and document.picture is None  # why there is no law is told on the terminal
    emit_documents([document], replace(options, output="") if undrawn else options)
    if result.refused and (figure or not result.laws):
        raise typer.Exit(3)


def _demand_alone(options: Options, own: Mapping[str, Any]) -> None:
    """WrongUse for an option that has no effect beside --table."""
    given = [settings()[key].option for key in options.typed] + [f"--{name}" for name, value in own.items() if value]
    if given:
        raise WrongUse(f"{given[0]} has no effect on --table.", f"type  archcalc law --table {TABLE}")


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
    names = [name for knob in knobs for name in knob.split("=")]
    if len(set(names)) < len(names):
        raise WrongUse("--over names a knob twice.", "name each knob once")
    return knobs


def figures_of(cross: str, figures: Sequence[str] | None) -> list[str]:
    """The figures of --cross, or else those of --figure; WrongUse for both, and for others than two that differ.

    >>> figures_of("weights,live:cat", None), figures_of("", ["macs"])
    (['weights', 'live:cat'], ['macs'])
    """
    if not cross:
        return list(figures or ())
    if figures:
        raise WrongUse("--cross names its figures itself.", "leave  --figure  out")
    names = [name.strip() for name in cross.split(",")]
    if len(names) != 2 or not all(names) or names[0] == names[1]:
        raise WrongUse(f"'--cross {cross}' does not name two figures.", "write  --cross params_bytes,saved_total_bytes")
    return names


def parse_members(text: str, knobs: Sequence[str]) -> list[tuple[int, ...]]:
    """The members of --measure, each a value for every knob; none for ''. WrongUse shows the form.

    A range stands for its values, two ranges for all pairs; one knob may be left unnamed.

    >>> parse_members("10:30:10", ["depth"])
    [(10,), (20,), (30,)]
    >>> parse_members("d_model=64,seq_len=1:3", ["seq_len", "d_model"])
    [(1, 64), (2, 64), (3, 64)]
    """
    if not text:
        return []
    short = [knob.partition("=")[0] for knob in knobs]
    form = f"write  --measure {'10:100:10' if len(knobs) == 1 else ','.join(f'{knob}=64' for knob in short)}"
    ranges: dict[str, range] = {}
    for part in text.split(","):
        knob, equals, numbers = part.strip().rpartition("=")
        name = knob.strip().replace("-", "_").partition("=")[0] if equals else short[0]
        if name not in short or name in ranges or (len(knobs) > 1 and not equals):
            raise WrongUse(f"'--measure {text}' does not name each knob of --over once.", form)
        ranges[name] = _range(numbers, text, form)
    missing = [knob for knob in short if knob not in ranges]
    if missing:
        raise WrongUse(f"'--measure {text}' says nothing of {missing[0]}.", form)
    if prod(map(len, ranges.values())) > MOST:
        raise WrongUse(f"'--measure {text}' is more than {MOST} members.", form)
    return list(product(*(ranges[knob] for knob in short)))


def _range(numbers: str, text: str, form: str) -> range:
    """'10:100:10' or a single number as a range that includes its end."""
    match = re.fullmatch(r"(\d{1,18})(?::(\d{1,18}))?(?::(\d{1,18}))?", numbers.strip(), re.ASCII)
    if match:
        first, last, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
        if 0 < first <= last and step:
            return range(first, last + 1, step)
    raise WrongUse(f"'--measure {text}' is no number and no range of numbers.", form)
