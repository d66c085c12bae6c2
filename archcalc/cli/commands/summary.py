"""`archcalc summary`."""

from __future__ import annotations

from archcalc.cli.answer import answer
from archcalc.cli.app import Models, app
from archcalc.cli.options import BUILDING, CHOOSING, COMPLETE, INPUT, PRINTING, Options, shared


@app.command()
@shared(BUILDING, INPUT, COMPLETE, CHOOSING, PRINTING)
def summary(model: Models, *, options: Options) -> None:
    """Layer table: output, parameters, MACs, memory.

    \b
    Examples:
      archcalc summary resnet-18
      archcalc summary resnet-18 --depth 2
      archcalc summary mynet.py:Net -i 1x3x224x224
    """
    from archcalc.analyses import Flops, Memory, Params
    from archcalc.render.pages import summary as page

    answer(model, options, page.summary, (Params(), Flops(), Memory()))
