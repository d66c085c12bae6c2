"""`archcalc report`."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from archcalc.cli.app import Models, app
from archcalc.cli.completion import on_option
from archcalc.cli.options import BUILDING, INPUT, KERNELS, PRINTING, STEP, TRAIN, Options, shared
from archcalc.cli.output import emit_text, tell, watching
from archcalc.engine.setup import settings
from archcalc.errors import WrongUse

ENDINGS = (".html", ".htm")


@app.command()
@shared(BUILDING, INPUT, TRAIN, STEP, KERNELS, PRINTING, form="html", own_endings=True)
def report(
    model: Models,
    on: Annotated[
        str,
        on_option("Also the least time on a device, by layer, and its roofline."),
    ] = "",
    *,
    options: Options,
) -> None:
    """One HTML page that works offline: treemap, timeline of live bytes, layer table; of two models what changed.

    \b
    Examples:
      archcalc report resnet-50 -o report.html
      archcalc report resnet-50 --on h100 --batch 32 -o report.html
      archcalc report gpt2 --train --optimizer adamw -o gpt2.html
      archcalc report resnet-50-v1 resnet-50 -o changes.html
      archcalc report trace.json -o report.html
    """
    from archcalc.studies.full_report import full_report

    _demand_place(model, options)
    start = time.perf_counter()
    with watching("ops computed on values", options.quiet or not options.setup.data) as observer:
        full = full_report(model, options.setup, shlex.join(_typed(model, on, options)), on, observer)
    traced = time.perf_counter()
    emit_text(full.to_page(), options.output, options.quiet)
    if options.verbose:
        tell(f"traced and analysed in {traced - start:.2f} s, page made in {time.perf_counter() - traced:.2f} s")


def _demand_place(models: Sequence[str], options: Options) -> None:
    """WrongUse for a file that is no page, and for a page on a terminal."""
    hint = f"type  archcalc report {' '.join(map(shlex.quote, models))} -o report.html"
    if options.output and Path(options.output).suffix.lower() not in ENDINGS:
        raise WrongUse(f"a report is an HTML page, and {options.output} does not end in .html.", hint)
    if not options.output and sys.stdout is not None and sys.stdout.isatty():
        raise WrongUse("a report is an HTML page of some hundred KB, which a terminal cannot show.", hint)


def _typed(models: Sequence[str], on: str, options: Options) -> Iterator[str]:
    """The words of the command line that was typed."""
    yield from ("archcalc", "report", *models)
    yield from ("--on", on) if on else ()
    if options.train:
        yield "--train"
    for key, value in options.typed.items():
        yield from _option(settings()[key].option, value)
    if options.output:
        yield from ("-o", options.output)


def _option(name: str, value: Any) -> Iterator[str]:
    if value is True:
        yield name
        return
    for each in value if isinstance(value, list | tuple) else [value]:
        yield from (name, str(each))
