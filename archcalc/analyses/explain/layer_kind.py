"""Kinds of layer, and the view of one layer's call from which a kind reads its numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from archcalc.ops.call_view import CallView
from archcalc.ops.names import base_name
from archcalc.tracing import Call, ModuleCall, Shape, Trace

Reading = tuple[dict[str, int], set[str]]
"""A number for each letter, and the conditions that hold."""


@dataclass(frozen=True)
class Seen:
    """One call of a layer: its module call, its parameters' shapes by their names in it."""

    trace: Trace
    path: str
    call: ModuleCall
    parameters: Mapping[str, Shape]

    @property
    def ops(self) -> tuple[Call, ...]:
        """The op calls of the layer and of what is in it."""
        return self.trace.calls[self.call.first : self.call.last]

    @property
    def inputs(self) -> list[Shape]:
        """Shapes of the tensors it was given."""
        return [self.trace.shape(tensor) for tensor in self.call.inputs]

    @property
    def output(self) -> Shape:
        """Shape of its first output."""
        return self.trace.shape(self.call.outputs[0])

    def op(self, *names: str) -> CallView:
        """Its first op of one of these names; LookupError where there is none."""
        first = next((call for call in self.ops if base_name(call.op) in names), None)
        if first is None:
            raise LookupError(names[0])
        return CallView(self.trace, first)

    def inside(self, name: str) -> list[Shape]:
        """The shapes that a module inside it was given; LookupError where there is none."""
        for call in self.trace.module_calls:
            if call.first >= self.call.first and self.trace.modules[call.module].path == f"{self.path}.{name}".lstrip(
                "."
            ):
                return [self.trace.shape(tensor) for tensor in call.inputs]
        raise LookupError(name)


@dataclass(frozen=True)
class Kind:
    """One kind: the name to type, the module classes it stands for, its letters in words, its formulas, its reader.

    `formulas` are pairs of a figure (output, an axis of it such as H', params, buffers, MACs, elementwise) and a
    template.
    """

    name: str
    types: tuple[str, ...]
    letters: str
    formulas: tuple[tuple[str, str], ...]
    read: Callable[[Seen], Reading]
    says: str = ""


def has(seen: Seen, parameter: str, condition: str) -> set[str]:
    """The condition, if the layer has a parameter or buffer of that name."""
    return {condition} if parameter in seen.parameters else set()
