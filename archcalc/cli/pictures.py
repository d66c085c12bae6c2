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


def picture_format(options: Options, models: Sequence[object]) -> str:
    """'svg', 'png' or 'pdf', '' for an answer in text. WrongUse for several models, and for a format beside it."""
    suffix = Path(options.output).suffix.lower()
    if suffix not in SUFFIXES:
        return ""
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
