"""A law as a picture: in the terminal by plotext, in a file by matplotlib. Both are extras."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from archcalc.errors import MissingExtra, one_line

SUFFIXES = (".svg", ".png", ".pdf")
"""Endings of files that are pictures."""
COLUMNS, LINES, SMOOTH = 76, 18, 120


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
    try:
        import plotext
    except ImportError as error:
        raise MissingExtra("'plotext<6'", "--plot", one_line(error)) from None
    plotext.clear_figure()
    plotext.plot_size(COLUMNS, LINES)
    plotext.theme("clear")
    plotext.title(curve.title)
    plotext.xlabel(curve.x)
    plotext.ylabel(curve.y)
    plotext.plot(*map(list, zip(*curve.smooth, strict=True)), marker="braille")
    plotext.scatter(*map(list, zip(*curve.points, strict=True)), marker="*")
    lines = plotext.uncolorize(plotext.build()).splitlines()
    return [line.rstrip() for line in lines if line.strip()]


def as_picture(curve: Curve, format_: str) -> bytes:
    """The curve as the bytes of an SVG, PNG or PDF file; MissingExtra without matplotlib."""
    try:
        from matplotlib import rcParams
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("matplotlib", f"a picture (.{format_})", one_line(error)) from None
    rcParams["svg.hashsalt"] = "archcalc"  # the same file every time
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*curve.smooth, strict=True), linewidth=1.2, label=curve.labels[0])
    axes.plot(*zip(*curve.points, strict=True), "o", markersize=4, label=curve.labels[1])
    axes.set_title(curve.title, fontsize=10)
    axes.set_xlabel(curve.x)
    axes.set_ylabel(curve.y)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()
    metadata = {"Date": None} if format_ == "svg" else {"CreationDate": None} if format_ == "pdf" else {}
    figure.savefig(picture, format=format_, dpi=150, metadata=metadata)
    return picture.getvalue()
