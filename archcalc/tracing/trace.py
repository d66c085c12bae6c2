"""The record of one run of a network on tensors without data.

A trace knows what happened and nothing about what it costs. Time is counted in op calls: a storage born at `b` and dead
at `d` was live during the calls b, b+1, ..., d-1. Positions in the tuples are the ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from archcalc.errors import NotATrace
from archcalc.tracing import store
from archcalc.tracing.columns import columns
from archcalc.tracing.records import (
    Call,
    Input,
    Kept,
    Model,
    Module,
    ModuleCall,
    Parameter,
    Shape,
    Step,
    Storage,
    Tensor,
    Value,
)

DEFINITION = "definition"
"""The mode of a trace of modules and parameters alone: no input, no run."""


@dataclass(frozen=True, slots=True, repr=False)
class Trace:
    """One run. `modules` holds the whole tree, called or not, parents before children, the root ('') first.

    `kept` are the tensors that autograd keeps in training steps, in the order in which it keeps them; what a
    checkpointed layer computes again is not among them.
    """

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
    kept: tuple[Kept, ...] = field(default=())

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
        """The first forward pass alone; the same trace if nothing followed it. Storages keep their later deaths."""
        if not self.steps:
            return self
        end = self.module_calls[0].last
        runs = tuple(run for run in self.module_calls if run.last <= end)
        return replace(self, calls=self.calls[:end], module_calls=runs, steps=(), kept=())

    def to_json(self) -> str:
        """The trace as one JSON document; `from_json` reads it back unchanged."""
        return store.written(columns(self))

    @staticmethod
    def from_json(text: str, path: str = "the text") -> Trace:
        """Read what `to_json` wrote; NotATrace names `path` and says what is wrong with anything else."""
        fields = store.read(text, path)
        try:
            return Trace(**fields)
        except TypeError as error:  # a field that no trace has
            raise NotATrace(path, f"it is damaged ({error})") from None
