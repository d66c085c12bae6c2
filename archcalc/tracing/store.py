"""A trace as JSON, and back. What is read from a file is checked: ids lead somewhere, values are of the right kind.

Version 2 of the form added strides and offsets of tensors, and the inputs that an op writes; version 1 is still read.
Records are written in columns; a list of one object a record, which was written before, is still read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import prod
from shlex import quote
from typing import Any

from archcalc.errors import NotATrace
from archcalc.text.finite_json import read_json
from archcalc.tracing.columns import Fields, records

SCHEMA_VERSION = 2
READABLE = (1, 2)
"""Versions of the form that are read."""
LARGEST = 2**63
"""No tensor of torch has as many elements, and no storage as many bytes."""
ROLES = (
    "parameter", "buffer", "constant", "input", "activation", "saved", "gradient", "optimizer", "master", "workspace",
    "activation gradient", "cache",
)  # fmt: skip


OF_A_HUB = "what makes a model of transformers is its config.json, or the folder that holds one"


def written(fields: Fields) -> str:
    """The fields of a trace as one JSON document."""
    return json.dumps({"schema_version": SCHEMA_VERSION, "trace": fields}, allow_nan=False)


def read(text: str, path: str) -> Fields:
    """The checked fields of a trace that was written to `path`; NotATrace says what is wrong."""
    try:
        document = read_json(text)
    except (ValueError, RecursionError) as error:
        raise NotATrace(path, f"it is not JSON ({error})") from None
    if not isinstance(document, dict) or "trace" not in document:
        if isinstance(document, dict) and not {"model_type", "architectures"}.isdisjoint(document):
            raise NotATrace(path, "it is a configuration of transformers", f"write  hf:{path}")
        if isinstance(document, dict) and "peft_type" in document:
            raise NotATrace(path, "it describes adapters of PEFT", _with_adapters(document))
        raise NotATrace(path, "it has no 'trace'", OF_A_HUB if isinstance(document, dict) and document else "")
    if document.get("schema_version") not in READABLE:
        raise NotATrace(path, f"its schema_version is not {' or '.join(map(str, READABLE))}")
    try:
        fields = records(document["trace"])
        check(fields)
    except RecursionError:
        raise NotATrace(path, "its values are nested too deeply") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise NotATrace(path, f"it is damaged ({error})") from None
    return fields


def _with_adapters(document: Fields) -> str:
    """What to type for the model that a configuration of PEFT adapts."""
    targets = document.get("target_modules")
    named = ",".join(map(str, targets)) if isinstance(targets, list) else str(targets or "all-linear")
    model = str(document.get("base_model_name_or_path") or "path/to/config.json")
    typed = f"r={document.get('r', 8)},alpha={document.get('lora_alpha', 8)},target={named}"
    return f"write  {quote(f'hf:{model}')} --lora {quote(typed)}"


def check(fields: Fields) -> None:
    """Raise ValueError with the first thing that is wrong."""
    _check_head(fields)
    _check_modules(fields)
    _check_memory(fields)
    _check_calls(fields)
    _check_kept(fields)


def _check_head(fields: Fields) -> None:
    model = fields["model"]
    _demand(_texts(model.reference, model.name, model.source), "the model's reference, name and source must be texts")
    knobs = isinstance(model.config, dict) and isinstance(model.settings, dict)
    _demand(knobs, "the model's config and settings must be objects")
    _demand({"mode", "dtype"} <= set(fields["assumptions"]), "the assumptions must name mode and dtype")
    _demand(_texts(*fields.get("notes", ())), "a note must be a text")
    for number, given in enumerate(fields["inputs"]):
        right = _texts(given.name, given.dtype, given.origin) and _sizes(given.shape)
        _demand(right, f"input {number} must have a name, dtype and origin, and whole numbers as its shape")


def _check_modules(fields: Fields) -> None:
    modules = fields["modules"]
    paths = {module.path for module in modules}
    _demand(bool(modules) and modules[0].path == "", "the first module must be the model itself, with the path ''")
    _demand(len(paths) == len(modules), "two modules have one path")
    for number, module in enumerate(modules):
        _demand(_texts(module.path, module.type, module.extra), f"module {number} must have texts as path and type")
        right = _below(module.parent, number) if number else module.parent is None
        _demand(right, f"module {number} has the parent {module.parent!r}, which does not come before it")
    for number, parameter in enumerate(fields["parameters"]):
        _demand_ids(f"parameter {number}", "tensor", len(fields["tensors"]), [parameter.tensor])
        named = bool(parameter.names) and _texts(*parameter.names)
        _demand(named and parameter.owner in paths, f"parameter {number} belongs to no module")
        right = parameter.kind in ("parameter", "buffer") and isinstance(parameter.trainable, bool)
        _demand(right, f"parameter {number} must be a parameter or a buffer, trainable or not")
        right = parameter.stored is None or _natural(parameter.stored)
        _demand(right, f"parameter {number} takes {parameter.stored!r} bytes as stored")


def _check_memory(fields: Fields) -> None:
    storages, calls = fields["storages"], len(fields["calls"])
    for number, tensor in enumerate(fields["tensors"]):
        _demand(_sizes(tensor.shape) and _texts(tensor.dtype), f"tensor {number} must have a shape and a dtype")
        _demand_ids(f"tensor {number}", "storage", len(storages), [tensor.storage])
        placed = tensor.strides is None or (_naturals(tensor.strides) and len(tensor.strides) == len(tensor.shape))
        right = placed and _natural(tensor.offset)
        _demand(right, f"tensor {number} must have a stride for each size, and an offset from 0")
    for number, storage in enumerate(storages):
        _demand(_natural(storage.bytes), f"storage {number} has {storage.bytes!r} bytes")
        _demand(storage.role in ROLES, f"storage {number} has the role {storage.role!r}, which does not exist")
        born = storage.birth == -1 or _below(storage.birth, calls)
        _demand(born, f"storage {number} is born at op {storage.birth!r}, but the trace has {calls:,} ops")
        died = storage.death is None or _below(storage.death, calls + 1)
        _demand(died, f"storage {number} dies at op {storage.death!r}, but the trace has {calls:,} ops")
    both = [*fields["input_tensors"], *fields["output_tensors"]]
    _demand_ids("the model", "tensor", len(fields["tensors"]), both)


def _check_kept(fields: Fields) -> None:
    tensors, runs, count = len(fields["tensors"]), len(fields["module_calls"]), len(fields["calls"])
    for number, kept in enumerate(fields.get("kept", ())):
        _demand_ids(f"kept tensor {number}", "tensor", tensors, [kept.tensor])
        _demand_ids(f"kept tensor {number}", "module call", runs, [kept.module_call])
        times = [kept.packed, *(time for time in (kept.unpacked, kept.released) if time is not None)]
        right = all(_below(time, count + 1) for time in times) and times == sorted(times)
        _demand(right, f"kept tensor {number} is kept, read and let go at ops {times}, which are not in order")


def _check_calls(fields: Fields) -> None:
    tensors, runs, count = len(fields["tensors"]), fields["module_calls"], len(fields["calls"])
    for number, run in enumerate(runs):
        _demand_ids(f"module call {number}", "module", len(fields["modules"]), [run.module])
        _demand_ids(f"module call {number}", "tensor", tensors, [*run.inputs, *run.outputs])
        for verb, op in (("begins", run.first), ("ends", run.last)):
            _demand(
                _below(op, count + 1),
                f"module call {number} {verb} at op {_shown(op)}, but the trace has {count:,} ops",
            )
    for number, step in enumerate(fields["steps"]):
        marks = (step.start, step.forward, step.loss, step.backward, step.optimizer, step.end)
        right = list(marks) == sorted(marks) and all(_below(mark, count + 1) for mark in marks)
        _demand(right, f"the phases of training step {number} are not in order")
    for number, call in enumerate(fields["calls"]):
        named = _texts(call.op) and "." in call.op and isinstance(call.attributes, dict)
        _demand(named, f"op call {number} must have a name such as 'aten.mm' and an object of attributes")
        _demand_ids(f"op call {number}", "module call", len(runs), [call.module_call])
        _demand_ids(f"op call {number}", "tensor", tensors, [*call.tensors(), *call.outputs])
        _demand(_natural(call.scratch), f"op call {number} has {call.scratch!r} scratch bytes")
        written = isinstance(call.writes, tuple) and all(name in call.inputs for name in call.writes)
        _demand(written, f"op call {number} writes what is none of its inputs")


def _demand(right: bool, sentence: str) -> None:
    if not right:
        raise ValueError(sentence)


def _demand_ids(owner: str, kind: str, count: int, ids: Iterable[Any]) -> None:
    for number in ids:
        if not _below(number, count):
            raise ValueError(f"{owner} names {kind} {_shown(number)}, but the trace has {count:,}")


def _shown(number: Any) -> str:
    return f"{number:,}" if type(number) is int else repr(number)


def _texts(*values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def _sizes(shape: Any) -> bool:
    return _naturals(shape) and prod(shape) < LARGEST


def _naturals(numbers: Any) -> bool:
    return isinstance(numbers, tuple) and all(map(_natural, numbers))


def _natural(number: Any) -> bool:
    return _below(number, LARGEST)


def _below(number: Any, limit: float) -> bool:
    return type(number) is int and 0 <= number < limit
