"""The parts of a trace: plain frozen data, no torch inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from math import isfinite, prod
from re import search
from typing import Any

Shape = tuple[int, ...]
Value = int | float | bool | str | None | tuple["Value", ...]
"""Types of an op's attribute; floats that JSON cannot write (inf, nan) are kept as text."""
SIMPLE, LISTS = (int, bool, str, type(None)), (list, tuple)
"""Types of arguments that are trace data as they are, and of those that hold others."""


@cache
def element_size(dtype: str) -> int:
    """Bytes of one element; torch stores types of less than a byte in one.

    >>> element_size("float32"), element_size("bfloat16"), element_size("bool"), element_size("complex64")
    (4, 2, 1, 8)
    >>> element_size("float8_e4m3fn"), element_size("uint4"), element_size("quint4x2")
    (1, 1, 1)
    """
    bits = search(r"\d+", dtype)
    return max(1, int(bits[0]) // 8) if bits else 1


@dataclass(frozen=True, slots=True)
class Model:
    """The traced model: its reference as typed, its name, its source, all its knobs, and those that were set."""

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
    """A parameter or buffer: its dotted names (several when tied), tensor and kind.

    `stored` are its bytes in a quantized checkpoint, scales included; None if it is stored in its own type.
    """

    names: tuple[str, ...]
    tensor: int
    kind: str
    trainable: bool
    stored: int | None = None

    @property
    def owner(self) -> str:
        """Path of the module that registered it first."""
        return self.names[0].rpartition(".")[0]


@dataclass(frozen=True, slots=True)
class Tensor:
    """Shape and dtype of a tensor, the storage its elements live in, and where: strides and offset, in elements.

    `strides` is None in traces stored by versions that did not record them.
    """

    shape: Shape
    dtype: str
    storage: int
    strides: Shape | None = None
    offset: int = 0

    @property
    def place(self) -> tuple[object, ...]:
        """The storage and the elements in it: equal for two tensors that are the same elements."""
        return self.storage, self.shape, self.strides, self.offset

    @property
    def distinct_bytes(self) -> int:
        """Bytes of its elements, those in the same place once: a tensor that was expanded repeats elements.

        >>> Tensor((8, 100), "float32", 0, (1, 0)).distinct_bytes, Tensor((8, 100), "float32", 0).distinct_bytes
        (32, 3200)
        >>> Tensor((9, 4), "float32", 0, (2, 1)).distinct_bytes  # windows of 4 at every second of 20 elements
        80
        """
        return _distinct_bytes(self.shape, self.dtype, self.strides)


@lru_cache(4096)
def _distinct_bytes(shape: Shape, dtype: str, strides: Shape | None) -> int:
    elements = prod(shape)
    if elements and strides is not None:
        places = [(size, stride) for size, stride in zip(shape, strides, strict=True) if stride]
        span = 1 + sum((size - 1) * abs(stride) for size, stride in places)
        elements = min(prod(size for size, _ in places), span)
    return elements * element_size(dtype)


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

    `scratch` are bytes that its kernel uses inside the call and gives back, as far as a device was named. `writes` are
    the names of the inputs that it writes.
    """

    op: str
    module_call: int
    phase: str
    inputs: Mapping[str, int | tuple[int, ...]]
    outputs: tuple[int, ...]
    attributes: Mapping[str, Value]
    scratch: int = 0
    writes: tuple[str, ...] = ()

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
class Kept:
    """A tensor that autograd keeps for backward: the module call that made the node which keeps it, and when.

    It is kept when `packed` op calls have run, first read after `unpacked` calls, and let go after `released`. The last
    two are None for what backward never read or never let go.
    """

    tensor: int
    module_call: int
    packed: int
    unpacked: int | None
    released: int | None


@dataclass(frozen=True, slots=True)
class Counted:
    """The result of another counter: MACs of each module's own ops, under the counter's own names.

    `unknown` are the ops that it met and has no rule for; `failed` is its error where it could not run.
    """

    by: str
    macs: Mapping[str, Mapping[str, int]]
    unknown: tuple[str, ...]
    failed: str = ""


def plain(value: Any) -> Value:
    """An argument as trace data: numbers, words and tuples of them; anything else by its text.

    >>> plain([1, float("inf"), None])
    (1, 'inf', None)
    """
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, LISTS):
        return tuple([plain(item) for item in value])
    return value if isinstance(value, SIMPLE) else str(value).removeprefix("torch.")
