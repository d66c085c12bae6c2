"""Memory over a run: the peak of live bytes, the bill at that moment, and who holds what.

A forward pass without gradients, with what the model keeps from the pass before; or training steps: then the peak is
that of the second step. Both are the steady state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import ClassVar

from archcalc.analyses.report import Finding
from archcalc.analyses.steady_pass import steady
from archcalc.analyses.training_states import master_owners
from archcalc.tracing import Storage, Trace

KEYS = ("held_params_bytes", "held_buffers_bytes", "allocated_bytes", "at_peak_bytes", "kept_bytes")
HELD_BY_OWNERS = {"params_bytes": "held_params_bytes", "buffers_bytes": "held_buffers_bytes"}
"""The figure of a module for the lines of the bill that stand at their owner, whatever moment it is."""
BILL = {
    "parameter": "params_bytes",
    "buffer": "buffers_bytes",
    "constant": "buffers_bytes",
    "input": "inputs_bytes",
    "cache": "cache_bytes",
    "saved": "saved_bytes",
    "gradient": "gradients_bytes",
    "optimizer": "optimizer_bytes",
    "master": "optimizer_bytes",
    "activation": "temporaries_bytes",
    "activation gradient": "temporaries_bytes",
    "workspace": "temporaries_bytes",
}
"""The line of the bill that a role belongs to; constants are tensors a model keeps without registering them, master
weights are the float32 copies that an optimizer updates in place of parameters of lower precision."""
MADE = ("saved", "activation")
HELD = {
    "parameter": "parameters",
    "buffer": "buffers",
    "constant": "constants",
    "input": "inputs",
    "cache": "cache of the decoder",
    "gradient": "gradients",
    "activation gradient": "gradients of activations",
    "optimizer": "optimizer state",
    "master": "master weights",
    "workspace": "workspaces of libraries",
}
"""Words for storages by role; those of saved tensors and activations are named by the op that made them."""
LINES = ("params", "buffers", "inputs", "cache", "saved", "gradients", "optimizer", "temporaries")


@dataclass(frozen=True)
class Moment:
    """An op call: its number in the trace, its op, the module that it runs in, and the phase of the step."""

    call: int
    op: str
    path: str
    phase: str


@dataclass(frozen=True)
class Holder:
    """Live tensors that were made by one op, or that have one role: how many, and their bytes."""

    by: str
    tensors: int
    bytes: int


@dataclass(frozen=True)
class LiveBytes:
    """Live bytes during each op call of the trace, and what is live at the peak.

    `span` are the calls [first, last) that the peak is looked for in: the forward pass, or the second training step.
    `peak` is None for a run without ops. `holders` come largest first. `bill` has the bytes of each line at the peak,
    which add up to it: params, buffers, inputs, cache, saved, gradients, optimizer, temporaries.
    """

    timeline: Sequence[int]
    span: tuple[int, int]
    peak: Moment | None
    holders: tuple[Holder, ...]
    bill: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Memory:
    """Bytes by module, and the bill at the peak. Record: LiveBytes.

    Figures: `held_params_bytes` and `held_buffers_bytes` at their owner, `allocated_bytes` of all tensors that a
    module's ops make in forward (views and in-place results make none), `at_peak_bytes` of what it holds at the peak,
    `kept_bytes` of what autograd keeps at the end of forward, at the module whose op made it. Totals: `peak_bytes`, and
    the bill at the peak, whose lines add up to it; `output_bytes`; `saved_total_bytes`, the sum of what is kept;
    `first_step_peak_bytes` for training steps.
    """

    of_steps: ClassVar[bool] = True

    def __call__(self, trace: Trace) -> Finding:
        """Bytes of each storage at its owner, and those that live at the peak in the bill."""
        owners, trace = storage_owners(trace), steady(trace)
        live = live_bytes(trace)
        peak = live.peak.call if live.peak else -1
        bill = {f"{line}_bytes": 0 for line in LINES}
        own: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(KEYS, 0))
        for owner, storage in zip(owners, trace.storages, strict=True):
            figures, line = own[owner], BILL[storage.role]
            if line in HELD_BY_OWNERS:
                figures[HELD_BY_OWNERS[line]] += storage.bytes
            elif _made_in_forward(trace, storage):
                figures["allocated_bytes"] += storage.bytes
            if storage.live_at(peak):
                figures["at_peak_bytes"] += storage.bytes
                bill[line] += storage.bytes
            if trace.steps and storage.role == "saved" and _kept(storage, trace.steps[-1].loss):
                figures["kept_bytes"] += storage.bytes
        if live.peak:
            scratch = trace.calls[peak].scratch
            own[live.peak.path]["at_peak_bytes"] += scratch
            bill["temporaries_bytes"] += scratch
        totals = {**bill, "peak_bytes": live.timeline[max(0, peak)]}
        totals["output_bytes"] = _output_bytes(trace)
        totals["saved_total_bytes"] = sum(figures["kept_bytes"] for figures in own.values())
        if trace.steps:
            totals["first_step_peak_bytes"] = max(live.timeline[: trace.steps[0].end])
        lines = {line: bill[f"{line}_bytes"] for line in LINES}
        return Finding(KEYS, own, totals, record=replace(live, bill=lines))


def live_bytes(trace: Trace) -> LiveBytes:
    """The timeline of a steady run, its peak, and the holders then."""
    timeline = _timeline(trace)
    span = (trace.steps[-1].start, trace.steps[-1].end) if trace.steps else (0, len(timeline))
    if not trace.calls:
        return LiveBytes(timeline, span, None, ())
    number = max(range(*span), key=timeline.__getitem__)
    call = trace.calls[number]
    return LiveBytes(timeline, span, Moment(number, call.op, trace.path(call), call.phase), _holders(trace, number))


def _holders(trace: Trace, moment: int) -> tuple[Holder, ...]:
    """Live storages during an op call, by the op that made them or by their role."""
    sizes: dict[str, list[int]] = defaultdict(list)
    for storage in trace.storages:
        if storage.live_at(moment):
            sizes[made_by(trace, storage)].append(storage.bytes)
    if trace.calls[moment].scratch:
        sizes["scratch of the kernel"].append(trace.calls[moment].scratch)
    holders = [Holder(by, len(bytes_), sum(bytes_)) for by, bytes_ in sizes.items()]
    return tuple(sorted(holders, key=lambda holder: -holder.bytes))


def made_by(trace: Trace, storage: Storage) -> str:
    """The op that made a storage, or, of what no op of the model made, its role in words."""
    return trace.calls[storage.birth].op if storage.role in MADE else HELD[storage.role]


def _made_in_forward(trace: Trace, storage: Storage) -> bool:
    """Whether an op of the forward pass made it; of the last one, in training."""
    if not trace.steps:
        return storage.role == "activation" or (storage.role == "cache" and storage.birth >= 0)
    return trace.steps[-1].forward <= storage.birth < trace.steps[-1].loss


def _kept(storage: Storage, end: int) -> bool:
    """Whether a storage was made before the end of forward and is freed later."""
    return storage.birth < end and storage.live_at(end)


def _timeline(trace: Trace) -> list[int]:
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


def storage_owners(trace: Trace) -> list[str]:
    """For each storage the path of the module that registered it or whose op made it; '' for inputs."""
    owners = [trace.path(trace.calls[s.birth]) if s.birth >= 0 else "" for s in trace.storages]
    for parameter in trace.parameters:
        owners[trace.tensors[parameter.tensor].storage] = parameter.owner
    for master, owner in master_owners(trace).items():
        owners[master] = owner
    return owners


def _output_bytes(trace: Trace) -> int:
    return sum(trace.storages[s].bytes for s in {trace.tensors[t].storage for t in trace.output_tensors})
