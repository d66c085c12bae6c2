"""Ops that a compiler runs as one kernel: chains of elementwise ops, normalisations and copies.

What one op of a chain makes for the next alone never leaves the chip: the chain reads its inputs once and writes what
others use. Two ops are in one chain if one uses the other's result and no other kernel lies between them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from archcalc.analyses.kernels import Kernel, Sizes, Span
from archcalc.ops.registry import Op
from archcalc.ops.traffic import Moved
from archcalc.tracing import Tensor
from archcalc.tracing.places import bytes_by_storage, bytes_of_all


def declared(op: Op) -> bool:
    """Whether the op's entry says that compilers fuse it: elementwise ops, normalisations, copies."""
    return op.fuses


def all_but_products(op: Op) -> bool:
    """Whether a compiler could fuse the op: pooling, reductions, padding and joining too, all but products."""
    return op.formula is None


def chained(span: Span, alone: Sequence[Kernel], fuses: Callable[[Op], bool] = declared) -> list[Kernel]:
    """The kernels with those of each chain made one; `fuses` says which ops can be in a chain."""
    return joined(span, alone, _chains(span, fuses)[0])


def chained_both_ways(span: Span, alone: Sequence[Kernel], fuses: Callable[[Op], bool]) -> list[list[Kernel]]:
    """The same kernels; and, if chains that can run at the same time read the same tensor, those with such made one."""
    plain, side_by_side = _chains(span, fuses)
    ways = (plain, side_by_side) if len(side_by_side) < len(plain) else (plain,)
    joint = _Joint(span)
    return [_joined(alone, groups, joint) for groups in ways]


def joined(span: Span, alone: Sequence[Kernel], groups: Iterable[Sequence[int]]) -> list[Kernel]:
    """The kernels with those of each group of op calls made one, as a library has one for several ops."""
    return _joined(alone, groups, _Joint(span))


def _joined(alone: Sequence[Kernel], groups: Iterable[Sequence[int]], joint: _Joint) -> list[Kernel]:
    of_group = {number: place for place, numbers in enumerate(groups) for number in numbers}
    parts: dict[int, list[int]] = defaultdict(list)
    kept = []
    for kernel in alone:
        place = of_group.get(kernel.calls[0])
        if place is None:
            kept.append(kernel)
        else:
            parts[place] += kernel.calls
    return sorted([*kept, *(joint.kernel(tuple(calls)) for calls in parts.values())], key=lambda k: k.calls[0])


def runnable(span: Span, kernels: Sequence[Kernel]) -> list[Kernel]:
    """The kernels in an order in which they can run: each behind those whose results it reads, else by first calls.

    A chain may begin before an op whose result its end adds, as the chain of a residual block before the shortcut.
    """
    place = {number: n for n, kernel in enumerate(kernels) for number in kernel.calls}
    needs: list[set[int]] = [set() for _ in kernels]
    writer: dict[int, int] = {}
    for number in sorted(place):
        operands = span.operands[number]
        needs[place[number]] |= {writer[storage] for storage in operands.storages if storage in writer}
        for tensor in operands.written_tensors:
            writer[tensor.storage] = place[number]
    order: list[Kernel] = []
    seen: set[int] = set()
    waiting = [(n, False) for n in reversed(range(len(kernels)))]
    while waiting:
        n, ready = waiting.pop()
        if ready:
            order.append(kernels[n])
        elif n not in seen:
            seen.add(n)
            waiting.append((n, True))
            waiting += [(needed, False) for needed in sorted(needs[n] - seen, reverse=True)]
    return order


class _Op(NamedTuple):
    """An op call: its place in the order of kernels, whether it can be in a chain, and whose results it uses."""

    level: int
    fuses: bool
    before: Sequence[int]


class _Sets:
    """Sets of numbers that are joined, each known by one of its numbers."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {}

    def of(self, number: int) -> int:
        """The number by which the set of a number is known."""
        while (beyond := self._next.get(number, number)) != number:
            self._next[number] = self._next.get(beyond, beyond)
            number = beyond
        return number

    def join(self, number: int, other: int) -> None:
        """Make the sets of two numbers one."""
        self._next[self.of(number)] = self.of(other)


def _chains(span: Span, can: Callable[[Op], bool]) -> tuple[list[list[int]], list[list[int]]]:
    """The op calls of each chain; and of each chain together with those that read the same beside it.

    A kernel that is no chain has a higher level than what it reads, and so has what reads its result. Ops of one level
    that use each other's results are one chain, for no other kernel can lie between them. A chain whose results are all
    wanted at higher levels waits for the lowest of these: the projection of a shortcut for the sum at its end.
    """
    ops: dict[int, _Op] = {}
    writers: dict[int, int] = {}
    chains = _Sets()
    for number, operands in span.operands.items():
        op = span.ops[number]
        fuses = op is not None and can(op)
        before = [writers[storage] for storage in sorted(operands.storages) if storage in writers]
        level = max([ops[w].level + (not (fuses and ops[w].fuses)) for w in before], default=0)
        ops[number] = _Op(level, fuses, before)
        for writer in before:
            if fuses and ops[writer].fuses and ops[writer].level == level:
                chains.join(writer, number)
        for tensor in operands.written_tensors:
            writers[tensor.storage] = number
    level_of = _wait(ops, chains)
    plain = _members(ops, chains)
    _share(span, ops, chains, level_of)
    return plain, _members(ops, chains)


def _members(ops: Mapping[int, _Op], chains: _Sets) -> list[list[int]]:
    """The numbers of the op calls of each chain."""
    members: dict[int, list[int]] = defaultdict(list)
    for number, op in ops.items():
        if op.fuses:
            members[chains.of(number)].append(number)
    return list(members.values())


def _wait(ops: Mapping[int, _Op], chains: _Sets) -> dict[int, int]:
    """Raise each chain to the lowest level at which its results are wanted, and join it with the chains there.

    Returns the level of each chain.
    """
    readers: dict[int, list[int]] = defaultdict(list)  # of each chain, the ops outside of it
    for number, op in ops.items():
        for writer in op.before:
            if ops[writer].fuses and chains.of(writer) != chains.of(number):
                readers[chains.of(writer)].append(number)
    level = {chains.of(number): op.level for number, op in ops.items() if op.fuses}
    for chain in sorted(readers, key=lambda each: level[each], reverse=True):  # readers have a higher level
        wanted = {n: level[chains.of(n)] if ops[n].fuses else ops[n].level - 1 for n in readers[chain]}
        latest = min(wanted.values())
        if latest > level[chain]:
            level[chain] = latest
            for number in (n for n in wanted if ops[n].fuses and wanted[n] == latest):
                chains.join(chain, number)
            level[chains.of(chain)] = latest
    return level


def _share(span: Span, ops: Mapping[int, _Op], chains: _Sets, level: Mapping[int, int]) -> None:
    """Join the chains of one level that read the same storage: none of them needs what another one makes."""
    reader: dict[tuple[int, int], int] = {}
    for number, at in [(number, level[chains.of(number)]) for number, op in ops.items() if op.fuses]:
        for storage in span.touched(number)[0]:
            chains.join(number, reader.setdefault((storage, at), number))


class _Joint:
    """Kernels of several op calls each: a group of calls is made one once, whoever asks for it."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._made: dict[tuple[int, ...], Kernel] = {}
        self._readers: dict[int, list[tuple[int, Tensor]]] = {}  # of each storage, with what they read

    def kernel(self, calls: tuple[int, ...]) -> Kernel:
        """The kernel of some op calls: each input from outside is read once, each result for others written once."""
        if calls not in self._made:
            self._made[calls] = self._fused(calls)
        return self._made[calls]

    def _fused(self, calls: tuple[int, ...]) -> Kernel:
        span, running, inside = self._span, _Running(), frozenset(calls)
        for number in calls:
            moved, (reads, writes) = span.moved[number] or Moved(), span.touched(number)
            running.read[number] = max(0, moved.read - running.known(span.read(number), reads))
            for storage, size in reads.items():
                if storage not in running.written:
                    running.reads[storage] = max(size, running.reads.get(storage, 0))
            for storage, size in writes.items():
                running.written[storage] = number, max(size, running.written.get(storage, (0, 0))[1])
        results = {storage: self._wanted(storage, size, inside) for storage, (_, size) in running.written.items()}
        written: dict[int, int] = defaultdict(int)
        for storage, (number, _) in running.written.items():
            written[number] += results[storage]
        moved_by = {number: Moved(read, written[number]) for number, read in running.read.items()}
        return Kernel(moved_by, touched=(running.reads, {key: size for key, size in results.items() if size}))

    def _wanted(self, storage: int, size: int, inside: frozenset[int]) -> int:
        """Of `size` bytes of a storage that a chain wrote those that others read: of a split tensor perhaps a half."""
        if self._span.lasts(storage):
            return size
        return min(size, bytes_of_all([each for number, each in self._read(storage) if number not in inside]))

    def _read(self, storage: int) -> Sequence[tuple[int, Tensor]]:
        """The op calls that read a storage, each with what it reads."""
        if not self._readers:
            for number in self._span.moved:
                for tensor in self._span.read(number):
                    self._readers.setdefault(tensor.storage, []).append((number, tensor))
        return self._readers.get(storage, ())


@dataclass
class _Running:
    """A chain so far: bytes by op call and by storage, storages that it wrote, where last, and what it read."""

    read: dict[int, int] = field(default_factory=dict)
    reads: dict[int, int] = field(default_factory=dict)
    written: dict[int, tuple[int, int]] = field(default_factory=dict)
    seen: dict[int, list[Tensor]] = field(default_factory=lambda: defaultdict(list))

    def known(self, reads: Sequence[Tensor], sizes: Sizes) -> int:
        """Bytes of what an op call reads, `sizes` by storage, that the chain wrote itself or has read before."""
        seen = [tensor for storage in sizes for tensor in self.seen.get(storage, ())]
        for tensor in reads:
            self.seen[tensor.storage].append(tensor)
        if not seen:
            return sum([size for storage, size in sizes.items() if storage in self.written])
        before, after = bytes_by_storage(seen), bytes_by_storage([*seen, *reads])
        return sum(
            size - (0 if storage in self.written else after[storage] - before.get(storage, 0))
            for storage, size in sizes.items()
        )
