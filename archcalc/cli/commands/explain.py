"""`archcalc explain`."""

from __future__ import annotations

from typing import Annotated

import typer

from archcalc import engine
from archcalc.cli.answer import emit_documents
from archcalc.cli.app import app
from archcalc.cli.options import BUILDING, INPUT, PRINTING, Options, shared
from archcalc.text.spelling import normal


@app.command()
@shared(BUILDING, INPUT, PRINTING)
def explain(
    model: Annotated[str, typer.Argument(metavar="MODEL|KIND", help="A model reference, or a kind such as conv2d.")],
    layer: Annotated[str, typer.Argument(metavar="[LAYER]", help="Path of a layer, or a pattern.")] = "",
    *,
    options: Options,
) -> None:
    """The formulas of a layer's output, parameters and MACs: in letters, then with its numbers.

    \b
    Examples:
      archcalc explain resnet-18 layer2.0.conv1
      archcalc explain se-block --set channels=512
      archcalc explain conv2d
    """
    from archcalc.analyses import Flops, Params, analyze
    from archcalc.analyses.explain.lines import kind_named
    from archcalc.networks import catalogue
    from archcalc.render.layers import matching_layers
    from archcalc.render.pages.explain import explanation, kind_page

    kind = kind_named(model)
    if kind is not None and not layer and normal(model) not in map(normal, catalogue.names()):
        emit_documents([kind_page(kind)], options)
        return
    report = analyze(engine.trace(model, options.setup), (Params(), Flops()))
    emit_documents([explanation(report, match) for match in matching_layers(report, layer)], options)
