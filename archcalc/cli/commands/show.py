"""`archcalc show`."""

from __future__ import annotations

from archcalc import engine
from archcalc.cli.answer import emit_documents
from archcalc.cli.app import Models, app
from archcalc.cli.options import BUILDING, INPUT, PRINTING, Options, shared
from archcalc.errors import WrongUse


@app.command()
@shared(BUILDING, INPUT, PRINTING)
def show(model: Models, *, options: Options) -> None:
    """One page on a network of the catalogue: idea, paper, figures, published ones beside them, knobs.

    \b
    Examples:
      archcalc show densenet-121
      archcalc show resnet-50-v1
    """
    from archcalc.analyses import Flops, Params, analyze
    from archcalc.render.pages import show as page
    from archcalc.studies.published import about

    engine.demand_known(*model)
    if options.setup.lora:
        raise WrongUse("show sets published figures beside ours, and papers count no adapters.", "leave --lora out")
    documents = []
    for reference in model:
        if not isinstance(engine.parse(reference), engine.BuiltIn):
            hint = f"type  archcalc summary {reference}"
            raise WrongUse(f"{reference} is not of the catalogue, and show has a page for its networks only.", hint)
        report = analyze(engine.trace(reference, options.setup), (Params(), Flops()))
        documents.append(page.show(report, about(report, options.setup)))
    emit_documents(documents, options)
