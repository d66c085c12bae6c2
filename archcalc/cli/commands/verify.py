"""`archcalc verify`."""

from __future__ import annotations

from typing import Annotated

import typer

from archcalc import engine
from archcalc.cli.answer import emit_documents
from archcalc.cli.app import app
from archcalc.cli.completion import complete_model
from archcalc.cli.options import BUILDING, INPUT, PRINTING, Options, shared
from archcalc.cli.output import watching


@app.command()
@shared(BUILDING, INPUT, PRINTING)
def verify(
    model: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL...]", help="Model references; default: the catalogue.", autocompletion=complete_model
        ),
    ] = None,
    *,
    options: Options,
) -> None:
    """Our figures beside those of papers, libraries and other counters; exit 1 for a difference without a reason.

    \b
    Examples:
      archcalc verify resnet-50
      archcalc verify timm:vit_base_patch16_224
      archcalc verify
    """
    from archcalc.render.pages import verify as page
    from archcalc.studies.verify.verify import verified, verified_catalogue

    if model:
        engine.demand_known(*model)
        verifications = []
        with watching("models verified", options.quiet) as observer:
            observer.expect(len(model))
            for reference in model:
                verifications.append(verified(reference, options.setup))
                observer.advance()
        documents = [page.verification(verification) for verification in verifications]
    else:
        with watching("networks verified", options.quiet) as observer:
            verifications = verified_catalogue(options.setup, observer)
        documents = [page.catalogue_verification(verifications)]
    emit_documents(documents, options)
    if any(check.verdict == "unexplained" for verification in verifications for check in verification.checks):
        raise typer.Exit(1)
