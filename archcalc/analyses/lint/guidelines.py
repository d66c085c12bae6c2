"""The four guidelines for fast networks of Ma et al. 2018 (ShuffleNet v2, arXiv 1807.11164, section 2), in numbers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod, sqrt

from archcalc.analyses.lint.finding import Measure
from archcalc.ops.names import base_name
from archcalc.ops.registry import known, macs_of, operations_of, traffic_of
from archcalc.tracing import Call, Trace

CONVOLUTIONS = frozenset(("convolution", "_convolution", "mkldnn_convolution", "cudnn_convolution"))
JOINS = frozenset(("add", "cat", "mul", "sub"))
ADDS = frozenset(("add", "sub"))
MADE = ("activation", "saved", "input", "cache")
"""Roles of storages that are neither weights nor constants."""
SHUFFLES = frozenset(("clone", "cat", "copy", "index_select", "channel_shuffle", "native_channel_shuffle"))


@dataclass(frozen=True)
class Pointwise:
    """A 1x1 convolution: positions of its output in the batch (hw), its channels and groups."""

    path: str
    positions: int
    c1: int
    c2: int
    groups: int

    @property
    def macs(self) -> float:
        """B = hw·c1·c2/g."""
        return self.positions * self.c1 * self.c2 / self.groups

    @property
    def traffic(self) -> float:
        """Elements that it reads and writes: hw(c1 + c2) + c1·c2/g."""
        return self.positions * (self.c1 + self.c2) + self.c1 * self.c2 / self.groups

    @property
    def bound(self) -> float:
        """The least elements for as many multiply-adds: 2·√(hw·B) + B/hw, reached by c1 = c2 without groups."""
        return 2 * sqrt(self.positions * self.macs) + self.macs / self.positions

    @property
    def ungrouped(self) -> float:
        """Elements of a convolution without groups with as many multiply-adds and the same c1 : c2."""
        return self.positions * (self.c1 + self.c2) / sqrt(self.groups) + self.c1 * self.c2 / self.groups


def pointwise(trace: Trace) -> Iterator[Pointwise]:
    """The 1x1 convolutions of a trace that keep the size; one that is called several times at each call."""
    for call in trace.calls:
        if base_name(call.op) not in CONVOLUTIONS or not isinstance(call.inputs.get("weight"), int):
            continue
        weight, given = (trace.shape(int(call.inputs[name])) for name in ("weight", "input"))  # type: ignore[arg-type]
        output = trace.shape(call.outputs[0])
        if call.attributes.get("transposed") or prod(weight[2:]) != 1 or given[2:] != output[2:] or not prod(output):
            continue
        yield Pointwise(
            trace.path(call), output[0] * prod(output[2:]), given[1], output[1], max(1, given[1] // weight[1])
        )


def unequal_channels(trace: Trace) -> Iterator[Measure]:
    """G1: a 1x1 convolution moves least for its multiply-adds with as many channels out as in."""
    for conv in pointwise(trace):
        if conv.c1 != conv.groups:  # a depthwise one has one product a channel
            advice = f"{conv.c1} to {conv.c2} channels at {conv.positions:,} positions: make them more equal"
            yield Measure(conv.path, conv.traffic / conv.bound, advice)


def grouped_pointwise(trace: Trace) -> Iterator[Measure]:
    """G2: groups save multiply-adds and not the traffic of inputs and outputs."""
    for conv in pointwise(trace):
        if conv.groups > 1:
            advice = f"{conv.groups} groups of {conv.c1} to {conv.c2} channels: fewer groups, and fewer channels"
            yield Measure(conv.path, conv.traffic / conv.ungrouped, advice)


def fragments(trace: Trace) -> Iterator[Measure]:
    """G3: layers of a block that do not wait for one another, each a small kernel of its own."""
    weights = {trace.tensors[p.tensor].storage for p in trace.parameters if p.kind == "parameter"}
    widest: dict[int, tuple[int, int]] = {}
    for run in trace.module_calls:
        width, count = _side_by_side(trace, run.first, run.last, weights)
        if width > widest.get(run.module, (0, 0))[0]:
            widest[run.module] = width, count
    inner: dict[int, int] = defaultdict(int)
    for number in reversed(range(len(trace.modules))):
        parent = trace.modules[number].parent
        width, count = widest.get(number, (0, 0))
        if width > max(1, inner[number]):
            advice = f"{width} layers side by side, {count} in all: fewer and wider ones"
            yield Measure(trace.modules[number].path, width, advice)
        if parent is not None:
            inner[parent] = max(inner[parent], inner[number], width)


def _side_by_side(trace: Trace, first: int, last: int, weights: set[int]) -> tuple[int, int]:
    """The most layers with weights of their own that are equally deep in a block's graph; how many it has in all."""
    depth: dict[int, int] = {}
    at: dict[int, set[int]] = defaultdict(set)
    for number in range(first, last):
        call = trace.calls[number]
        storages = {trace.tensors[tensor].storage for tensor in call.tensors()}
        before = max((depth.get(storage, 0) for storage in storages), default=0)
        own = storages & weights
        if own and macs_of(trace, call):
            before += 1
            at[before] |= {min(own)}
        for tensor in call.outputs:
            storage = trace.tensors[tensor].storage
            depth[storage] = max(depth.get(storage, 0), before)
    return max(map(len, at.values()), default=0), sum(map(len, at.values()))


def elementwise_share(trace: Trace) -> Iterator[Measure]:
    """G4: the share of a block's traffic that its elementwise ops move; normalisation, which is folded, apart.

    Blocks are the modules in which paths meet, by an addition or a concatenation; the model itself if there are none.
    """
    for number in _blocks(trace):
        run = next((run for run in reversed(trace.module_calls) if run.module == number), None)
        if run is None:
            continue
        moved: Counter[str] = Counter()
        for call in trace.calls[run.first : run.last]:
            traffic = traffic_of(trace, call)
            kind = _kind(trace, call)
            if traffic is not None and kind != "norm":
                moved[kind] += traffic.total
        total = sum(moved.values())
        share = (total - moved["contraction"]) / total if total else 0.0
        shares = ", ".join(f"{what} {100 * moved[what] / total:.0f} %" for what in KINDS if total and moved[what])
        yield Measure(trace.modules[number].path, share, f"{shares}: fewer of them, or fused")


KINDS = ("adds", "shuffles", "others")


def _kind(trace: Trace, call: Call) -> str:
    """Contraction, norm, or the kind of an elementwise op: adds, shuffles (copies that reorder), others."""
    name = base_name(call.op) or call.op
    if macs_of(trace, call) is not None:
        return "contraction"
    if "norm" in name:
        return "norm"
    return "adds" if name in ADDS else "shuffles" if name in SHUFFLES else "others"


def _blocks(trace: Trace) -> list[int]:
    """The modules of the types that join paths in their own forward."""
    joining = set()
    for call in trace.calls:
        tensors = set(call.tensors())
        op = known(call.op)
        made = [t for t in tensors if trace.storages[trace.tensors[t].storage].role in MADE]
        if base_name(call.op) in JOINS and len(made) > 1 and op is not None and operations_of(trace, call) is not None:
            joining.add(trace.modules[trace.module_calls[call.module_call].module].type)
    called = {run.module for run in trace.module_calls}
    blocks = [number for number, module in enumerate(trace.modules) if module.type in joining and number in called]
    return blocks or [0]
