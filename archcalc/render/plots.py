"""A law as a picture: in the terminal by plotext, in a file by matplotlib. Both are extras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archcalc.render.drawing import characters, figure, label, saved

SMOOTH = 120


class Curve:
    """A law over one knob: `points` of traced members, and the law's own values between them; or another curve.

    `labels` name the line and the points.
    """

    labels = ("law", "traced members")

    def __init__(self, title: str, x: str, y: str, points: Sequence[tuple[int, int]], law: Any) -> None:
        self.title, self.x, self.y, self.points = title, x, y, points
        first, last = points[0][0], points[-1][0]
        steps = [first + (last - first) * n / SMOOTH for n in range(SMOOTH + 1)]
        self.smooth = [(step, float(law(step))) for step in steps]


def as_text(curve: Curve) -> list[str]:
    """The curve in characters; MissingExtra without plotext."""

    def draw(plotext: Any) -> None:
        plotext.plot(*map(list, zip(*curve.smooth, strict=True)), marker="braille")
        plotext.scatter(*map(list, zip(*curve.points, strict=True)), marker="*")

    return characters(curve.title, curve.x, curve.y, draw)


def as_picture(curve: Curve, format_: str) -> bytes:
    """The curve as the bytes of an SVG, PNG or PDF file; MissingExtra without matplotlib."""
    drawing = figure(6.4, 4.0, f"a picture (.{format_})")
    axes = drawing.subplots()
    axes.plot(*zip(*curve.smooth, strict=True), linewidth=1.2, label=curve.labels[0])
    axes.plot(*zip(*curve.points, strict=True), "o", markersize=4, label=curve.labels[1])
    label(axes, curve.title, curve.x, curve.y)
    return saved(drawing, format_)
