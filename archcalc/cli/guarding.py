"""Commands that guard a project's models: budgets, snapshots, differences."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from archcalc.cli.base import Models, app, emit_documents, format_of
from archcalc.cli.options import (
    BUILDING,
    KERNELS,
    PRINTING,
    STEP,
    Options,
    shared,
)
from archcalc.cli.output import emit_text
from archcalc.errors import WrongUse


@app.command()
@shared(PRINTING)
def check(
    file: Annotated[str, typer.Argument(metavar="[FILE]", help="archcalc.toml or pyproject.toml of this folder.")] = "",
    only: Annotated[list[str] | None, typer.Option("--only", metavar="NAME", help="This check; repeatable.")] = None,
    update: Annotated[
        bool, typer.Option("--update-baseline", help="Write today's figures to the checks' baselines.")
    ] = False,
    *,
    options: Options,
) -> None:
    """Budgets and shapes of pyproject.toml, for CI; exit 1 where one fails, 3 where a model cannot be analysed.

    \b
    Examples:
      archcalc check
      archcalc check --format github
      archcalc check --update-baseline

    Further formats: github (annotations and job summary), junit, sarif.
    """
    from archcalc.render.formats.ci import CI_FORMATS
    from archcalc.render.pages.check import checks
    from archcalc.studies.guard import check as checking

    if options.json_ or options.format_ not in CI_FORMATS:
        format_of(options, CI_FORMATS)  # a wrong one is told before any model is traced
    path = checking.found_file(file)
    wanted = checking.checks_of(path, only or ())
    if update:
        for written in checking.update_baselines(path, wanted):
            if not options.quiet:
                print(f"wrote {written}", file=sys.stderr)
        return
    done = checking.run(path, wanted, options.quiet)
    if options.format_ in CI_FORMATS:
        emit_text(CI_FORMATS[options.format_](done), options.output, options.quiet)
        if options.format_ == "github":
            checking.write_job_summary(done)
    else:
        emit_documents([checks(done)], options)
    if code := checking.exit_code(done):
        raise typer.Exit(code)


@app.command()
@shared(BUILDING, PRINTING)
def init(model: Models, *, options: Options) -> None:
    """Propose checks for models, from today's figures: a section to paste into pyproject.toml.

    \b
    Examples:
      archcalc init mynet.py:Net -i 1x3x224x224 >> pyproject.toml
      archcalc init mynet.py:Net -i 1x3x224x224 -o archcalc.toml
    """
    from archcalc.studies.guard.check import proposal

    own = bool(options.output) and Path(options.output).name != "pyproject.toml"
    if options.output and Path(options.output).exists():
        raise WrongUse(f"{options.output} exists already.", "print the section and paste it:  archcalc init MODEL")
    settings = {
        "input": list(options.input_),
        "inputs": options.inputs,
        "set": dict(options.setup.knobs),
        "batch": options.batch,
        "size": options.size,
        "seq_len": options.seq_len,
        "dtype": options.dtype if options.dtype != "float32" else "",
        "mode": options.mode if options.mode != "eval" else "",
    }
    text = proposal(model, options.setup, settings, "check" if own else "tool.archcalc.check")
    emit_text(text, options.output, options.quiet)


@app.command()
@shared(BUILDING, STEP, KERNELS, PRINTING)
def snapshot(
    model: Models,
    train: Annotated[bool, typer.Option("--train", help="Also the peak of a training step.")] = False,
    *,
    options: Options,
) -> None:
    """Figures by layer as a byte-stable file to review and to diff: no times, no paths, one layer a line.

    \b
    Examples:
      archcalc snapshot resnet-18 -o .archcalc/resnet.json
      archcalc snapshot mynet.py:Net -i 1x3x224x224 --train -o .archcalc/net.json
    """
    from archcalc.studies.guard.snapshot import to_json
    from archcalc.studies.guard.take import taken

    setup = replace(options, train=train).setup
    emit_text(to_json([taken(reference, setup, train) for reference in model]), options.output, options.quiet)


@app.command()
@shared(BUILDING, PRINTING)
def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="A model, a snapshot or a stored trace.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="Another one.")],
    all_: Annotated[bool, typer.Option("--all", help="Every changed layer, those that only moved, too.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 1 where something changed.")] = False,
    *,
    options: Options,
) -> None:
    """What changed between two networks, layer by layer, through renames and insertions.

    \b
    Examples:
      archcalc diff .archcalc/net.json mynet.py:Net -i 1x3x224x224
      archcalc diff resnet-50-v1 resnet-50
      archcalc diff old.json new.json -f md --exit-code
    """
    from archcalc.studies.guard.compared import compared

    documents, changed = compared(old, new, options.setup, everything=all_)
    emit_documents(documents, options)
    if exit_code and changed:
        raise typer.Exit(1)
