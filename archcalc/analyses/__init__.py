"""Trace -> Report. One file an analysis; here is the list of them. No torch in this room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from archcalc.analyses.backward import backward
from archcalc.analyses.flops import flops
from archcalc.analyses.memory import memory
from archcalc.analyses.params import params
from archcalc.analyses.report import Analysis, Report, assemble
from archcalc.analyses.shapes import shapes
from archcalc.tracing import Trace

ANALYSES: dict[str, Callable[[Trace], Analysis]] = {
    "params": params,
    "flops": flops,
    "shapes": shapes,
    "memory": memory,
    "backward": backward,
}
OF_STEPS = ("memory", "backward")
"""The analyses that look at whole training steps; the others at one forward pass."""


def analyze(trace: Trace, names: Sequence[str] = tuple(ANALYSES), convention: str = "archcalc") -> Report:
    """The report of the named analyses (all of them by default) on one trace; `convention` is how MACs are counted."""
    chosen: dict[str, Callable[[Trace], Analysis]] = {**ANALYSES, "flops": partial(flops, convention=convention)}
    forward = trace.of_forward()
    return assemble(trace, [chosen[name](trace if name in OF_STEPS else forward) for name in names])
