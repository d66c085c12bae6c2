"""The roofline of a device with the layers of a run as points: in the terminal by plotext, in a file by matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from archcalc.analyses.bound import FEMTO, MOVED, Bounds
from archcalc.analyses.report import Report
from archcalc.render.drawing import characters, figure, label, saved

LINES, STEPS = 20, 60
INTENSITY = "FLOP a byte"
GIGA = 1e9


@dataclass(frozen=True)
class Roofline:
    """Layers as points of FLOP a byte and FLOP/s at most; the roof of the fastest type of numbers that they use."""

    title: str
    points: Sequence[tuple[float, float]]
    peak: float
    bandwidth: float

    @property
    def ridge(self) -> float:
        """FLOP a byte where memory and arithmetic take the same time."""
        return self.peak / self.bandwidth

    def roof(self) -> list[tuple[float, float]]:
        """Points of the roof, from left of the first layer to right of the ridge."""
        left = min([x for x, _ in self.points] + [self.ridge]) / 2
        right = max([x for x, _ in self.points] + [self.ridge]) * 2
        steps = [left * (right / left) ** (n / STEPS) for n in range(STEPS + 1)]
        corners = sorted([*steps, self.ridge])
        return [(x, min(self.peak, x * self.bandwidth)) for x in corners]


def roofline(typed: str, report: Report) -> Roofline:
    """The picture of a report with a bound: a point for each module that multiplies itself."""
    bounds = report.record(Bounds)
    hardware = bounds.hardware
    own = [layer.own for layer in report.root.walk() if layer.own["product_flops"] and layer.own[MOVED]]
    points = [(f["product_flops"] / f[MOVED], f["product_flops"] * FEMTO / f["bound_fs"]) for f in own]
    peak = bounds.peak or max(hardware.peaks.values())
    title = f"{report.trace.model.name} on {typed}: ridge at {peak / (hardware.bandwidth or 1):.0f} FLOP/byte"
    return Roofline(title, points, peak, hardware.bandwidth or 1)


def as_text(picture: Roofline) -> list[str]:
    """The roofline in characters; MissingExtra without plotext."""

    def draw(plotext: Any) -> None:
        plotext.xscale("log")
        plotext.yscale("log")
        xs, ys = zip(*picture.roof(), strict=True)
        plotext.plot(list(xs), [y / GIGA for y in ys], marker="braille")
        if picture.points:
            xs, ys = zip(*picture.points, strict=True)
            plotext.scatter(list(xs), [y / GIGA for y in ys], marker="*")

    return characters(picture.title, INTENSITY, "GFLOP/s at most", draw, LINES)


def as_picture(pictures: Sequence[Roofline], format_: str) -> bytes:
    """The rooflines, one a device, as the bytes of an SVG, PNG or PDF file; MissingExtra without matplotlib."""
    drawing = figure(6.4, 4.0 * len(pictures), f"a picture (.{format_})")
    for number, picture in enumerate(pictures, 1):
        axes = drawing.add_subplot(len(pictures), 1, number)
        axes.loglog(*zip(*picture.roof(), strict=True), linewidth=1.2, label="roof")
        if picture.points:
            axes.loglog(*zip(*picture.points, strict=True), "o", markersize=4, alpha=0.6, label="layers")
        axes.axvline(picture.ridge, linewidth=0.8, linestyle=":", label="ridge")
        label(axes, picture.title, INTENSITY, "FLOP/s at most")
    return saved(drawing, format_)
