"""`archcalc check`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archcalc.cli.answer import emit_documents
from archcalc.cli.app import app
from archcalc.cli.options import PRINTING, Options, shared
from archcalc.cli.output import demand_ending, demand_output, emit_text, files_named, tell, watching
from archcalc.errors import writing

if TYPE_CHECKING:
    from archcalc.studies.guard.config import Check


FOR_CI = ("github", "junit", "sarif")
"""Formats for CI services, in render/formats/ci.py."""


@app.command()
@shared("no_cache", PRINTING, further=FOR_CI, own_endings=True)
def check(
    file: Annotated[
        str,
        typer.Argument(metavar="[FILE]", help="The file; default: archcalc.toml, else pyproject.toml, of this folder."),
    ] = "",
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Only this check; repeatable.")
    ] = None,
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
    from archcalc.render.pages import check as page
    from archcalc.studies.guard import check as study

    demand_output(options.output, study.FILES)
    demand_ending(options.output, bool(options.format_) or options.json_, form="", draws=False)
    path = study.found_file(file)
    wanted = study.checks_of(path, only or ())
    demand_output(options.output, [path, *_beside(path, wanted)])
    if options.format_ == "github":
        _append_job_summary("")  # a place that cannot be written is told before any model is traced
    if update:
        for written in study.update_baselines(path, wanted):
            if not options.quiet:
                tell(f"wrote {written}")
        return
    with watching("checks done", options.quiet) as observer:
        done = study.run(path, wanted, observer)
    if options.format_ in FOR_CI:
        from archcalc.render.formats.ci import CI_FORMATS, job_summary

        emit_text(CI_FORMATS[options.format_](done), options.output, options.quiet)
        if options.format_ == "github":
            _append_job_summary(job_summary(done))
    else:
        emit_documents([page.checks(done)], options)
    if code := study.exit_code(done):
        raise typer.Exit(code)


def _beside(path: str, checks: Sequence[Check]) -> list[str]:
    """The files of models and baselines, which are relative to the file of the checks."""
    folder = Path(path).parent
    return [str(folder / name) for check in checks for name in files_named((check.model, check.baseline)) if name]


def _append_job_summary(text: str) -> None:
    """Append to GitHub's job summary, if there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        with writing(path), Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
