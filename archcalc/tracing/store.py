"""Whether what was read from a file is a trace: ids lead somewhere, values are of the kind their record says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archcalc.tracing.records import Trace

ROLES = ("parameter", "buffer", "constant", "input", "activation", "saved", "gradient", "optimizer", "workspace")


def validate(trace: Trace) -> None:
    """Raise ValueError with the first thing that is wrong."""
    _head(trace)
    _modules(trace)
    _memory(trace)
    _calls(trace)


def _head(trace: Trace) -> None:
    model = trace.model
    _check(_texts(model.reference, model.name, model.source), "model")
    _check(isinstance(model.config, dict) and isinstance(model.settings, dict), "set of knobs")
    _check({"mode", "dtype"} <= set(trace.assumptions), "set of assumptions")
    _check(_texts(*trace.notes), "note")
    for one in trace.inputs:
        _check(_texts(one.name, one.dtype, one.origin) and _sizes(one.shape), "input")


def _modules(trace: Trace) -> None:
    paths = {module.path for module in trace.modules}
    _check(len(paths) == len(trace.modules) > 0 and trace.modules[0].path == "", "list of modules")
    for number, module in enumerate(trace.modules):
        _check(_texts(module.path, module.type, module.extra), "module")
        _check(_below(module.parent, number) if number else module.parent is None, "parent of a module")
    for parameter in trace.parameters:
        _ids("tensor", len(trace.tensors), [parameter.tensor])
        _check(bool(parameter.names) and _texts(*parameter.names) and parameter.owner in paths, "owner of a parameter")
        _check(parameter.kind in ("parameter", "buffer") and isinstance(parameter.trainable, bool), "parameter")


def _memory(trace: Trace) -> None:
    for tensor in trace.tensors:
        _check(_sizes(tensor.shape) and _texts(tensor.dtype), "tensor")
        _ids("storage", len(trace.storages), [tensor.storage])
    for storage in trace.storages:
        _check(_below(storage.bytes, float("inf")) and storage.role in ROLES, "storage")
        _check(storage.birth == -1 or _below(storage.birth, len(trace.calls)), "birth of a storage")
        _check(storage.death is None or _below(storage.death, len(trace.calls) + 1), "death of a storage")
    _ids("tensor", len(trace.tensors), [*trace.input_tensors, *trace.output_tensors])


def _calls(trace: Trace) -> None:
    for run in trace.module_calls:
        _ids("module", len(trace.modules), [run.module])
        _ids("tensor", len(trace.tensors), [*run.inputs, *run.outputs])
        _check(
            _below(run.first, len(trace.calls) + 1) and _below(run.last, len(trace.calls) + 1), "span of a module call"
        )
    for step in trace.steps:
        marks = (step.start, step.forward, step.loss, step.backward, step.optimizer, step.end)
        _check(list(marks) == sorted(marks) and all(_below(m, len(trace.calls) + 1) for m in marks), "training step")
    for call in trace.calls:
        _ids("module call", len(trace.module_calls), [call.module_call])
        _ids("tensor", len(trace.tensors), [*call.tensors(), *call.outputs])
        _check(_below(call.scratch, float("inf")), "number of scratch bytes")
        _check(_texts(call.op) and "." in call.op and isinstance(call.attributes, dict), "op call")


def _check(right: bool, what: str) -> None:
    if not right:
        raise ValueError(f"a {what} is not one")


def _ids(kind: str, count: int, ids: Iterable[Any]) -> None:
    for number in ids:
        if not _below(number, count):
            raise ValueError(f"there is no {kind} {number!r}")


def _texts(*values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def _sizes(shape: Any) -> bool:
    return isinstance(shape, tuple) and all(_below(size, float("inf")) for size in shape)


def _below(number: Any, limit: float) -> bool:
    return type(number) is int and 0 <= number < limit
