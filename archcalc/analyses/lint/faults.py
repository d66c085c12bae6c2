"""Rules that a trace proves broken: work and weights without effect, sizes that kernels pad, copies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from math import prod

from archcalc.analyses.lint.finding import Measure
from archcalc.analyses.weights import used_unregistered
from archcalc.ops.names import base_name
from archcalc.ops.registry import macs_of
from archcalc.text import units
from archcalc.tracing import Trace

BATCH_NORMS = frozenset(
    ("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm",
     "_batch_norm_with_update", "_batch_norm_no_update", "batch_norm")
)  # fmt: skip
MULTIPLE = 8
"""Tensor cores of GPUs take 16-bit operands in eights."""


def _users(trace: Trace) -> dict[int, list[int]]:
    """The op calls that read each storage."""
    users: dict[int, list[int]] = defaultdict(list)
    for number, call in enumerate(trace.calls):
        for storage in {trace.tensors[tensor].storage for tensor in call.tensors()}:
            users[storage].append(number)
    return users


def bias_before_batch_norm(trace: Trace) -> Iterator[Measure]:
    """B1: batch norm subtracts the mean, and the bias of the layer before it with it."""
    users = _users(trace)
    outputs = {trace.tensors[tensor].storage for tensor in trace.output_tensors}
    for call in trace.calls:
        bias = call.inputs.get("bias", call.inputs.get("self") if base_name(call.op) == "addmm" else None)
        if not isinstance(bias, int) or macs_of(trace, call) is None:
            continue
        result = trace.tensors[call.outputs[0]].storage
        readers = [trace.calls[number] for number in users[result]]
        norms = [base_name(reader.op) in BATCH_NORMS for reader in readers]
        if norms and all(norms) and result not in outputs:
            elements = prod(trace.shape(bias))
            yield Measure(trace.path(call), elements, f"bias=False: {trace.path(readers[0])} takes it away")


def odd_channels(trace: Trace) -> Iterator[Measure]:
    """C1: channels that kernels pad. Those of the model's inputs are given, and one channel is a score."""
    given = {trace.shape(tensor)[1] for tensor in trace.input_tensors if len(trace.shape(tensor)) > 1}
    seen: set[tuple[str, int]] = set()
    owners = {p.tensor: p.owner for p in trace.parameters if p.kind == "parameter" and len(trace.shape(p.tensor)) > 1}
    multiplied = {t for call in trace.calls if macs_of(trace, call) is not None for t in call.tensors()}
    storages = {trace.tensors[tensor].storage for tensor in multiplied}
    for tensor, path in owners.items():
        shape = trace.shape(tensor)
        if trace.tensors[tensor].storage not in storages:
            continue
        for place, channels in enumerate(shape[:2]):
            odd = channels % MULTIPLE and channels > 1 and not (place and channels in given)
            grouped = place == 1 and len(shape) > 2 and shape[0] % max(channels, 1) == 0 and channels < MULTIPLE
            if odd and not grouped and (path, channels) not in seen:
                seen.add((path, channels))
                more = -channels % MULTIPLE
                advice = f"{channels:,} channels of a weight {units.shape(shape)}: {channels + more:,} is a multiple"
                yield Measure(path, more / channels, advice)


def dead_results(trace: Trace) -> Iterator[Measure]:
    """D1: what ops make, and neither the output nor anything that it needs uses."""
    needed = {trace.tensors[tensor].storage for tensor in trace.output_tensors}
    needed |= {number for number, storage in enumerate(trace.storages) if storage.birth < 0}
    dead: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for number in reversed(range(len(trace.calls))):
        call = trace.calls[number]
        written = {trace.tensors[tensor].storage for tensor in call.outputs}
        written |= {trace.tensors[t].storage for name in call.writes for t in _ids(call.inputs[name])}
        if not written or written & needed:
            needed |= {trace.tensors[tensor].storage for tensor in call.tensors()}
            continue
        made = sum(trace.storages[storage].bytes for storage in written if trace.storages[storage].birth == number)
        figures = dead[trace.path(call)]
        figures[0] += made
        figures[1] += macs_of(trace, call) or 0
    for path, (bytes_, macs) in dead.items():
        work = f"{units.si(macs)} MACs and {units.size(bytes_)}" if macs else units.size(bytes_)
        yield Measure(path, bytes_, f"{work} for results that the output does not need: leave them out")


def _ids(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else value


def copying_in_place(trace: Trace) -> Iterator[Measure]:
    """I1: an activation with inplace=True whose gradient needs its input, so that training keeps a copy of it."""
    if not trace.steps:
        return
    step = trace.steps[-1]
    copied: dict[str, int] = defaultdict(int)
    for call in trace.calls[step.forward : step.loss]:
        module = trace.modules[trace.module_calls[call.module_call].module]
        if "inplace=True" in module.extra and base_name(call.op) == "clone":
            copied[module.path] += trace.storages[trace.tensors[call.outputs[0]].storage].bytes
    for path, bytes_ in copied.items():
        yield Measure(path, bytes_, "inplace=False keeps as much, without the copy; ReLU works in place")


def unregistered_weights(trace: Trace) -> Iterator[Measure]:
    """W1: tensors that a module multiplies by and that are neither parameter, buffer nor input."""
    for path, shapes in used_unregistered(trace).items():
        elements = sum(prod(shape) for shape in shapes)
        advice = f"{', '.join(units.shape(shape) for shape in shapes[:3])}: nn.Parameter, or nn.ModuleList for layers"
        yield Measure(path, elements, advice)
