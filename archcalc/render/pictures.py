"""Pictures for papers, a column wide: where a figure goes, live bytes over a run, and the Pareto front of a sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from archcalc.analyses.memory import LiveBytes
from archcalc.analyses.metrics import metric_named
from archcalc.analyses.report import Layer, Report
from archcalc.errors import WrongUse
from archcalc.render.drawing import figure, saved
from archcalc.studies.sweep.sweep import Swept
from archcalc.text import units
from archcalc.text.visible import visible

COLUMN, HEIGHT = 3.4, 2.4
"""Inches: a column of a paper in two columns."""
FONT = 7
MIB = 2**20
LEAST_LABEL = 0.012
"""Share of the area below which a rectangle has no room for its name."""


@dataclass(frozen=True)
class Rectangle:
    """A part of the picture whose area is its value: name, value, place and size in shares of the whole."""

    name: str
    value: int
    x: float
    y: float
    w: float
    h: float


def treemap(report: Report, key: str, format_: str) -> bytes:
    """A figure of a report by layer as areas, two levels deep; WrongUse if it is 0 everywhere."""
    if not report.totals[key]:
        raise WrongUse(f"no layer of {report.trace.model.name} has any of {key}: there is nothing to draw.")
    drawing, axes = _figure()
    shown = units.size if key.endswith("_bytes") else units.si
    for number, outer in enumerate(areas(_parts(report.root, key), 0, 0, 1, HEIGHT / COLUMN)):
        layer = report.layers.get(outer.name)
        inner = _parts(layer, key) if layer is not None and layer.children else []
        colour = f"C{number % 10}"
        for part in areas(inner, outer.x, outer.y, outer.w, outer.h) if len(inner) > 1 else [outer]:
            _rectangle(axes, part, colour, 0.35, 0.4)
        _rectangle(axes, outer, "none", 1.0, 1.0)
        if outer.w * outer.h > LEAST_LABEL:
            text = f"{visible(outer.name) or 'itself'}\n{shown(outer.value)}"
            axes.text(outer.x + outer.w / 2, outer.y + outer.h / 2, text, ha="center", va="center", clip_on=True)
    axes.set_xlim(0, 1)
    axes.set_ylim(HEIGHT / COLUMN, 0)
    axes.axis("off")
    axes.set_title(f"{visible(report.trace.model.name)}: {shown(report.totals[key])} in all")
    return _saved(drawing, format_)


def _parts(layer: Layer, key: str) -> list[tuple[str, int]]:
    """The parts of a module: the layers inside, and its own key under the module's name."""
    parts = [(child.path, int(child.total[key])) for child in layer.children]
    own = (f"{layer.path} (itself)" if layer.path else "", int(layer.own[key]))
    return [(name, value) for name, value in [*parts, own] if value]


def areas(parts: Sequence[tuple[str, int]], x: float, y: float, w: float, h: float) -> Iterator[Rectangle]:
    """Rectangles that fill a place and whose areas are the values: halves by value, cut along the longer side.

    >>> [(r.name, r.w * r.h) for r in areas([("a", 3), ("b", 1)], 0, 0, 2, 2)]
    [('a', 3.0), ('b', 1.0)]
    """
    ordered = sorted(parts, key=lambda part: -part[1])
    if len(ordered) == 1:
        yield Rectangle(*ordered[0], x, y, w, h)
    if len(ordered) < 2:
        return
    total, first, cut = sum(value for _, value in ordered), ordered[0][1], 1
    while cut < len(ordered) - 1 and first + ordered[cut][1] <= total / 2:
        first, cut = first + ordered[cut][1], cut + 1
    share = first / total
    if w >= h:
        yield from areas(ordered[:cut], x, y, w * share, h)
        yield from areas(ordered[cut:], x + w * share, y, w * (1 - share), h)
    else:
        yield from areas(ordered[:cut], x, y, w, h * share)
        yield from areas(ordered[cut:], x, y + h * share, w, h * (1 - share))


def _rectangle(axes: Any, place: Rectangle, colour: str, alpha: float, line: float) -> None:
    from matplotlib.patches import Rectangle as Patch

    filled = colour != "none"
    patch = Patch((place.x, place.y), place.w, place.h, facecolor=colour, edgecolor="white" if filled else "black")
    patch.set(linewidth=line, alpha=alpha if filled else None)
    axes.add_patch(patch)


def timeline(report: Report, format_: str) -> bytes:
    """Live bytes during each op call of the pass or the steady step, its phases and its peak."""
    record = report.record(LiveBytes)
    start, end = record.span
    live = [bytes_ / MIB for bytes_ in record.timeline[start:end]]
    drawing, axes = _figure()
    axes.stairs(live, fill=True, alpha=0.35, linewidth=0, color="C0")
    axes.stairs(live, linewidth=0.8, baseline=None, color="C0")
    at = 0
    for phase, calls in groupby(call.phase for call in report.trace.calls[start:end]):
        length = len(list(calls))
        if at:
            axes.axvline(at, linewidth=0.5, linestyle=":", color="grey")
        if length > len(live) / 10:
            axes.text(at + length / 2, 0.02, phase, ha="center", transform=axes.get_xaxis_transform())
        at += length
    axes.axhline(max(live), linewidth=0.6, linestyle="--", color="C3")
    axes.set(xlabel="op call", ylabel="live MiB", xlim=(0, max(1, len(live))), ylim=(0, max(live) * 1.1 or 1))
    axes.set_title(f"{visible(report.trace.model.name)}: peak {units.size(report.peak_bytes)}")
    axes.spines[["top", "right"]].set_visible(False)
    return _saved(drawing, format_)


def pareto(swept: Swept, format_: str) -> bytes:
    """The members of a sweep in the two figures of its front; those on the front are joined."""
    if not swept.front:
        raise WrongUse("the picture of a sweep is its Pareto front.", "add  --pareto macs,params:max")
    (first, _), (second, _) = swept.front
    points = [(row[first], row[second]) for row in swept.rows]
    best = sorted((row[first], row[second]) for row in swept.rows if row["pareto"])
    drawing, axes = _figure()
    if points:
        axes.plot(*zip(*points, strict=True), "o", markersize=3, alpha=0.45, label="members")
        axes.plot(*zip(*best, strict=True), "o-", markersize=3.5, linewidth=0.8, color="C3", label="front")
        axes.legend(frameon=False)
    axes.set(xlabel=metric_named(first).words, ylabel=metric_named(second).words)
    axes.set_title(visible(swept.reference))
    axes.spines[["top", "right"]].set_visible(False)
    return _saved(drawing, format_)


def _figure() -> tuple[Any, Any]:
    """A figure of a column's width with one pair of axes; MissingExtra without matplotlib."""
    drawing = figure(COLUMN, HEIGHT)
    return drawing, drawing.subplots()


def _saved(drawing: Any, format_: str) -> bytes:
    """The bytes of an SVG, PNG or PDF file; letters are of one size."""
    from matplotlib.text import Text

    for text in drawing.findobj(Text):
        text.set_fontsize(FONT)
        text.set_parse_math(False)  # names of other people are no formulas
    return saved(drawing, format_, dpi=300)
