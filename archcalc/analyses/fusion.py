"""Ops that a compiler runs as one kernel: chains of elementwise ops, normalisations and copies.

What one op of a chain makes for the next alone never leaves the chip: the chain reads its inputs once and writes what
others use. Two ops are in one chain if one uses the other's result and no other kernel lies between them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from archcalc.ops.registry import Op, known
from archcalc.ops.traffic import Moved, Operands
from archcalc.tracing import Tensor, Trace

Sizes = Mapping[int, int]
"""Bytes by the number of the storage."""


class Kernel:
    """Op calls that run as one kernel, by their numbers, and the bytes that it moves, at the call that moves them.

    `calls` are the numbers of the op calls, in order; `read` the bytes that it reads, `total` those that it reads and
    writes. `unknown` is the op of a kernel whose traffic is not known.
    """

    def __init__(self, moved: Mapping[int, Moved], unknown: str = "") -> None:
        self.moved, self.unknown = moved, unknown
        self.calls = tuple(moved)
        self.read = sum([each.read for each in moved.values()])
        self.total = self.read + sum([each.written for each in moved.values()])


def declared(op: Op) -> bool:
    """Whether the op's entry says that compilers fuse it: elementwise ops, normalisations, copies."""
    return op.fuses


def all_but_products(op: Op) -> bool:
    """Whether a compiler could fuse the op: pooling, reductions, padding and joining too, all but products."""
    return op.formula is None


class Span:
    """Some op calls in a row, with what each reads and writes: found once, for kernels of both kinds."""

    def __init__(self, trace: Trace, numbers: range) -> None:
        self.trace, self.numbers = trace, numbers
        self.operands = {number: Operands(trace, trace.calls[number]) for number in numbers}
        self.moved = {number: self._moved(number) for number in numbers}
        self._touched: dict[int, tuple[Sizes, Sizes]] = {}

    def _moved(self, number: int) -> Moved | None:
        op, operands = known(self.trace.calls[number].op), self.operands[number]
        return None if op is None else Moved() if operands.is_view else op.traffic(operands)

    def touched(self, number: int) -> tuple[Sizes, Sizes]:
        """Bytes of each storage that an op call reads, and of each that it writes."""
        if number not in self._touched:
            operands = self.operands[number]
            self._touched[number] = _largest(operands.read_tensors), _largest(operands.written_tensors)
        return self._touched[number]


def _largest(tensors: Iterable[Tensor]) -> Sizes:
    """Bytes of the largest of the tensors in each storage."""
    sizes: dict[int, int] = {}
    for tensor in tensors:
        sizes[tensor.storage] = max(sizes.get(tensor.storage, 0), tensor.distinct_bytes)
    return sizes


def kernels(span: Span, fused: bool, fuses: Callable[[Op], bool] = declared) -> list[Kernel]:
    """The kernels of some op calls: one for each op, or, `fused`, one for each chain. Views need none.

    `fuses` says which ops can be in a chain.
    """
    alone, chained = [], defaultdict[int, list[int]](list)
    chains = _chains(span, fuses) if fused else {}
    for number in span.numbers:
        if number in chains:
            chained[chains[number]].append(number)
            continue
        moved = span.moved[number]
        if moved is None:
            alone.append(Kernel({number: Moved()}, span.trace.calls[number].op))
        elif moved.total:
            alone.append(Kernel({number: moved}))
    if not chained:
        return alone
    uses = _Uses(span)
    return sorted([*alone, *(_fused(span, calls, uses) for calls in chained.values())], key=lambda k: k.calls[0])


def joined(span: Span, alone: Sequence[Kernel], groups: Iterable[Sequence[int]]) -> list[Kernel]:
    """The kernels with those of each group of op calls made one, as a library has one for several ops."""
    of_group = {number: place for place, numbers in enumerate(groups) for number in numbers}
    parts: dict[int, list[int]] = defaultdict(list)
    kept = []
    for kernel in alone:
        place = of_group.get(kernel.calls[0])
        if place is None:
            kept.append(kernel)
        else:
            parts[place] += kernel.calls
    if not parts:
        return kept
    uses = _Uses(span)
    return sorted([*kept, *(_fused(span, calls, uses) for calls in parts.values())], key=lambda k: k.calls[0])


@dataclass
class _Chain:
    """A storage's last writer: its place in the order of kernels, and the chain that it is in, if any."""

    level: int
    chain: int | None


def _chains(span: Span, can: Callable[[Op], bool]) -> dict[int, int]:
    """The chain of each op call that can be in one, by numbers.

    A kernel that is no chain has a higher level than what it reads, and so has what reads its result. Ops of one level
    that use each other's results are one chain, for no other kernel can lie between them.
    """
    writers: dict[int, _Chain] = {}
    chains: dict[int, int] = {}
    merged: dict[int, int] = {}

    def root(chain: int) -> int:
        while merged.get(chain, chain) != chain:
            chain = merged[chain]
        return chain

    for number, operands in span.operands.items():
        if operands.is_view:
            continue
        op = known(span.trace.calls[number].op)
        fuses = op is not None and can(op)
        before = [writers[storage] for storage in sorted(operands.storages) if storage in writers]
        level = max((w.level + (w.chain is None or not fuses) for w in before), default=0)
        chain = None
        if fuses:
            chain = chains[number] = number
            for writer in before:
                if writer.chain is not None and writer.level == level:
                    merged[root(writer.chain)] = root(chain)
        writers |= dict.fromkeys((tensor.storage for tensor in operands.written_tensors), _Chain(level, chain))
    return {number: root(chain) for number, chain in chains.items()}


class _Uses:
    """The users of each storage: op calls of the span by their numbers, and later calls or the caller (`outside`)."""

    def __init__(self, span: Span) -> None:
        trace, numbers = span.trace, span.numbers
        self.calls: dict[int, list[int]] = defaultdict(list)
        for number, operands in span.operands.items():
            if not operands.is_view:
                for storage in operands.storages:
                    self.calls[storage].append(number)
        self.outside = {trace.tensors[tensor].storage for tensor in trace.output_tensors}
        self.outside |= {
            number for number, storage in enumerate(trace.storages)
            if storage.birth < numbers.start or storage.death is None or storage.death > numbers.stop
        }  # fmt: skip

    def needed(self, storage: int, inside: Iterable[int]) -> bool:
        """Whether a storage that a chain wrote is read by anyone else."""
        return storage in self.outside or not set(self.calls[storage]) <= set(inside)


@dataclass
class _Running:
    """A chain so far: bytes by op call, storages that it wrote, and where it wrote them last."""

    read: dict[int, int] = field(default_factory=dict)
    written: dict[int, tuple[int, int]] = field(default_factory=dict)
    seen: set[object] = field(default_factory=set)


def _fused(span: Span, calls: list[int], uses: _Uses) -> Kernel:
    """A chain as one kernel: each input from outside is read once, each result that others need is written once."""
    running = _Running()
    for number in calls:
        moved, operands = span.moved[number] or Moved(), span.operands[number]
        inside = [t for t in operands.read_tensors if t.storage in running.written or t.place in running.seen]
        running.read[number] = max(0, moved.read - sum(t.distinct_bytes for t in {t.place: t for t in inside}.values()))
        running.seen |= {tensor.place for tensor in operands.read_tensors}
        for storage, size in span.touched(number)[1].items():
            running.written[storage] = number, max(size, running.written.get(storage, (0, 0))[1])
    results: dict[int, int] = defaultdict(int)
    for storage, (number, size) in running.written.items():
        if uses.needed(storage, calls):
            results[number] += size
    return Kernel({number: Moved(read, results[number]) for number, read in running.read.items()})
