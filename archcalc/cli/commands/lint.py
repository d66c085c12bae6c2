"""`archcalc lint`."""

from __future__ import annotations

from typing import Annotated

import typer

from archcalc import engine
from archcalc.cli.answer import emit_documents
from archcalc.cli.app import Models, app
from archcalc.cli.options import BUILDING, INPUT, PRINTING, STEP, TRAIN, Options, shared
from archcalc.cli.output import emit_text


@app.command()
@shared(BUILDING, INPUT, TRAIN, STEP, PRINTING, further=("github", "sarif"))
def lint(
    model: Models,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="RULE", help="Only these rules: G1,G2.")] = None,
    threshold: Annotated[
        list[str] | None, typer.Option("--threshold", metavar="RULE=N", help="The most that a rule lets pass.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="[RULE:]GLOB", help="Layers to leave out; repeatable.")
    ] = None,
    *,
    options: Options,
) -> None:
    """The four guidelines for fast networks as findings with numbers, and faults that a trace proves.

    \b
    Examples:
      archcalc lint shufflenet-v1
      archcalc lint resnet-50 --only G1,G3 --threshold G1=1.5
      archcalc lint mynet.py:Net --train --ignore 'C1:head*'

    Further formats: github (annotations), sarif. Findings do not fail: the exit code is 0.
    """
    from archcalc.analyses.lint.lint import lint as findings
    from archcalc.analyses.lint.lint import strictness_of
    from archcalc.render.formats.ci import LINT_FORMATS
    from archcalc.render.pages import lint as page

    strictness = strictness_of(only or (), threshold or (), ignore or ())
    engine.demand_known(*model)
    found = [findings(engine.trace(reference, options.setup), strictness) for reference in model]
    if options.format_ in LINT_FORMATS:
        emit_text(LINT_FORMATS[options.format_](found), options.output, options.quiet)
    else:
        emit_documents([page.lint(linted) for linted in found], options)
