"""One op call as the rules of ops see it: its attributes, and the shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from archcalc.tracing import Call, Shape, Trace, Value


class CallView:
    """A call's op, attributes and shapes. Numbers of elements are products of shapes.

    `output` is the shape of the first output; () where there is none.
    """

    def __init__(self, trace: Trace, call: Call) -> None:
        self.op = call.op
        self.attributes = call.attributes
        self._trace, self._call = trace, call
        self.output: Shape = trace.shape(call.outputs[0]) if call.outputs else ()

    @property
    def outputs(self) -> list[Shape]:
        """Shapes of the outputs."""
        return [self._trace.shape(tensor) for tensor in self._call.outputs]

    @cached_property
    def inputs(self) -> list[Shape]:
        """Shapes of the input tensors, in the order of the arguments; those in lists one by one."""
        return [self._trace.shape(tensor) for tensor in self._call.tensors()]

    @cached_property
    def named(self) -> Mapping[str, Shape]:
        """Shapes of the arguments that are one tensor, by their names."""
        return {name: self._trace.shape(t) for name, t in self._call.inputs.items() if isinstance(t, int)}

    @property
    def arguments(self) -> dict[str, object]:
        """Every argument by its name: tensors as shapes, lists of tensors as tuples of shapes, and `output`."""
        known: dict[str, object] = {"output": self.output} if self._call.outputs else {}
        known |= self.attributes
        for name, tensors in self._call.inputs.items():
            shape = self._trace.shape
            known[name] = shape(tensors) if isinstance(tensors, int) else tuple(map(shape, tensors))
        return known

    def numbers(self, name: str, count: int, default: int = 0) -> list[int]:
        """An integer-list attribute, repeated to `count` numbers."""
        values = integers(self.attributes.get(name)) or [default]
        return values if len(values) == count else values[:1] * count


def integers(value: Value) -> list[int]:
    """The integers of an attribute that is one or a tuple of them; [] for anything else."""
    values: Sequence[Value] = value if isinstance(value, tuple) else (value,)
    return [int(v) for v in values if isinstance(v, int)]


def dim_of(call: CallView, rank: int) -> int:
    """The attribute `dim` as a position from 0; 0 where there is none."""
    dim = call.attributes.get("dim", 0)
    return int(dim) % rank if isinstance(dim, int) and rank else 0


def swapped_dims(call: CallView, rank: int) -> tuple[int, int]:
    """The two dimensions of a transpose; t() has no arguments and swaps 0 and 1."""
    first = integers(call.attributes.get("dim0")) or [0]
    second = integers(call.attributes.get("dim1")) or [1]
    return first[0] % max(rank, 1), second[0] % max(rank, 1)


def once(texts: Sequence[str]) -> str:
    """The text of all axes, once if it is the same for each."""
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)


def differing(before: Shape, after: Shape) -> tuple[Shape, Shape]:
    """Both shapes without their common head and tail."""
    head = 0
    while head < min(len(before), len(after)) and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < min(len(before), len(after)) - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    if head and min(len(before), len(after)) == head + tail:
        head -= 1  # 512·1·1 = 512 says more than 1·1 = 1
    return before[head : len(before) - tail], after[head : len(after) - tail]


def sizes_reason(call: CallView) -> str:
    """The sizes that changed, before and after."""
    if call.output == call.inputs[0]:
        return ""
    before, after = differing(call.inputs[0], call.output)
    return f"{'x'.join(map(str, before)) or '-'} to {'x'.join(map(str, after)) or '-'}"
