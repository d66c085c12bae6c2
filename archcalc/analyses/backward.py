"""MACs of the backward pass by the same formulas, from the ops that backward runs: no factor of two."""

from __future__ import annotations

from collections import defaultdict

from archcalc.analyses.conventions import contractions
from archcalc.analyses.report import Analysis
from archcalc.tracing import Trace

KEYS = ("backward_macs",)


def backward(trace: Trace) -> Analysis:
    """`backward_macs` of a training step, at the module whose forward they differentiate; 0 without a step.

    What is frozen or needs no gradient has no work here. Layers that are checkpointed run forward again: those MACs
    are part of backward's.
    """
    own: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(KEYS, 0))
    if trace.steps:
        step = trace.steps[0]
        for number, macs in contractions(trace).items():
            if step.backward <= number < step.optimizer:
                own[trace.path(trace.calls[number])]["backward_macs"] += macs
    return Analysis(KEYS, own)
