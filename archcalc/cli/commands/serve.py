"""`archcalc serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from archcalc import engine
from archcalc.cli.answer import emit_documents
from archcalc.cli.app import Models, app
from archcalc.cli.completion import on_option
from archcalc.cli.options import BUILDING, INPUT, PRINTING, Options, shared
from archcalc.cli.output import watching
from archcalc.cli.pictures import picture_format
from archcalc.engine.setup import keys_of, settings
from archcalc.errors import WrongUse


@app.command()
@shared(BUILDING, INPUT, PRINTING, draws=True)
def serve(  # noqa: PLR0913, PLR0917, each option is a parameter
    model: Models,
    context: Annotated[
        str | None,
        typer.Option(
            "--context",
            metavar="TOKENS",
            help="Tokens of each sequence: 32k (k is 1,024) or 8192; default: 8192, at most the model's.",
        ),
    ] = None,
    on: Annotated[
        str,
        on_option("Also the least times on h100, rtx4090, ..."),
    ] = "",
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            metavar="FORM",
            help="As stored: bf16, fp16, fp32, fp8[:128], int8[:N], int4:N, mxfp4 or config; default: the model's.",
        ),
    ] = "",
    kv: Annotated[
        str,
        typer.Option(
            "--kv", metavar="TYPE", help="Elements of the cache: bf16, fp16, fp8, int8; default: the model's type."
        ),
    ] = "",
    fit: Annotated[
        str | None, typer.Option("--fit", metavar="SIZE|DEVICE", help="What fits into 80GiB, or on an h100.")
    ] = None,
    gpus: Annotated[int, typer.Option("--gpus", min=1, metavar="N", help="Devices of --fit or --on.")] = 1,
    reserve: Annotated[
        str | None,
        typer.Option(
            "--reserve",
            metavar="SIZE|PERCENT",
            help="Memory of each to set aside (with --fit); default: 1 GiB and 5 % of NVIDIA's.",
        ),
    ] = None,
    page: Annotated[int, typer.Option("--page", min=1, metavar="TOKENS", help="Tokens of a page of the cache.")] = 1,
    generate: Annotated[
        int | None,
        typer.Option(
            "--generate", min=1, metavar="TOKENS", help="Also the time of a prefill and of this many tokens after it."
        ),
    ] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draw what fits; -o frontier.svg or .png writes it.")] = False,
    *,
    options: Options,
) -> None:
    """Serving a decoder: its cache, its weights as stored, prefill and decode, what fits, tokens a second at most.

    \b
    Examples:
      archcalc serve hf:path/to/config.json --context 32k --batch 8
      archcalc serve hf:path/to/config.json --context 32k --fit h100 --gpus 2
      archcalc serve hf:path/to/config.json --weights int4:128 --kv fp8 --fit 24GiB --on rtx4090
      archcalc serve mynet.py:Net -i int64:1x16 --on h100 --generate 256
      archcalc serve hf:path/to/config.json --fit 80GiB -o frontier.svg
    """
    from archcalc.render.pages import serve as pages
    from archcalc.studies.serve.serve import serve as study
    from archcalc.studies.serve.wanted import Wanted

    _demand_use(options)
    picture = picture_format(options, model)
    if (plot or picture) and not fit:
        raise WrongUse("a picture of what fits needs a capacity.", "add  --fit 80GiB")
    wanted = Wanted(context, weights, kv, on, fit or "", gpus, reserve, page, generate)
    engine.demand_known(*model)
    documents, fits = [], True
    for reference in model:
        with watching("models traced", options.quiet) as observer:
            serving = study(reference, options.setup, wanted)
            observer.advance()
        document = pages.serve(serving)
        documents.append(pages.drawn(document, serving, picture) if plot or picture else document)
        fits = fits and serving.fits
    emit_documents(documents, options)
    if not fits:
        raise typer.Exit(1)


USED = ("input", "inputs", "batch", "images", *keys_of(BUILDING))
"""Settings of a run that serve takes; the lengths of its own runs are chosen for their laws."""


def _demand_use(options: Options) -> None:
    """WrongUse for a setting of a run that changes nothing here."""
    for key in options.typed:
        if key not in USED:
            hint = "write  --context 32k" if key == "seq_len" else "leave it out"
            raise WrongUse(f"{settings()[key].option} changes nothing in serve.", hint)
