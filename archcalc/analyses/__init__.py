"""One trace -> figures. One file an analysis; no torch in this room."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.analyses.backward import Backward
from archcalc.analyses.flops import Flops
from archcalc.analyses.memory import Memory
from archcalc.analyses.params import Params
from archcalc.analyses.report import Analysis, Report, assemble
from archcalc.analyses.shapes import Shapes
from archcalc.analyses.traffic import Traffic
from archcalc.tracing import Trace

ALL: tuple[Analysis, ...] = (Params(), Flops(), Shapes(), Memory(), Traffic(), Backward())


def analyze(trace: Trace, analyses: Sequence[Analysis] = ALL) -> Report:
    """The report of some analyses on one trace: `analyze(trace, [Flops(convention="fvcore"), Memory()])`."""
    forward = trace.of_forward()
    return assemble(trace, [analysis(trace if analysis.of_steps else forward) for analysis in analyses])


__all__ = ["ALL", "Analysis", "Backward", "Flops", "Memory", "Params", "Report", "Shapes", "Traffic", "analyze"]
