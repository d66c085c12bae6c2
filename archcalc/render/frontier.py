"""What fits as a picture: the most sequences over the context, in the terminal by plotext, in a file by matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from archcalc.errors import MissingExtra, one_line

COLUMNS, LINES = 76, 18


@dataclass(frozen=True)
class Frontier:
    """Points of context and largest batch, and the point that was asked for."""

    title: str
    points: Sequence[tuple[int, int]]
    asked: tuple[int, int]


def as_text(frontier: Frontier) -> list[str]:
    """The frontier in characters; MissingExtra without plotext."""
    try:
        import plotext
    except ImportError as error:
        raise MissingExtra("'plotext<6'", "--plot", one_line(error)) from None
    plotext.clear_figure()
    plotext.plot_size(COLUMNS, LINES)
    plotext.theme("clear")
    plotext.title(frontier.title)
    plotext.xlabel("context in tokens")
    plotext.ylabel("largest batch")
    plotext.xscale("log")
    plotext.yscale("log")
    if frontier.points:
        plotext.plot(*map(list, zip(*frontier.points, strict=True)), marker="braille")
    plotext.scatter([frontier.asked[0]], [frontier.asked[1]], marker="*")
    lines = plotext.uncolorize(plotext.build()).splitlines()
    return [line.rstrip() for line in lines if line.strip()]


def as_picture(frontiers: Sequence[Frontier], format_: str) -> bytes:
    """The frontiers, one a model, as the bytes of an SVG, PNG or PDF file; MissingExtra without matplotlib."""
    try:
        from matplotlib import rcParams
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", f"a picture (.{format_})", one_line(error)) from None
    rcParams["svg.hashsalt"] = "archcalc"  # the same file every time
    figure = Figure(figsize=(6.4, 4.0 * len(frontiers)), layout="constrained")
    for number, frontier in enumerate(frontiers, 1):
        axes = figure.add_subplot(len(frontiers), 1, number)
        if frontier.points:
            axes.loglog(*zip(*frontier.points, strict=True), linewidth=1.2, label="what fits")
            contexts, batches = zip(*frontier.points, strict=True)
            axes.fill_between(contexts, batches, 1, alpha=0.15)
        axes.loglog([frontier.asked[0]], [frontier.asked[1]], "*", markersize=9, label="asked for")
        axes.set_title(frontier.title, fontsize=10)
        axes.set_xlabel("context in tokens")
        axes.set_ylabel("largest batch")
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    made = io.BytesIO()
    metadata = {"Date": None} if format_ == "svg" else {"CreationDate": None} if format_ == "pdf" else {}
    figure.savefig(made, format=format_, dpi=150, metadata=metadata)
    return made.getvalue()
