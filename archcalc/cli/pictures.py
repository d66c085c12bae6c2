"""Whether a command line asks for a picture, by the ending of its output file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from archcalc.cli.options import Options
from archcalc.errors import WrongUse
from archcalc.render.drawing import SUFFIXES

if TYPE_CHECKING:
    from archcalc.analyses.report import Report

DRAWN = "params, flops, traffic, memory, memory --timeline, speed --on, law --over, sweep --pareto"
"""The commands with a picture."""


def picture_format(options: Options, models: Sequence[object], draws: bool = True) -> str:
    """'svg', 'png' or 'pdf', '' for an answer in text. WrongUse for several models, or a command without a picture."""
    suffix = Path(options.output).suffix.lower()
    if suffix not in SUFFIXES:
        return ""
    if not draws:
        raise WrongUse(f"this answer has no picture ({suffix}).", f"write .txt, or draw one of  {DRAWN}")
    if options.json_ or options.format_:
        raise WrongUse(f"a picture ({suffix}) has no other format.", "leave out  -f  or  --json")
    if len(models) > 1:
        raise WrongUse(f"a picture is of one model; here are {len(models)}.", "name one")
    return suffix.removeprefix(".")


def treemap_of(figure: str) -> Callable[[Report, str], bytes]:
    """The picture of a figure by layer."""

    def drawn(report: Report, format_: str) -> bytes:
        from archcalc.render.pictures import treemap

        return treemap(report, figure, format_)

    return drawn
