"""MACs of the backward pass by the same formulas, from the ops that backward runs: no factor of two."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import ClassVar

from archcalc.analyses.conventions import contractions
from archcalc.analyses.report import Finding
from archcalc.tracing import Trace

KEYS = ("backward_macs",)


@dataclass(frozen=True)
class Backward:
    """`backward_macs` of a training step, at the module whose forward they differentiate; 0 without a step.

    What is frozen or needs no gradient has no work here. Layers that are checkpointed run forward again: those MACs
    are part of backward's.
    """

    of_steps: ClassVar[bool] = True

    def __call__(self, trace: Trace) -> Finding:
        """Count the contractions of the first step's backward pass."""
        own: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(KEYS, 0))
        if trace.steps:
            step = trace.steps[0]
            for number, macs in contractions(trace).items():
                if step.backward <= number < step.optimizer:
                    own[trace.path(trace.calls[number])]["backward_macs"] += macs
        return Finding(KEYS, own)
