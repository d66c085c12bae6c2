"""`archcalc init`."""

from __future__ import annotations

from pathlib import Path

from archcalc import engine
from archcalc.cli.app import Models, app
from archcalc.cli.options import BUILDING, INPUT, PRINTING, Options, shared
from archcalc.cli.output import emit_text
from archcalc.errors import WrongUse


@app.command()
@shared(BUILDING, INPUT, PRINTING, form="toml")
def init(model: Models, *, options: Options) -> None:
    """Propose checks for models, from today's figures: a section to paste into pyproject.toml.

    \b
    Examples:
      archcalc init mynet.py:Net -i 1x3x224x224 >> pyproject.toml
      archcalc init mynet.py:Net -i 1x3x224x224 -o archcalc.toml
    """
    from archcalc.studies.guard.proposal import proposal

    engine.demand_known(*model)
    own = bool(options.output) and Path(options.output).name != "pyproject.toml"
    if options.output and Path(options.output).exists():
        raise WrongUse(f"{options.output} exists already.", "print the section and paste it:  archcalc init MODEL")
    settings = dict(options.typed) | ({"set": dict(options.setup.knobs)} if options.setup.knobs else {})
    text = proposal(model, options.setup, settings, "check" if own else "tool.archcalc.check")
    emit_text(text, options.output, options.quiet)
