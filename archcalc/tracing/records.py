"""The record of one run of a network on tensors without data: plain frozen data, no torch inside.

A trace knows what happened and nothing about what it costs: every op call with its arguments, every tensor, every
storage with its birth and death, every module call, every parameter. Time is counted in op calls: a storage
born at `b` and dead at `d` was live during the calls b, b+1, ..., d-1. Positions in the tuples are the ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from typing import Any

from archcalc.errors import NotATrace
from archcalc.tracing.store import validate

Shape = tuple[int, ...]
Value = int | float | bool | str | None | tuple["Value", ...]
"""What an op attribute may be; floats that JSON cannot write (inf, nan) are kept as text."""

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Model:
    """What was traced: the reference as typed, the name it resolved to, where from, all its knobs, and those set."""

    reference: str
    name: str
    source: str
    config: Mapping[str, Value]
    settings: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Input:
    """One input of forward; `origin` says who chose it (default, option, argument)."""

    name: str
    dtype: str
    shape: Shape
    origin: str


@dataclass(frozen=True, slots=True)
class Module:
    """One module of the tree; `extra` is its own description, `parent` the position of the module above it."""

    path: str
    type: str
    extra: str
    parent: int | None


@dataclass(frozen=True, slots=True)
class ModuleCall:
    """One call of a module: who called it, its tensors, and the op calls [first, last) it spans."""

    module: int
    parent: int | None
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter or buffer: its dotted names (several when tied), tensor and kind."""

    names: tuple[str, ...]
    tensor: int
    kind: str
    trainable: bool

    @property
    def owner(self) -> str:
        """Path of the module that registered it first."""
        return self.names[0].rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Tensor:
    """Shape and dtype of a tensor, and the storage its elements live in."""

    shape: Shape
    dtype: str
    storage: int


@dataclass(frozen=True, slots=True)
class Storage:
    """A block of memory: `birth` is the op call that made it (-1: there before), `death` the first without it."""

    bytes: int
    role: str
    birth: int
    death: int | None

    def live_at(self, call: int) -> bool:
        """Whether it exists while the op call `call` runs."""
        return self.birth <= call and (self.death is None or call < self.death)


@dataclass(frozen=True, slots=True)
class Call:
    """One op call: ATen name, the module call it ran in, its tensors by argument name, its other arguments.

    `scratch` are bytes that its kernel uses inside the call and gives back, as far as a device was named.
    """

    op: str
    module_call: int
    phase: str
    inputs: Mapping[str, int | tuple[int, ...]]
    outputs: tuple[int, ...]
    attributes: Mapping[str, Value]
    scratch: int = 0

    def tensors(self) -> Iterator[int]:
        """The ids of the input tensors, in the order of the arguments."""
        for argument in self.inputs.values():
            if isinstance(argument, tuple):
                yield from argument
            else:
                yield argument


@dataclass(frozen=True, slots=True)
class Step:
    """One training step: the op calls at which it and its phases begin, and the first after it.

    With accumulated gradients the phases are those of the last batch; the step starts with its first.
    """

    start: int
    forward: int
    loss: int
    backward: int
    optimizer: int
    end: int


@dataclass(frozen=True, slots=True)
class Counted:
    """What another counter found for the model: MACs of each module's own ops, under the counter's own names.

    `unknown` are the ops that it met and has no rule for; `failed` is its error where it could not run.
    """

    by: str
    macs: Mapping[str, Mapping[str, int]]
    unknown: tuple[str, ...]
    failed: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Trace:
    """One run. `modules` holds the whole tree, called or not, parents before children, the root ('') first."""

    model: Model
    inputs: tuple[Input, ...]
    assumptions: Mapping[str, Value]
    versions: Mapping[str, str]
    modules: tuple[Module, ...]
    module_calls: tuple[ModuleCall, ...]
    parameters: tuple[Parameter, ...]
    tensors: tuple[Tensor, ...]
    storages: tuple[Storage, ...]
    calls: tuple[Call, ...]
    input_tensors: tuple[int, ...]
    output_tensors: tuple[int, ...]
    notes: tuple[str, ...] = field(default=())
    steps: tuple[Step, ...] = field(default=())

    def __repr__(self) -> str:
        """A line instead of the whole record."""
        return f"<Trace of {self.model.name}: {len(self.calls)} op calls, {len(self.modules)} modules>"

    def shape(self, tensor: int) -> Shape:
        """Shape of the tensor with this id."""
        return self.tensors[tensor].shape

    def path(self, call: Call) -> str:
        """Path of the module that an op call ran in."""
        return self.modules[self.module_calls[call.module_call].module].path

    def of_forward(self) -> Trace:
        """The first forward pass alone; the same trace where nothing followed it. Storages keep their later deaths."""
        if not self.steps:
            return self
        end = self.module_calls[0].last
        runs = tuple(run for run in self.module_calls if run.last <= end)
        return replace(self, calls=self.calls[:end], module_calls=runs, steps=())

    def to_json(self) -> str:
        """The trace as one JSON document; `from_json` reads it back unchanged."""
        return json.dumps({"schema_version": SCHEMA_VERSION, "trace": asdict(self)}, allow_nan=False)

    @staticmethod
    def from_json(text: str, path: str = "the text") -> Trace:
        """Read what `to_json` wrote; NotATrace names `path` and says what is wrong with anything else."""
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise NotATrace(path, f"it is not JSON ({error})") from None
        if not isinstance(document, dict) or "trace" not in document:
            raise NotATrace(path, "it has no 'trace'")
        if document.get("schema_version") != SCHEMA_VERSION:
            raise NotATrace(path, f"its schema_version is not {SCHEMA_VERSION}")
        try:
            trace = _trace(_frozen(document["trace"]))
            validate(trace)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise NotATrace(path, f"it is damaged ({error})") from None
        return trace


def plain(value: Any) -> Value:
    """An argument as trace data: numbers, words and tuples of them; anything else by its text.

    >>> plain([1, float("inf"), None])
    (1, 'inf', None)
    """
    if isinstance(value, list | tuple):
        return tuple(plain(item) for item in value)
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value if isinstance(value, int | float | bool | str | None) else str(value).removeprefix("torch.")


def _frozen(value: Any) -> Any:
    """JSON's lists as tuples, all the way down."""
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return value


def _trace(fields: dict[str, Any]) -> Trace:
    records = {
        "inputs": Input,
        "modules": Module,
        "module_calls": ModuleCall,
        "parameters": Parameter,
        "tensors": Tensor,
        "storages": Storage,
        "calls": Call,
        "steps": Step,
    }
    read = {name: tuple(kind(**item) for item in fields.get(name, ())) for name, kind in records.items()}
    return Trace(**{**fields, **read, "model": Model(**fields["model"])})
