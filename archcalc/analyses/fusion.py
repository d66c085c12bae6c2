"""The kernels of a compiled pass: elementwise chains, normalisations, reductions and copies as one kernel each.

Ops that a compiler can fuse become one kernel if one gives its result to the other and no product stands between
them. Such a kernel reads what others made once, and writes only what others or the caller read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from archcalc.analyses.op_work import Moved, OpWork
from archcalc.tracing import Trace


@dataclass(slots=True)
class Kernel:
    """Op calls that run as one; `level` is the number of kernels of products on the longest way to it."""

    level: int
    works: list[OpWork] = field(default_factory=list)


Version = tuple[int, int]
"""A storage, and how often it had been written."""


class _Fusing:
    """The kernels so far, and who made the newest content of each storage."""

    def __init__(self) -> None:
        self.kernel_of: dict[int, Kernel] = {}
        self.times: dict[int, int] = defaultdict(int)
        self.maker: dict[Version, int] = {}
        self.levels: dict[Version, int] = {}
        self.read: dict[int, list[tuple[Version, Moved]]] = {}
        self.written: dict[int, list[tuple[Version, Moved]]] = {}

    def add(self, work: OpWork) -> None:
        """Put a call into the kernels that made what it reads, if it can be; else into one of its own."""
        sources = [(moved.storage, self.times[moved.storage]) for moved in (*work.reads, *work.writes)]
        level = max((self.levels.get(source, 0) for source in sources), default=0) + (not work.fuses)
        kernel = Kernel(level)
        if work.fuses:
            kernel = self._merged([self.maker[source] for source in sources if source in self.maker], level)
        kernel.works.append(work)
        self.kernel_of[work.number] = kernel
        self.read[work.number] = [((moved.storage, self.times[moved.storage]), moved) for moved in work.reads]
        for storage in {moved.storage for moved in work.writes}:
            self.times[storage] += 1
            self.maker[storage, self.times[storage]] = work.number
            self.levels[storage, self.times[storage]] = level
        self.written[work.number] = [((moved.storage, self.times[moved.storage]), moved) for moved in work.writes]

    def _merged(self, makers: Sequence[int], level: int) -> Kernel:
        """One kernel of those of the same level that made something of what is read."""
        kernels = {id(kernel): kernel for kernel in (self.kernel_of[maker] for maker in makers)}
        alike = [k for k in kernels.values() if k.level == level and k.works[0].fuses]
        if not alike:
            return Kernel(level)
        largest = max(alike, key=lambda kernel: len(kernel.works))
        for kernel in alike:
            if kernel is not largest:
                largest.works += kernel.works
                for work in kernel.works:
                    self.kernel_of[work.number] = largest
        return largest


@dataclass(frozen=True, slots=True)
class FusedWork:
    """The work of one kernel of a compiled pass, told at the module of its first op."""

    path: str
    flops: int
    dtype: str
    operations: int
    bytes: int
    convolves: bool
    ops: int


def fused_work(trace: Trace, works: Sequence[OpWork]) -> list[FusedWork]:
    """The kernels of a compiled pass."""
    fusing = _Fusing()
    for work in works:
        fusing.add(work)
    kernels = {id(kernel): kernel for kernel in fusing.kernel_of.values()}
    readers: dict[Version, set[int]] = defaultdict(set)
    for number, read in fusing.read.items():
        for version, _ in read:
            readers[version].add(id(fusing.kernel_of[number]))
    stays = _stays(trace, fusing.times, works[-1].number if works else 0)
    return [_as_one(kernel, fusing, readers, stays) for kernel in kernels.values()]


def _stays(trace: Trace, times: Mapping[int, int], last: int) -> set[Version]:
    """What is there after the pass: its result is written whoever reads it."""
    deaths = ((storage, trace.storages[storage].death) for storage in times)
    return {(storage, times[storage]) for storage, death in deaths if death is None or death > last}


def _as_one(kernel: Kernel, fusing: _Fusing, readers: Mapping[Version, set[int]], stays: set[Version]) -> FusedWork:
    works = kernel.works
    first = min(works, key=lambda work: work.number)
    made = {version for work in works for version, _ in fusing.written[work.number]}
    read = ((v, moved) for work in works for v, moved in fusing.read[work.number] if v not in made or not first.fuses)
    written = (
        (version, moved)
        for work in works
        for version, moved in fusing.written[work.number]
        if not first.fuses or version in stays or readers[version] - {id(kernel)}
    )
    return FusedWork(
        first.path,
        sum(work.flops for work in works),
        first.dtype,
        sum(work.operations for work in works),
        sum(_distinct(read)) + sum(_distinct(written)),
        first.convolves,
        len(works),
    )


def _distinct(moved: Iterator[tuple[Version, Moved]]) -> Iterator[int]:
    """Bytes of each content, what several ops take of it once: at most the largest, if parts may overlap."""
    parts: dict[Version, dict[int, int]] = defaultdict(dict)
    for version, part in moved:
        parts[version][part.part] = part.bytes
    return (max(by_part.values()) for by_part in parts.values())
