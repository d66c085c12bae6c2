"""Memory of a forward pass without gradients: the peak of live bytes over the run, and who holds them then."""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate
from typing import Any

from archcalc.analyses.report import Analysis
from archcalc.trace import Trace

KEYS = ("params_bytes", "buffers_bytes", "allocated_bytes", "at_peak_bytes")
BILL = {
    "parameter": "params_bytes",
    "buffer": "buffers_bytes",
    "constant": "buffers_bytes",
    "input": "inputs_bytes",
    "activation": "temporaries_bytes",
}
"""The line of the bill that a role belongs to; constants are tensors a model keeps without registering them."""


def memory(trace: Trace) -> Analysis:
    """Bytes by module, and the bill at the peak.

    Figures: `params_bytes` and `buffers_bytes` at their owner, `allocated_bytes` of all tensors a module's ops make
    (views and in-place results make none), `at_peak_bytes` of what it holds at the peak. Totals: `peak_bytes`, and
    the bill at the peak, whose lines add up to it; `output_bytes`; nothing is kept for backward, so
    `saved_total_bytes` is 0.
    """
    live = timeline(trace)
    moment = max(range(len(live)), key=live.__getitem__) if trace.calls else None
    bill = dict.fromkeys(("params", "buffers", "inputs", "saved", "gradients", "optimizer", "temporaries"), 0)
    totals = {f"{line}_bytes": value for line, value in bill.items()}
    own: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(KEYS, 0))
    owners = _owners(trace)
    for number, storage in enumerate(trace.storages):
        figures = own[owners[number]]
        line = BILL[storage.role]
        if storage.role == "activation":
            figures["allocated_bytes"] += storage.bytes
        elif line in KEYS:
            figures[line] += storage.bytes
        if storage.live_at(-1 if moment is None else moment):
            figures["at_peak_bytes"] += storage.bytes
            totals[line] += storage.bytes
    totals["peak_bytes"] = live[moment or 0]
    totals["output_bytes"] = _output_bytes(trace)
    totals["saved_total_bytes"] = 0
    details: dict[str, Any] = {"timeline": live, "peak": None}
    if moment is not None:
        call = trace.calls[moment]
        details["peak"] = {"call": moment, "op": call.op, "path": trace.path(call)}
    return Analysis(KEYS, own, totals, details=details)


def timeline(trace: Trace) -> list[int]:
    """Live bytes during each op call; one number for a run without ops."""
    changes = [0] * (max(1, len(trace.calls)) + 1)
    for storage in trace.storages:
        changes[max(0, storage.birth)] += storage.bytes
        if storage.death is not None:
            changes[min(storage.death, len(changes) - 1)] -= storage.bytes
    return list(accumulate(changes[:-1]))


def _owners(trace: Trace) -> list[str]:
    """For each storage the path of the module that registered it or whose op made it; '' for inputs."""
    owners = [trace.path(trace.calls[s.birth]) if s.birth >= 0 else "" for s in trace.storages]
    for parameter in trace.parameters:
        owners[trace.tensors[parameter.tensor].storage] = parameter.owner
    return owners


def _output_bytes(trace: Trace) -> int:
    return sum(trace.storages[s].bytes for s in {trace.tensors[t].storage for t in trace.output_tensors})
