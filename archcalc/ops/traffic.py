"""Bytes that one op reads and writes: the rule of most ops, and those of the ops that differ.

Each input is read once and each output written once, whatever a kernel's caches do: the least that must move between
a device's memory and its arithmetic units. A view moves nothing. Ma et al. 2018 (ShuffleNet v2) call it memory access
cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import NamedTuple

from archcalc.ops.names import packet
from archcalc.tracing import Call, Shape, Tensor, Trace, Value, element_size
from archcalc.tracing.places import bytes_of_all


class Moved(NamedTuple):
    """Bytes that an op call reads, and those that it writes."""

    read: int = 0
    written: int = 0

    @property
    def total(self) -> int:
        """Bytes read and written."""
        return self.read + self.written


class Operands:
    """The tensors of one op call, as bytes: those that it reads, those that it writes in place, and those it makes.

    `storages` are those of its inputs. `written` are the names of the inputs that it writes; in a trace that does not
    record them, the first of an op like `add_`. `read_tensors` are those that it reads, `written_tensors` the written
    ones and its outputs.
    """

    def __init__(self, trace: Trace, call: Call) -> None:
        tensors = trace.tensors
        self._call = call
        self._inputs = {
            name: [tensors[value]] if isinstance(value, int) else [tensors[tensor] for tensor in value]
            for name, value in call.inputs.items()
        }
        self._outputs = [tensors[tensor] for tensor in call.outputs]
        given = [tensor for one in self._inputs.values() for tensor in one]
        self.storages = {tensor.storage for tensor in given}
        self.written = _names_written(trace, call)
        self.read_tensors = self._tensors(self.read) if self.written else given
        self.written_tensors = [*self._tensors(self.written), *self._outputs]

    @property
    def attributes(self) -> Mapping[str, Value]:
        """The arguments that are no tensors."""
        return self._call.attributes

    @property
    def read(self) -> list[str]:
        """Names of the inputs that it reads: all but those that it is told to write its results into (`out=`)."""
        names = list(self._inputs)
        if not self.written or _named_in_place(self._call.op):
            return names
        return [name for name in names if name not in self.written or name == names[0] or name.startswith("running_")]

    @property
    def others(self) -> list[str]:
        """Names of the inputs that it does not write."""
        return [name for name in self._inputs if name not in self.written]

    def has(self, name: str) -> bool:
        """Whether an argument is a tensor, or a list of tensors."""
        return name in self._inputs

    def shape(self, name: str) -> Shape:
        """The shape of an argument that is one tensor; of a list, that of its largest."""
        return max((tensor.shape for tensor in self._tensors([name])), key=prod, default=())

    def elements(self, name: str) -> int:
        """Elements of that shape; 0 without the argument."""
        return prod(self.shape(name)) if self.has(name) else 0

    def element_bytes(self, name: str) -> int:
        """Bytes of one element of an argument that is one tensor."""
        return element_size(self._tensors([name])[0].dtype)

    def bytes_of(self, *names: str) -> int:
        """Bytes of some arguments; elements that several of them hold count once."""
        return bytes_of_all(self._tensors(names))

    def of_launch(self, launch: Launch) -> tuple[list[Tensor], list[Tensor]]:
        """The tensors that one kernel of the op reads, and those that it writes."""
        made = [self._outputs[n] for n in launch.made if n < len(self._outputs)]
        return [*self._tensors(launch.read), *(made if launch.adds else ())], made

    @property
    def output(self) -> Shape:
        """The shape of the first output; () without one."""
        return self._outputs[0].shape if self._outputs else ()

    @property
    def made(self) -> int:
        """Bytes of the outputs that lie in no input's storage."""
        return bytes_of_all([tensor for tensor in self._outputs if tensor.storage not in self.storages])

    def _tensors(self, names: Iterable[str]) -> list[Tensor]:
        return [tensor for name in names for tensor in self._inputs.get(name, ())]


def is_view(trace: Trace, call: Call) -> bool:
    """Whether an op call only shows an input in another form: it writes nothing, and its outputs lie in its inputs."""
    if not call.outputs or _names_written(trace, call):
        return False
    tensors = trace.tensors
    given = {tensors[tensor].storage for tensor in call.tensors()}
    return given.issuperset([tensors[tensor].storage for tensor in call.outputs])


def _names_written(trace: Trace, call: Call) -> tuple[str, ...]:
    if call.writes or not _named_in_place(call.op):
        return call.writes
    recorded = any(trace.tensors[tensor].strides is not None for tensor in call.tensors())
    return () if recorded else tuple(call.inputs)[:1]


@cache
def _named_in_place(op: str) -> bool:
    name = packet(op)
    return name.endswith("_") and not name.endswith("__")


Rule = Callable[[Operands], Moved]
Count = Callable[[Operands], int]


@dataclass(frozen=True, slots=True)
class Launch:
    """One of the kernels that torch runs for an op: names of the inputs that it reads, places of the outputs it writes.

    `products` is its part of the op's products, beside those of the other kernels. With `copies` it writes no more than
    that input's bytes. With `adds` it reads first what it writes. `unread` are bytes of its inputs that it passes over.
    """

    read: tuple[str, ...]
    made: tuple[int, ...] = ()
    products: int = 0
    copies: str = ""
    adds: bool = False
    unread: int = 0


Launches = Callable[[Operands], Sequence[Launch]]


def wanted_of(operands: Operands, results: int = 3) -> tuple[bool, ...]:
    """Which of its gradients a backward op computes; all of them where it does not say."""
    mask = operands.attributes.get("output_mask")
    return tuple(map(bool, mask)) if isinstance(mask, tuple) and len(mask) == results else (True,) * results


def by_launch(operands: Operands, launch: Launch) -> Moved:
    """Bytes that one kernel of an op reads and writes."""
    read, made = operands.of_launch(launch)
    all_read = bytes_of_all(read) - launch.unread
    return Moved(all_read, operands.bytes_of(launch.copies) if launch.copies else bytes_of_all(made))


def filled_first(name: str) -> Launches:
    """The kernels of an op that fills its output, and then copies the argument `name` into a part of it."""
    launches = Launch((), (0,)), Launch((name,), (0,), copies=name)
    return lambda operands: launches


def each_once(operands: Operands) -> Moved:
    """Every input is read, every output written, what changes in place both: the rule of most ops."""
    return Moved(bytes_of_all(operands.read_tensors), operands.made + operands.bytes_of(*operands.written))


def nothing(operands: Operands) -> Moved:
    """Memory is reserved or described, and not touched."""
    return Moved()


def fills(operands: Operands) -> Moved:
    """The output is written; an input gives its shape alone."""
    return Moved(0, operands.made + operands.bytes_of(*operands.written))


def overwrites(operands: Operands) -> Moved:
    """The input that it writes in place is not read before; its other inputs are."""
    return Moved(operands.bytes_of(*operands.others), operands.made + operands.bytes_of(*operands.written))


def without(*names: str) -> Rule:
    """The rule of ops that take some of their inputs for the shape alone."""

    def rule(operands: Operands) -> Moved:
        read = [name for name in operands.read if name not in names]
        return Moved(operands.bytes_of(*read), each_once(operands).written)

    return rule


def takes(table: str, rows: Count | None = None) -> Rule:
    """The rule of ops that look elements or rows up: those that they take are read, at most the whole `table`.

    `rows` counts the elements taken; without it they are as many as the results.
    """

    def rule(operands: Operands) -> Moved:
        rest = [name for name in operands.read if name != table]
        if not operands.has(table):
            return each_once(operands)
        taken = operands.made if rows is None else rows(operands) * operands.element_bytes(table)
        return Moved(min(taken, operands.bytes_of(table)) + operands.bytes_of(*rest), operands.made)

    return rule


def puts(count: Count, adds: Callable[[Operands], bool] | None = None) -> Rule:
    """The rule of ops that write `count` elements of a tensor in place, and leave the others alone.

    `adds` says whether what was there is read too. Those that give a new tensor read and write all of it.
    """

    def rule(operands: Operands) -> Moved:
        if not operands.written:
            return each_once(operands)
        target = operands.written[0]
        touched = min(operands.bytes_of(target), count(operands) * operands.element_bytes(target))
        before = touched if adds is not None and adds(operands) else 0
        return Moved(operands.bytes_of(*operands.others) + before, touched)

    return rule


def elements_of(name: str) -> Count:
    """The count of the elements of an argument."""
    return lambda operands: operands.elements(name)


def indexed(operands: Operands) -> int:
    """Elements that `index_put_` writes: its values, or, if one value goes everywhere, the places that are indexed."""
    values = operands.elements("values")
    if values != 1:
        return values
    whole, places = operands.shape("self"), operands.shape("indices")
    return prod(places) * prod(whole[1:])


def filled(operands: Operands) -> int:
    """Elements that `index_fill_` writes: the slices at its indices."""
    shape, dim = operands.shape("self"), operands.attributes.get("dim", 0)
    size = shape[int(dim)] if shape and isinstance(dim, int) else 1
    return operands.elements("index") * prod(shape) // max(size, 1)


def always(operands: Operands) -> bool:
    """The answer of ops that always add to what was there."""
    return True


def adds_up(operands: Operands) -> bool:
    """Whether `index_put_` adds its values to what was there."""
    return operands.attributes.get("accumulate") is True
