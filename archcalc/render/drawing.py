"""The parts that pictures share: characters by plotext, a figure and its file by matplotlib. Both are extras."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from archcalc.errors import MissingExtra, one_line

SUFFIXES = (".svg", ".png", ".pdf")
"""Endings of files that are pictures."""
COLUMNS = 76


def characters(title: str, x: str, y: str, draw: Callable[[Any], None], lines: int = 18) -> list[str]:
    """The lines of a picture in characters; `draw` gets plotext. MissingExtra without it."""
    try:
        import plotext
    except ImportError as error:
        raise MissingExtra("'plotext<6'", "--plot", one_line(error)) from None
    plotext.clear_figure()
    plotext.plot_size(COLUMNS, lines)
    plotext.theme("clear")
    plotext.title(title)
    plotext.xlabel(x)
    plotext.ylabel(y)
    draw(plotext)
    drawn = plotext.uncolorize(plotext.build()).splitlines()
    return [line.rstrip() for line in drawn if line.strip()]


def figure(width: float, height: float, asked: str = "a picture") -> Any:
    """An empty figure of a size in inches, for what was `asked`; MissingExtra without matplotlib."""
    try:
        from matplotlib import rcParams
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", asked, one_line(error)) from None
    rcParams["svg.hashsalt"] = "archcalc"  # the same file every time
    return Figure(figsize=(width, height), layout="constrained")


def label(axes: Any, title: str, x: str, y: str) -> None:
    """Write a title, the names of both axes and a legend, and leave the lines above and at the right out."""
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def saved(drawing: Any, format_: str, dpi: int = 150) -> bytes:
    """The bytes of an SVG, PNG or PDF file, without a date."""
    made = io.BytesIO()
    metadata = {"Date": None} if format_ == "svg" else {"CreationDate": None} if format_ == "pdf" else {}
    drawing.savefig(made, format=format_, dpi=dpi, metadata=metadata)
    return made.getvalue()
