"""`archcalc params`."""

from __future__ import annotations

from archcalc.cli.answer import answer
from archcalc.cli.app import Models, app
from archcalc.cli.options import BUILDING, CHOOSING, PRINTING, Options, shared
from archcalc.cli.pictures import treemap_of


@app.command()
@shared(BUILDING, CHOOSING, PRINTING, draws=True)
def params(model: Models, *, options: Options) -> None:
    """Parameters by layer, from the definition alone: no input, no forward pass.

    Unique ones, tied ones once; trainable, frozen and buffers apart.

    \b
    Examples:
      archcalc params densenet
      archcalc params densenet-bc-cifar --set depth=250 --set growth_rate=24
      archcalc params resnet-50 --top 5 --json
    """
    from archcalc.analyses import Params
    from archcalc.engine import definition
    from archcalc.render.pages import params as page

    answer(model, options, page.params, (Params(),), figure="params", drawn=treemap_of("params"), trace=definition)
