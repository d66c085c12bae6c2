"""A picture of the largest batches that fit over the context: in the terminal by plotext, in a file by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from archcalc.render.drawing import characters, figure, label, saved

CONTEXT, BATCH = "context in tokens", "largest batch"


@dataclass(frozen=True)
class Frontier:
    """Points of context and largest batch, and the point that was asked for."""

    title: str
    points: Sequence[tuple[int, int]]
    asked: tuple[int, int]


def as_text(frontier: Frontier) -> list[str]:
    """The frontier in characters; MissingExtra without plotext."""

    def draw(plotext: Any) -> None:
        plotext.xscale("log")
        plotext.yscale("log")
        if frontier.points:
            plotext.plot(*map(list, zip(*frontier.points, strict=True)), marker="braille")
        plotext.scatter([frontier.asked[0]], [frontier.asked[1]], marker="*")

    return characters(frontier.title, CONTEXT, BATCH, draw)


def as_picture(frontiers: Sequence[Frontier], format_: str) -> bytes:
    """The frontiers, one a model, as the bytes of an SVG, PNG or PDF file; MissingExtra without matplotlib."""
    drawing = figure(6.4, 4.0 * len(frontiers), f"a picture (.{format_})")
    for number, frontier in enumerate(frontiers, 1):
        axes = drawing.add_subplot(len(frontiers), 1, number)
        if frontier.points:
            axes.loglog(*zip(*frontier.points, strict=True), linewidth=1.2, label="what fits")
            contexts, batches = zip(*frontier.points, strict=True)
            axes.fill_between(contexts, batches, 1, alpha=0.15)
        axes.loglog([frontier.asked[0]], [frontier.asked[1]], "*", markersize=9, label="asked for")
        label(axes, frontier.title, CONTEXT, BATCH)
    return saved(drawing, format_)
