"""The least time of a step: products at the device's peak, exchanges at the link's bandwidth, in perfect overlap.

The bound is the largest of the time that the busiest stage computes, with the pipeline's bubble, and of the times that
each group of ranks exchanges. Nothing else is in it: memory traffic, kernels below their peak, the optimizer, latency.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archcalc.hardware import Hardware
from archcalc.hardware.interconnects import Interconnect
from archcalc.studies.plan.layout import Layout
from archcalc.studies.plan.schedule import bubble
from archcalc.studies.plan.shares import Shares
from archcalc.studies.plan.traffic import DATA, EXPERTS, PIPELINE, TENSOR, Traffic

PEAKS = {
    "bfloat16": ("bf16", "fp16"),
    "float16": ("fp16", "bf16"),
    "float32": ("tf32", "fp32"),
    "float64": ("fp64", "fp32"),
}
"""The peaks of a data sheet that products of a dtype can reach, the first that is printed."""


@dataclass(frozen=True)
class Machines:
    """The devices: their data sheet, how many a machine has, and the links inside and between machines."""

    hardware: Hardware
    node: int
    link: Interconnect | None
    network: Interconnect


@dataclass(frozen=True)
class Bound:
    """The least seconds of a step, and of each of its parts; `by` is the part that decides."""

    seconds: float
    by: str
    parts: Mapping[str, float]


def products(ranks: Shares) -> Mapping[int, Mapping[str, int]]:
    """MACs of a microbatch on one rank, forward and backward, by stage and dtype."""
    facts, stages = ranks.facts, ranks.layout.pp
    found: dict[int, dict[str, int]] = {stage: defaultdict(int) for stage in range(stages)}
    for number, macs in facts.work.items():
        if ranks.start <= number < ranks.end:
            call = facts.trace.calls[number]
            dtype = facts.trace.tensors[call.outputs[0]].dtype if call.outputs else "float32"
            local = macs // ranks.layout.tp if number in ranks.spread.divided else macs
            found[ranks.chunk_at(number) % stages][dtype] += local
    return found


def peak_of(hardware: Hardware, dtype: str) -> float | None:
    """Operations a second that products of a dtype can reach; None where the data sheet has no such peak."""
    return next((hardware.peaks[name] for name in PEAKS.get(dtype, ()) if name in hardware.peaks), None)


def bound(ranks: Shares, sent: Sequence[Traffic], machines: Machines) -> Bound | None:
    """The least time of a step; None if a peak that it needs is not printed. `sent` is the traffic of each stage."""
    layout, busiest = ranks.layout, 0.0
    for work in products(ranks).values():
        seconds = 0.0
        for dtype, macs in work.items():
            peak = peak_of(machines.hardware, dtype)
            if peak is None:
                return None
            seconds += 2 * macs / peak
        busiest = max(busiest, seconds)
    times = busiest * ranks.microbatches * (1 + bubble(layout.pp, layout.chunks, ranks.microbatches))
    parts = {"products": times}
    for group in (TENSOR, DATA, PIPELINE, EXPERTS):
        size = max(traffic.by_group.get(group, 0) for traffic in sent)
        exchanged = _exchange(group, size, layout, machines) if size else None
        if exchanged is not None:
            parts[f"{group} parallel exchanges"] = exchanged
    by = max(parts, key=parts.__getitem__)
    return Bound(parts[by], by, parts)


def _exchange(group: str, size: int, layout: Layout, machines: Machines) -> float | None:
    """The least seconds of a group's exchanges: inside machines, and what has to leave them; None if no link is known.

    Ranks are numbered with tensor parallelism first, then data, then pipeline. Of the members of a group in one
    machine each sends its part of what leaves it.
    """
    stride, members = {
        TENSOR: (1, layout.tp),
        DATA: (layout.tp, layout.dp),
        EXPERTS: (layout.tp, layout.ep),
        PIPELINE: (layout.tp * layout.dp, layout.pp),
    }[group]
    inside = max(1, min(members, machines.node // stride)) if stride < machines.node else 1
    within = size / machines.link.bandwidth if machines.link and inside > 1 else 0.0
    if inside >= members:
        return within if machines.link else None
    return max(within if group in (DATA, TENSOR) else 0.0, size / inside / machines.network.bandwidth)
