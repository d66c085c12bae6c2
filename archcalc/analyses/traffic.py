"""Bytes that ops read and write: memory access cost (MAC in Ma et al. 2018, ShuffleNet v2), and MACs for each byte."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from archcalc.analyses.fusion import chained
from archcalc.analyses.kernels import Kernel, Span, kernels
from archcalc.analyses.recomputation import recomputed
from archcalc.analyses.report import Finding
from archcalc.ops.registry import macs_of, operations_of
from archcalc.tracing import Trace

KEYS = ("read_bytes", "written_bytes", "traffic_bytes", "traffic_macs")


@dataclass(frozen=True)
class Kernels:
    """The kernels of the run in order, whether chains of ops are fused into one, and the bytes by op.

    `bytes_by_phase` are those of a training step: forward, loss, backward, optimizer. `update_elementwise_flops`
    are the elementwise operations of the optimizer's turn, None if an op of it has no rule.
    """

    kernels: tuple[Kernel, ...]
    fused: bool
    bytes_by_op: Mapping[str, int]
    bytes_by_phase: Mapping[str, int]
    update_elementwise_flops: int | None


@dataclass(frozen=True)
class Traffic:
    """Bytes that the ops of a forward pass, or of the last training step, read and write at their module.

    `read_bytes`, `written_bytes`, `traffic_bytes` (their sum) and `traffic_macs`, the MACs of the same ops; with
    `fused`, elementwise chains and normalisations move their inputs and results once. Totals add `macs_per_byte` and
    `traffic_unknown`, the ops whose bytes are not known (the totals are then lower bounds), and `recomputed_bytes` of
    the ops of backward that compute again what forward had computed. Record: Kernels.
    """

    fused: bool = False
    of_steps: ClassVar[bool] = True

    def __call__(self, trace: Trace) -> Finding:
        """Add up the bytes of each kernel at the modules of its op calls."""
        span = range(trace.steps[-1].start, trace.steps[-1].end) if trace.steps else range(len(trace.calls))
        calls = Span(trace, span)
        found = chained(calls, kernels(calls)) if self.fused else kernels(calls)
        own: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(KEYS, 0))
        by_op: Counter[str] = Counter()
        by_phase: Counter[str] = Counter()
        again = recomputed(trace, trace.steps[-1]) if trace.steps else frozenset()
        for kernel in found:
            for number, moved in kernel.moved.items():
                figures = own[trace.path(trace.calls[number])]
                figures["read_bytes"] += moved.read
                figures["written_bytes"] += moved.written
                figures["traffic_bytes"] += moved.total
                by_op[trace.calls[number].op] += moved.total
                by_phase[trace.calls[number].phase] += moved.total
        for number in span:
            own[trace.path(trace.calls[number])]["traffic_macs"] += macs_of(trace, trace.calls[number]) or 0
        total, macs = sum(by_op.values()), sum(figures["traffic_macs"] for figures in own.values())
        totals = {
            "macs_per_byte": macs / total if total else 0.0,
            "traffic_unknown": sorted({kernel.unknown for kernel in found if kernel.unknown}),
            "recomputed_bytes": sum(k.moved[n].total for k in found for n in k.moved if n in again),
        }
        record = Kernels(tuple(found), self.fused, dict(by_op.most_common()), by_phase, _of_update(trace))
        return Finding(KEYS, own, totals, _lacking(trace), record)


def _of_update(trace: Trace) -> int | None:
    """Elementwise operations of the optimizer in the last step; 0 without a step, None if an op of it has no rule."""
    step = trace.steps[-1] if trace.steps else None
    calls = trace.calls[step.optimizer : step.end] if step else ()
    work = [operations_of(trace, call) for call in calls]
    return None if None in work else sum(operations or 0 for operations in work)


def _lacking(trace: Trace) -> tuple[str, ...]:
    """A note about what a trace stored by an earlier version does not record."""
    if all(tensor.strides is not None for tensor in trace.tensors):
        return ()
    return (
        "the trace does not record strides and written inputs (schema_version 1): expanded tensors count in full, and "
        "ops are taken to write in place by their names",
    )
