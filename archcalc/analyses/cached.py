"""Bytes that kernels must move between the memory of a device and its cache, the largest there is on the chip.

A cache that keeps what was used last holds, of a tensor, at most what other bytes have not pushed out since: of S
bytes, min(S, C - D), C being its capacity and D the bytes that kernels moved since the tensor was used. Those need not
be read again. It writes to memory in the order in which kernels wrote: of a tensor that dies, or is overwritten, when D
bytes were moved since it was written, min(S, C - D) are never written. What is used for the first time, inputs and
weights, is read from memory, and results of the run are written to it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from archcalc.analyses.fusion import Kernel, Sizes, Span


def memory_bytes(span: Span, kernels: Sequence[Kernel], capacity: int, compiled: bool = False) -> list[int]:
    """Bytes that each kernel must read from memory, or write to it, beside a cache of `capacity` bytes.

    `kernels` stand in the order in which they run. A tensor dies where Python frees it, or, `compiled`, behind the last
    kernel that uses it.
    """
    uses = [_touched(span, kernel) for kernel in kernels]
    moved = list(accumulate(kernel.total for kernel in kernels))
    held = _held(kernels, uses, moved, capacity)
    deaths = _last_uses(span, uses, moved) if compiled else _deaths(span, kernels, moved)
    unwritten = _unwritten(kernels, uses, moved, deaths, capacity)
    left = []
    for kernel, read_again, never_written in zip(kernels, held, unwritten, strict=True):
        written = kernel.total - kernel.read
        left.append(max(0, kernel.read - read_again) + max(0, written - never_written))
    return left


def _held(
    kernels: Sequence[Kernel], uses: Sequence[tuple[Sizes, Sizes]], moved: Sequence[int], capacity: int
) -> list[int]:
    """Bytes that each kernel reads and finds in the cache."""
    used: dict[int, int] = {}  # bytes moved when each storage was used last
    found = []
    for kernel, (reads, writes), after in zip(kernels, uses, moved, strict=True):
        room = capacity - (after - kernel.total)
        found.append(sum(max(0, min(size, room + used[key])) for key, size in reads.items() if key in used))
        used |= dict.fromkeys((*reads, *writes), after)
    return found


def _unwritten(
    kernels: Sequence[Kernel],
    uses: Sequence[tuple[Sizes, Sizes]],
    moved: Sequence[int],
    deaths: Sizes,
    capacity: int,
) -> list[int]:
    """Bytes that each kernel writes and that memory never gets."""
    ends = dict(deaths)  # of each storage: bytes moved when it dies or is overwritten
    found = []
    for kernel, (_, writes), after in zip(reversed(kernels), reversed(uses), reversed(moved), strict=True):
        room = capacity + after
        found.append(sum(max(0, min(size, room - ends.get(key, room))) for key, size in writes.items()))
        ends |= dict.fromkeys(writes, after - kernel.total)
    return found[::-1]


def _deaths(span: Span, kernels: Sequence[Kernel], moved: Sequence[int]) -> Sizes:
    """Bytes moved when Python frees each storage; none for those that outlive the run."""
    starts = [kernel.calls[0] for kernel in kernels]
    deaths = {}
    for key, death in _mortal(span):
        position = bisect_left(starts, death)
        deaths[key] = moved[position - 1] if position else 0
    return deaths


def _last_uses(span: Span, uses: Sequence[tuple[Sizes, Sizes]], moved: Sequence[int]) -> Sizes:
    """Bytes moved behind the last kernel that uses each storage; none for those that outlive the run."""
    last: dict[int, int] = {}
    for (reads, writes), after in zip(uses, moved, strict=True):
        last |= dict.fromkeys((*reads, *writes), after)
    return {key: last.get(key, 0) for key, _ in _mortal(span)}


def _mortal(span: Span) -> Iterator[tuple[int, int]]:
    """Storages that die in the run, with the op call before which they are freed."""
    results = {span.trace.tensors[tensor].storage for tensor in span.trace.output_tensors}
    for key, storage in enumerate(span.trace.storages):
        if storage.death is not None and storage.death <= span.numbers.stop and key not in results:
            yield key, storage.death


def _touched(span: Span, kernel: Kernel) -> tuple[Sizes, Sizes]:
    """Bytes of each storage that a kernel reads before it wrote it itself, and of each that it writes for others."""
    if len(kernel.calls) == 1:
        return span.touched(kernel.calls[0])
    reads: dict[int, int] = {}
    written: set[int] = set()
    for number in kernel.calls:
        read, writes = span.touched(number)
        for storage, size in read.items():
            if storage not in written:
                reads[storage] = max(reads.get(storage, 0), size)
        written |= writes.keys()
    return reads, {storage: size for storage, size in kernel.results.items() if size}
