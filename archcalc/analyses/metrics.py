"""The figures that a law or a sweep can be about: one number of a report, by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

from archcalc.analyses import op_graph
from archcalc.analyses.report import Report
from archcalc.errors import WrongUse
from archcalc.ops.names import packet
from archcalc.tracing import Trace


@dataclass(frozen=True)
class Figure:
    """A number of a report: `unit` is what it counts, `trains` whether a training step must have been traced."""

    name: str
    words: str
    unit: str
    of: Callable[[Report], int]
    trains: bool = False


def _total(key: str) -> Callable[[Report], int]:
    return lambda report: int(report.totals[key])


def _weights(report: Report) -> int:
    """Elements of matrices and kernels, without biases and the parameters of norms."""
    trace = report.trace
    shapes = (trace.shape(p.tensor) for p in trace.parameters if p.kind == "parameter")
    return sum(prod(shape) for shape in shapes if len(shape) > 1)


FIGURES = {
    one.name: one
    for one in (
        Figure("params", "parameters", "parameters", _total("params")),
        Figure("weights", "weights of matrices and kernels", "parameters", _weights),
        Figure("macs", "MACs", "MACs", _total("macs")),
        Figure("flops", "FLOPs (2 x MACs)", "FLOPs", _total("flops")),
        Figure("elementwise_flops", "elementwise operations", "operations", _total("elementwise_flops")),
        Figure("graph_depth", "depth of the op graph", "ops", lambda report: op_graph.depth(report.trace)),
        Figure(
            "sequential_operations",
            "contractions that wait for one another",
            "ops",
            lambda report: op_graph.sequential_operations(report.trace),
        ),
        Figure("param_bytes", "bytes of parameters", "bytes", _total("param_bytes")),
        Figure("backward_macs", "MACs of the backward pass", "MACs", _total("backward_macs"), trains=True),
        Figure("saved_total_bytes", "kept for backward", "bytes", _total("saved_total_bytes"), trains=True),
        Figure("peak_bytes", "peak of a training step", "bytes", _total("peak_bytes"), trains=True),
    )
}
LIVE = "live:"
"""A figure such as live:cat+native_batch_norm: the most elements alive at one moment of those that these ops made."""


def figure_named(name: str) -> Figure:
    """The figure of that name; WrongUse lists them."""
    if name.startswith(LIVE) and name != LIVE:
        ops = frozenset(name.removeprefix(LIVE).split("+"))
        return Figure(name, f"elements of {' and '.join(sorted(ops))} alive", "elements", lambda r: live(r, ops), True)
    if name not in FIGURES:
        raise WrongUse(f"there is no figure '{name}'.", f"choose one of  {', '.join((*FIGURES, LIVE + 'OP+OP'))}")
    return FIGURES[name]


def live(report: Report, ops: frozenset[str]) -> int:
    """The most elements alive at one moment of the steady step, of first outputs of ops, the model's own output apart.

    Forward's results and those that backward computes again count alike.
    """
    trace = report.trace
    outputs = {trace.tensors[t].storage for run in trace.module_calls if run.parent is None for t in run.outputs}
    start, end = report.details["span"]
    changes = [0] * (end - start + 1)
    for storage, elements in _made_by(trace, ops):
        one = trace.storages[storage]
        if storage not in outputs and start <= one.birth < end:
            changes[one.birth - start] += elements
            changes[min(end, one.death or end) - start] -= elements
    alive = most = 0
    for change in changes:
        alive += change
        most = max(most, alive)
    return most


def _made_by(trace: Trace, ops: frozenset[str]) -> Iterator[tuple[int, int]]:
    """The storages that the first outputs of some ops brought, with their elements."""
    for number, call in enumerate(trace.calls):
        if call.outputs and packet(call.op) in ops:
            tensor = trace.tensors[call.outputs[0]]
            if trace.storages[tensor.storage].birth == number:
                yield tensor.storage, prod(tensor.shape)
