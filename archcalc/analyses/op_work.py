"""The work of one pass or one step as pieces: products, other operations and bytes of each kernel, for no device yet.

Eager: every op is a kernel of its own, which reads its inputs from memory and writes its outputs there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from archcalc.analyses.weights import COMPLEX, element_size
from archcalc.ops.names import packet
from archcalc.ops.registry import known, macs_of, operations_of
from archcalc.tracing import Call, Trace

CONVOLUTIONS = ("convolution", "_convolution", "cudnn_convolution", "convolution_overrideable", "convolution_backward")
LOOK_UP = {"embedding": "weight", "index": "self", "index_select": "self", "gather": "self", "_embedding_bag": "weight"}
"""Ops that read the rows or elements that they take, and the name of what they take them from."""
UNTOUCHED = ("empty", "empty_like", "empty_strided", "new_empty", "empty_permuted", "resize_", "_local_scalar_dense")
"""Ops that reserve memory and do not touch it."""


@dataclass(frozen=True, slots=True)
class Moved:
    """Bytes of one tensor that a kernel reads or writes: its storage, what part of it, and how many."""

    storage: int
    part: int
    bytes: int


@dataclass(frozen=True, slots=True)
class OpWork:
    """One op call that does something: where it stands, its work, and what it moves.

    `flops` are 2 a multiply-add of real numbers, in numbers of type `dtype`; `operations` all others. `convolves` says
    that the products are those of a convolution. `fuses` says that a compiler can make it part of a larger kernel.
    """

    number: int
    path: str
    op: str
    flops: int
    dtype: str
    operations: int
    reads: tuple[Moved, ...]
    writes: tuple[Moved, ...]
    convolves: bool = False
    fuses: bool = False

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return sum(moved.bytes for moved in self.reads) + sum(moved.bytes for moved in self.writes)


def span(trace: Trace) -> tuple[int, int]:
    """The op calls of a pass: the forward pass, or of a training run its last step, which is like all that follow."""
    return (trace.steps[-1].start, trace.steps[-1].end) if trace.steps else (0, len(trace.calls))


def work_of(trace: Trace) -> list[OpWork]:
    """Every op call of a pass or step that reads or writes memory, in order; views do not."""
    first, last = span(trace)
    works = (_work(trace, number, trace.calls[number]) for number in range(first, last))
    return [work for work in works if work is not None]


def _work(trace: Trace, number: int, call: Call) -> OpWork | None:
    writes = tuple(_writes(trace, call))
    if not writes:
        return None
    macs = macs_of(trace, call) or 0
    dtype = _dtype(trace, call)
    return OpWork(
        number,
        trace.path(call),
        call.op,
        2 * macs * (4 if dtype.startswith(COMPLEX) else 1),
        dtype,
        operations_of(trace, call) or 0,
        tuple(_reads(trace, call)),
        writes,
        packet(call.op) in CONVOLUTIONS,
        not macs and known(call.op) is not None,
    )


def _dtype(trace: Trace, call: Call) -> str:
    """The type of the first tensor that the call reads."""
    first = next(call.tensors(), None)
    return trace.tensors[first if first is not None else call.outputs[0]].dtype if call.outputs or first else ""


def _in_place(call: Call) -> tuple[int, ...]:
    """The tensors that an op whose name ends in _ changes; the first argument, or a list of tensors."""
    name = packet(call.op)
    if not name.endswith("_") or name.endswith("__") or not call.inputs:
        return ()
    target = next(iter(call.inputs.values()))
    return (target,) if isinstance(target, int) else target


def _moved(trace: Trace, tensor: int) -> Moved:
    """A tensor's bytes: at most its storage's, where elements are repeated."""
    of = trace.tensors[tensor]
    return Moved(of.storage, tensor, min(prod(of.shape) * element_size(of.dtype), trace.storages[of.storage].bytes))


def _reads(trace: Trace, call: Call) -> Iterator[Moved]:
    name = packet(call.op)
    source = call.inputs.get(LOOK_UP.get(name, ""))
    made = sum(_moved(trace, tensor).bytes for tensor in call.outputs)
    seen = set()
    for tensor in call.tensors():
        moved = _moved(trace, tensor)
        if (moved.storage, moved.bytes) not in seen and moved.bytes and name not in ("copy_", "zero_", "fill_"):
            yield Moved(moved.storage, tensor, min(moved.bytes, made)) if tensor == source else moved
        elif name == "copy_" and tensor == call.inputs.get("src"):
            yield moved
        seen.add((moved.storage, moved.bytes))


def _writes(trace: Trace, call: Call) -> Iterator[Moved]:
    """What is changed in place, and outputs that lie in no input's storage; nothing for views."""
    if packet(call.op) in UNTOUCHED:
        return
    there = {trace.tensors[tensor].storage for tensor in call.tensors()}
    changed = _in_place(call)
    yield from (moved for moved in (_moved(trace, tensor) for tensor in changed) if moved.bytes)
    for tensor in call.outputs:
        moved = _moved(trace, tensor)
        if moved.bytes and moved.storage not in there:
            yield moved
        there.add(moved.storage)
