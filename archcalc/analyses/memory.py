"""Memory over a run: the peak of live bytes, the bill at that moment, and who holds what.

A forward pass without gradients, or training steps: then the peak is that of the second step, the steady state.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate
from typing import Any

from archcalc.analyses.report import Analysis
from archcalc.tracing import Storage, Trace

KEYS = ("params_bytes", "buffers_bytes", "allocated_bytes", "at_peak_bytes", "kept_bytes")
BILL = {
    "parameter": "params_bytes",
    "buffer": "buffers_bytes",
    "constant": "buffers_bytes",
    "input": "inputs_bytes",
    "saved": "saved_bytes",
    "gradient": "gradients_bytes",
    "optimizer": "optimizer_bytes",
    "activation": "temporaries_bytes",
    "workspace": "temporaries_bytes",
}
"""The line of the bill that a role belongs to; constants are tensors a model keeps without registering them."""
MADE = ("saved", "activation")
HELD = {
    "parameter": "parameters",
    "buffer": "buffers",
    "constant": "constants",
    "input": "inputs",
    "gradient": "gradients",
    "optimizer": "optimizer state",
    "workspace": "workspaces of libraries",
}
"""What is named by the op that made it, and the words for everything else."""
LINES = ("params", "buffers", "inputs", "saved", "gradients", "optimizer", "temporaries")


def memory(trace: Trace) -> Analysis:
    """Bytes by module, and the bill at the peak.

    Figures: `params_bytes` and `buffers_bytes` at their owner, `allocated_bytes` of all tensors that a module's ops
    make in forward (views and in-place results make none), `at_peak_bytes` of what it holds at the peak, `kept_bytes`
    of what autograd keeps at the end of forward, at the module whose op made it. Totals: `peak_bytes`, and the bill at
    the peak, whose lines add up to it; `output_bytes`; `saved_total_bytes`, the sum of what is kept;
    `first_step_peak_bytes` for training steps.
    """
    live = timeline(trace)
    start, end = (trace.steps[-1].start, trace.steps[-1].end) if trace.steps else (0, len(live))
    moment = max(range(start, end), key=live.__getitem__)
    totals = {f"{line}_bytes": 0 for line in LINES}
    own: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(KEYS, 0))
    owners = _owners(trace)
    for number, storage in enumerate(trace.storages):
        figures, line = own[owners[number]], BILL[storage.role]
        if line in KEYS:
            figures[line] += storage.bytes
        elif _made_in_forward(trace, storage):
            figures["allocated_bytes"] += storage.bytes
        if storage.live_at(moment if trace.calls else -1):
            figures["at_peak_bytes"] += storage.bytes
            totals[line] += storage.bytes
        if trace.steps and storage.role == "saved" and _kept(storage, trace.steps[-1].loss):
            figures["kept_bytes"] += storage.bytes
    if trace.calls:
        scratch = trace.calls[moment].scratch
        own[trace.path(trace.calls[moment])]["at_peak_bytes"] += scratch
        totals["temporaries_bytes"] += scratch
    totals["peak_bytes"] = live[moment]
    totals["output_bytes"] = _output_bytes(trace)
    totals["saved_total_bytes"] = sum(figures["kept_bytes"] for figures in own.values())
    if trace.steps:
        totals["first_step_peak_bytes"] = max(live[: trace.steps[0].end])
    details: dict[str, Any] = {"timeline": live, "span": (start, end), "peak": None, "holders": ()}
    if trace.calls:
        call = trace.calls[moment]
        details["peak"] = {"call": moment, "op": call.op, "path": trace.path(call), "phase": call.phase}
        details["holders"] = holders(trace, moment)
    return Analysis(KEYS, own, totals, details=details)


def holders(trace: Trace, moment: int) -> list[dict[str, Any]]:
    """What is live during an op call, largest first: activations by the op that made them, the rest by its role."""
    found: dict[str, dict[str, Any]] = {}

    def held(by: str, size: int) -> None:
        entry = found.setdefault(by, {"by": by, "tensors": 0, "bytes": 0})
        entry["tensors"] += 1
        entry["bytes"] += size

    for storage in trace.storages:
        if storage.live_at(moment):
            held(trace.calls[storage.birth].op if storage.role in MADE else HELD[storage.role], storage.bytes)
    if trace.calls[moment].scratch:
        held("scratch of the kernel", trace.calls[moment].scratch)
    return sorted(found.values(), key=lambda one: -one["bytes"])


def _made_in_forward(trace: Trace, storage: Storage) -> bool:
    """Whether an op of the forward pass made it; of the last one, in training."""
    if not trace.steps:
        return storage.role == "activation"
    return trace.steps[-1].forward <= storage.birth < trace.steps[-1].loss


def _kept(storage: Storage, end: int) -> bool:
    """Whether it was made by the end of forward and lives on."""
    return storage.birth < end and storage.live_at(end)


def timeline(trace: Trace) -> list[int]:
    """Live bytes during each op call; one number for a run without ops."""
    changes = [0] * (max(1, len(trace.calls)) + 1)
    for storage in trace.storages:
        changes[max(0, storage.birth)] += storage.bytes
        if storage.death is not None:
            changes[min(storage.death, len(changes) - 1)] -= storage.bytes
    live = list(accumulate(changes[:-1]))
    for number, call in enumerate(trace.calls):
        live[number] += call.scratch
    return live


def _owners(trace: Trace) -> list[str]:
    """For each storage the path of the module that registered it or whose op made it; '' for inputs."""
    owners = [trace.path(trace.calls[s.birth]) if s.birth >= 0 else "" for s in trace.storages]
    for parameter in trace.parameters:
        owners[trace.tensors[parameter.tensor].storage] = parameter.owner
    return owners


def _output_bytes(trace: Trace) -> int:
    return sum(trace.storages[s].bytes for s in {trace.tensors[t].storage for t in trace.output_tensors})
