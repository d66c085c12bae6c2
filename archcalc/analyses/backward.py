"""Work of the backward pass by the same formulas, from the ops that backward runs: no factor of two."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import ClassVar

from archcalc.analyses.conventions import contractions
from archcalc.analyses.recomputation import recomputed
from archcalc.analyses.report import Finding
from archcalc.ops.registry import operations_of
from archcalc.tracing import Trace

KEYS = ("backward_macs", "backward_elementwise_flops", "recomputed_macs", "recomputed_elementwise_flops")


@dataclass(frozen=True)
class Backward:
    """Work of a training step's backward pass, at the module whose forward it differentiates; 0 without a step.

    `backward_macs` of contractions and `backward_elementwise_flops` of all other operations. What is frozen or needs no
    gradient has no work here. `recomputed_macs` and `recomputed_elementwise_flops` are the parts of both that compute
    again what forward had computed, as checkpointed layers do. Totals add `backward_uncounted`, the ops of backward
    without a rule (the elementwise totals are then lower bounds).
    """

    of_steps: ClassVar[bool] = True

    def __call__(self, trace: Trace) -> Finding:
        """Count the ops of the first step's backward pass."""
        own: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(KEYS, 0))
        uncounted = set()
        if trace.steps:
            step, macs = trace.steps[0], contractions(trace)
            again = recomputed(trace, step)
            for number in range(step.backward, step.optimizer):
                call = trace.calls[number]
                figures, operations = own[trace.path(call)], operations_of(trace, call)
                if operations is None:
                    uncounted.add(call.op)
                for key, work in (("macs", macs.get(number, 0)), ("elementwise_flops", operations or 0)):
                    figures[f"backward_{key}"] += work
                    figures[f"recomputed_{key}"] += work if number in again else 0
        return Finding(KEYS, own, {"backward_uncounted": sorted(uncounted)})
