"""One trace -> figures. One file an analysis; no torch in this room. An analysis is imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from archcalc.analyses.backward import Backward
    from archcalc.analyses.flops import Flops
    from archcalc.analyses.memory import Memory
    from archcalc.analyses.params import Params
    from archcalc.analyses.report import Analysis, Report
    from archcalc.analyses.shapes import Shapes
    from archcalc.analyses.traffic import Traffic
    from archcalc.tracing import Trace

    ALL: tuple[Analysis, ...]

PLACES = {
    "Params": "params",
    "Flops": "flops",
    "Shapes": "shapes",
    "Memory": "memory",
    "Traffic": "traffic",
    "Backward": "backward",
    "Analysis": "report",
    "Report": "report",
}
"""The files of the names of this room."""
ANALYSES = ("Params", "Flops", "Shapes", "Memory", "Traffic", "Backward")


def analyze(trace: Trace, analyses: Sequence[Analysis] | None = None) -> Report:
    """The report of some analyses on one trace: `analyze(trace, [Flops(convention="fvcore"), Memory()])`.

    All of them without any.
    """
    from archcalc.analyses.report import assemble
    from archcalc.tracing.uncollected import uncollected

    forward = trace.of_forward()
    chosen = __getattr__("ALL") if analyses is None else analyses
    with uncollected():  # figures hold no cycles, and the collector would look at all that the program has
        return assemble(trace, [analysis(trace if analysis.of_steps else forward) for analysis in chosen])


def __getattr__(name: str) -> Any:
    if name == "ALL":
        return tuple(__getattr__(analysis)() for analysis in ANALYSES)
    if name not in PLACES:
        raise AttributeError(f"module 'archcalc.analyses' has no attribute '{name}'")
    return getattr(import_module(f"archcalc.analyses.{PLACES[name]}"), name)


__all__ = ["ALL", "Analysis", "Backward", "Flops", "Memory", "Params", "Report", "Shapes", "Traffic", "analyze"]
