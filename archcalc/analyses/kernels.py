"""Op calls as kernels: what each reads and writes, in the storages that it touches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from archcalc.ops.registry import Op, known
from archcalc.ops.traffic import Moved, Operands, is_view
from archcalc.tracing import Tensor, Trace
from archcalc.tracing.places import bytes_by_storage

Sizes = Mapping[int, int]
"""Bytes by the number of the storage."""


class Kernel:
    """Op calls that run as one kernel, by their numbers, and the bytes that it moves, at the call that moves them.

    `calls` are the numbers of the op calls, in order; `read` the bytes that it reads, `total` those that it reads and
    writes. `unknown` is the op of a kernel whose traffic is not known. `touched` are bytes by storage, where they are
    not those of an op call. `products` and `operations` are its parts of those of its op calls, as a numerator and a
    denominator.
    """

    products = operations = (1, 1)

    def __init__(
        self, moved: Mapping[int, Moved], unknown: str = "", touched: tuple[Sizes, Sizes] | None = None
    ) -> None:
        self.moved, self.unknown, self._touched = moved, unknown, touched
        self.calls = tuple(moved)
        self.read = sum([each.read for each in moved.values()])
        self.total = self.read + sum([each.written for each in moved.values()])

    def touched(self, span: Span) -> tuple[Sizes, Sizes]:
        """Bytes of each storage that it reads before it wrote it itself, and of each that it writes for others."""
        return self._touched or span.touched(self.calls[0])


class Span:
    """Some op calls in a row that move anything, with what each reads and writes: found once, for all kernels.

    `ops` are their entries, by their numbers; `moved` is None, and so is the entry, of an op that is not known.
    """

    def __init__(self, trace: Trace, numbers: range) -> None:
        self.trace, self.numbers = trace, numbers
        self._results = {trace.tensors[tensor].storage for tensor in trace.output_tensors}
        self.ops: dict[int, Op | None] = {}
        self.operands: dict[int, Operands] = {}
        self.moved: dict[int, Moved | None] = {}
        self._touched: dict[int, tuple[Sizes, Sizes]] = {}
        for number in numbers:
            call = trace.calls[number]
            if not is_view(trace, call):
                self._add(number, known(call.op), Operands(trace, call))

    def _add(self, number: int, op: Op | None, operands: Operands) -> None:
        moved = None if op is None else op.traffic(operands)
        if moved is None or moved.total:
            self.ops[number], self.operands[number], self.moved[number] = op, operands, moved

    def read(self, number: int) -> Sequence[Tensor]:
        """The tensors that an op call reads; none if its inputs give it shapes alone."""
        moved = self.moved[number]
        return () if moved and not moved.read else self.operands[number].read_tensors

    def death(self, storage: int) -> int | None:
        """The op call before which a storage is freed in the span; None if a later one or the caller still has it."""
        death = self.trace.storages[storage].death
        return None if death is None or death > self.numbers.stop or storage in self._results else death

    def lasts(self, storage: int) -> bool:
        """Whether a storage is there before or after the op calls: an input, a parameter, a result."""
        return self.trace.storages[storage].birth < self.numbers.start or self.death(storage) is None

    def touched(self, number: int) -> tuple[Sizes, Sizes]:
        """Bytes of each storage that an op call reads, and of each that it writes."""
        if number not in self._touched:
            operands = self.operands[number]
            self._touched[number] = bytes_by_storage(self.read(number)), bytes_by_storage(operands.written_tensors)
        return self._touched[number]


def kernels(span: Span) -> list[Kernel]:
    """One kernel for each op call."""
    return [
        Kernel({number: Moved()}, span.trace.calls[number].op) if moved is None else Kernel({number: moved})
        for number, moved in span.moved.items()
    ]
