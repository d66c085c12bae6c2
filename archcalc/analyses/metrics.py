"""The one table of figures: each a number of a report, with its words and unit, and who knows it by name.

Laws and sweeps, budgets of check files, snapshots and their differences, and the pages that show them read this table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Flag, auto
from itertools import accumulate
from math import prod
from typing import Any

from archcalc import analyses
from archcalc.analyses import op_graph
from archcalc.analyses.bound import least_seconds
from archcalc.analyses.memory import LiveBytes
from archcalc.analyses.report import Analysis, Report
from archcalc.errors import WrongUse
from archcalc.hardware import Hardware, device_typed
from archcalc.ops.names import packet
from archcalc.text.former_keys import ALIASES
from archcalc.tracing import Trace


class Use(Flag):
    """The uses of a figure: laws and sweeps, snapshots, the totals of a diff."""

    LAW = auto()
    SNAPSHOT = auto()
    DIFF = auto()


LAW, SNAPSHOT, DIFF = Use.LAW, Use.SNAPSHOT, Use.DIFF
BYTES = "bytes"
SECONDS = "seconds"
"""The unit of figures that are floats; all others are whole numbers."""
TIME = "time_on:"
"""A figure such as time_on:h100: the least time of a forward pass on a device."""


CACHE = "kv_bytes_per_token"
CACHED = "kv_bytes"
"""The figures of serving: bytes of cache that one more token of one sequence takes, and of a batch of texts with what
does not grow. They are no figures of one run."""


@dataclass(frozen=True)
class Metric:
    """A figure: `unit` is what it counts, `of` reads it from a report.

    `trains` says that the report must be one of a training step, `defined` that the definition alone tells it, without
    a run. A figure that is the highest of moments gives it at each op call of the step as `moments`. `ops` are those
    that it is of, as people typed them, `on` the device that a time is of. `budget` is its word in the keys of a check
    file (max_<budget>), with `short` as its heading there; `stored` its key in snapshots, by default the name.
    """

    name: str
    words: str
    unit: str
    of: Callable[[Report], Any]
    uses: Use = LAW
    trains: bool = False
    defined: bool = False
    budget: str = ""
    short: str = ""
    stored: str = ""
    moments: Callable[[Report], Sequence[int]] | None = None
    ops: frozenset[str] = frozenset()
    on: Hardware | None = None
    by: str = ""

    @property
    def key(self) -> str:
        """The key of the figure in snapshots."""
        return self.stored or self.name


def _total(key: str) -> Callable[[Report], int]:
    return lambda report: int(report.totals[key])


def _weights(report: Report) -> int:
    """Elements of matrices and kernels, without biases and the parameters of norms."""
    trace = report.trace
    shapes = (trace.shape(p.tensor) for p in trace.parameters if p.kind == "parameter")
    return sum(prod(shape) for shape in shapes if len(shape) > 1)


def _graph_depth(report: Report) -> int:
    return op_graph.depth(report.trace)


def _sequential_operations(report: Report) -> int:
    return op_graph.sequential_operations(report.trace)


def _live_bytes(report: Report) -> Sequence[int]:
    live = report.record(LiveBytes)
    return live.timeline[slice(*live.span)]


ALL = LAW | SNAPSHOT | DIFF
PARAMS, FLOPS, TRAFFIC, MEMORY, BACKWARD = "Params", "Flops", "Traffic", "Memory", "Backward"
"""The analyses that figures are read from; what the trace alone tells takes the quickest of them."""
TABLE = (
    Metric(
        "params", "parameters", "parameters", _total("params"), ALL,
        defined=True, budget="params", short="params", by=PARAMS,
    ),
    Metric(
        "trainable_params", "trainable parameters", "parameters", _total("trainable_params"), SNAPSHOT,
        defined=True, by=PARAMS,
    ),
    Metric("buffers", "buffers", "elements", _total("buffers"), SNAPSHOT | DIFF, defined=True, by=PARAMS),
    Metric(
        "params_bytes", "bytes of parameters", BYTES, _total("params_bytes"), LAW | SNAPSHOT,
        defined=True, budget="params_bytes", short="bytes of params", by=PARAMS,
    ),
    Metric("weights", "weights of matrices and kernels", "parameters", _weights, defined=True, by=PARAMS),
    Metric("macs", "MACs", "MACs", _total("macs"), ALL, budget="macs", short="MACs", by=FLOPS),
    Metric(
        "flops", "FLOPs (2 x MACs)", "FLOPs", _total("flops"), LAW | SNAPSHOT, budget="flops", short="FLOPs", by=FLOPS
    ),
    Metric("elementwise_flops", "elementwise operations", "operations", _total("elementwise_flops"), ALL, by=FLOPS),
    Metric(
        "traffic_bytes", "bytes read and written", BYTES, _total("traffic_bytes"), ALL,
        budget="traffic", short="traffic", by=TRAFFIC,
    ),
    Metric(
        "step_traffic_bytes", "bytes read and written in a training step", BYTES, _total("traffic_bytes"),
        trains=True, by=TRAFFIC,
    ),
    Metric("graph_depth", "depth of the op graph", "ops", _graph_depth, by=PARAMS),
    Metric(
        "sequential_operations", "contractions that wait for one another", "ops", _sequential_operations, by=PARAMS
    ),
    Metric("backward_macs", "MACs of the backward pass", "MACs", _total("backward_macs"), trains=True, by=BACKWARD),
    Metric("saved_total_bytes", "kept for backward", BYTES, _total("saved_total_bytes"), trains=True, by=MEMORY),
    Metric(
        "backward_elementwise_flops", "elementwise operations of backward", "operations",
        _total("backward_elementwise_flops"), trains=True, by=BACKWARD,
    ),
    Metric(
        "recomputed_elementwise_flops", "elementwise operations computed again", "operations",
        _total("recomputed_elementwise_flops"), trains=True, by=BACKWARD,
    ),
    Metric(
        "forward_peak_bytes", "peak of a forward pass", BYTES, _total("peak_bytes"), SNAPSHOT | DIFF,
        budget="peak_memory", short="peak memory", stored="peak_bytes", by=MEMORY,
    ),
    Metric(
        "peak_bytes", "peak of a training step", BYTES, _total("peak_bytes"), LAW | DIFF, trains=True,
        budget="train_memory", short="training memory", stored="train_peak_bytes",
        moments=_live_bytes, by=MEMORY,
    ),
)  # fmt: skip
METRICS = {metric.name: metric for metric in TABLE}
BUDGETS = {metric.budget: metric for metric in TABLE if metric.budget}
"""Figures that a check file may limit, by their word there."""


def known_to(use: Use) -> list[Metric]:
    """The figures with a given use (laws and sweeps, snapshots, or diffs), in the order of the table."""
    return [metric for metric in TABLE if use in metric.uses]


LIVE = "live:"
"""A figure such as live:cat+native_batch_norm: the most elements alive at one moment of those that these ops made."""


def metric_named(name: str) -> Metric:
    """The figure that laws and sweeps know by that name; WrongUse lists them."""
    ops = frozenset(name.removeprefix(LIVE).split("+"))
    if name.startswith(LIVE) and all(ops):
        words = f"elements of {' and '.join(sorted(ops))} alive"

        def moments(report: Report) -> Sequence[int]:
            return live(report, ops)

        def of(report: Report) -> int:
            return max(moments(report), default=0)

        return Metric(name, words, "elements", of, trains=True, moments=moments, ops=ops, by=MEMORY)
    if name.startswith(TIME):
        return time_on(name.removeprefix(TIME))
    if name in OF_SERVING:
        return OF_SERVING[name]
    name = ALIASES.get(name, name)
    names = [metric.name for metric in known_to(LAW)]
    if name not in names:
        names += [f"{LIVE}OP+OP", f"{TIME}DEVICE", *OF_SERVING]
        raise WrongUse(f"there is no figure '{name}'.", f"choose one of  {', '.join(names)}")
    return METRICS[name]


def _of_serving(report: Report) -> int:
    """No report of one run has it."""
    raise WrongUse("figures of a cache come from runs with one.", "type  archcalc serve MODEL")


def analyses_for(metrics: Sequence[Metric]) -> list[Analysis]:
    """The analyses that a report must have for these figures, each once."""
    of_step = (MEMORY, BACKWARD) if any(metric.trains for metric in metrics) else ()
    names = [name for metric in metrics for name in ([metric.by] if metric.by else [PARAMS, FLOPS, TRAFFIC, *of_step])]
    return [getattr(analyses, name)() for name in dict.fromkeys(names)]


OF_SERVING = {
    CACHE: Metric(CACHE, "bytes of cache a token", BYTES, _of_serving, short="cache a token"),
    CACHED: Metric(CACHED, "bytes of the cache of a batch", BYTES, _of_serving, short="cache"),
}
"""The figures of a model with a cache, by name."""


def time_on(typed: str) -> Metric:
    """The least time of a forward pass on a device, in seconds; raises what `device_typed` raises."""
    hardware = device_typed(typed)
    return Metric(
        TIME + typed,
        f"time bound on {typed}",
        SECONDS,
        lambda report: least_seconds(report.trace.of_forward(), hardware),
        on=hardware,
        by=PARAMS,
    )


def formula_metric_named(name: str) -> Metric:
    """A figure that can have a formula; WrongUse for times, which have none, and for what is no figure."""
    if name.startswith(TIME):
        sentence = "a time has no law: it adds the longer of two times of each kernel, and which is longer changes."
        raise WrongUse(sentence, "for its members  archcalc sweep MODEL --set batch=1,8,64 --figure " + name)
    return metric_named(name)


def demand_figure_of_step(names: Sequence[str], given: str) -> None:
    """WrongUse if none of the figures is of a training step, so that what was `given` about it has no effect."""
    if not any(metric_named(name).trains for name in names):
        steps = ", ".join(metric.name for metric in known_to(LAW) if metric.trains)
        raise WrongUse(f"no figure is of a training step, so {given} has no effect.", f"add one of  {steps}")


def live(report: Report, ops: frozenset[str]) -> list[int]:
    """Elements alive at each op call of the steady step, of first outputs of ops, the model's own output apart.

    Forward's results and those that backward computes again count alike.
    """
    trace = report.trace
    outputs = {trace.tensors[t].storage for run in trace.module_calls if run.parent is None for t in run.outputs}
    start, end = report.record(LiveBytes).span
    changes = [0] * (end - start + 1)
    for storage, elements in _made_by(trace, ops):
        block = trace.storages[storage]
        if storage not in outputs and start <= block.birth < end:
            changes[block.birth - start] += elements
            changes[min(end, block.death or end) - start] -= elements
    return list(accumulate(changes[:-1]))


def demand_ops(metric: Metric, trace: Trace) -> None:
    """WrongUse if one of the ops that a figure is of occurs nowhere in the trace."""
    used = {call.op for call in trace.calls}
    for name in sorted(metric.ops):
        if not any(_is_named(op, name) for op in used):
            known = sorted({_without_overload(op) for op in used})
            close = get_close_matches(packet(name), [packet(op) for op in known], 1)
            meant = f"did you mean  {LIVE}{close[0]} ?\n" if close else ""
            raise WrongUse(f"{trace.model.name} runs no op '{name}'.", f"{meant}its ops  {', '.join(known)}")


def _is_named(op: str, name: str) -> bool:
    """Whether people mean an op of a trace by a name: with or without its library and its overload.

    >>> [_is_named("aten.add.Tensor", name) for name in ("add", "aten.add", "aten.add.Tensor", "aten.add.Scalar")]
    [True, True, True, False]
    """
    return name in (op, f"{op}.default", _without_overload(op), packet(op))


def _without_overload(op: str) -> str:
    return ".".join(op.split(".")[:2])


def _made_by(trace: Trace, ops: frozenset[str]) -> Iterator[tuple[int, int]]:
    """The storages that the first outputs of some ops brought, with their elements."""
    wanted = {op for op in {call.op for call in trace.calls} if any(_is_named(op, name) for name in ops)}
    for number, call in enumerate(trace.calls):
        if call.outputs and call.op in wanted:
            tensor = trace.tensors[call.outputs[0]]
            if trace.storages[tensor.storage].birth == number:
                yield tensor.storage, prod(tensor.shape)
