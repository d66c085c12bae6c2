"""Bytes that kernels must move between the memory of a device and its cache, the largest there is on the chip.

A cache that keeps what was used last holds, of a tensor, at most what other bytes have not pushed out since: of S
bytes, min(S, C - D), C being its capacity and D the bytes that kernels moved since the tensor was used. Those need not
be read again. It writes to memory in the order in which kernels wrote: of a tensor that dies, or is overwritten, when D
bytes were moved since it was written, min(S, C - D) are never written. What is used for the first time, inputs and
weights, is read from memory, and results of the run are written to it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

from archcalc.analyses.kernels import Kernel, Span


def memory_bytes(span: Span, kernels: Sequence[Kernel], capacity: int, compiled: bool = False) -> list[int]:
    """Bytes that each kernel must read from memory, or write to it, beside a cache of `capacity` bytes.

    `kernels` stand in the order in which they run. A tensor dies where Python frees it, or, `compiled`, behind the last
    kernel that uses it.
    """
    used: dict[int, int] = {}  # bytes moved when each storage was used last
    wrote: dict[int, list[_Written]] = {}
    to_read, to_write, moved = [], [], [0]
    for place, kernel in enumerate(kernels):
        reads, writes = kernel.touched(span)
        gone, after = moved[-1] - capacity, moved[-1] + kernel.total
        held = 0
        for key, size in reads.items():
            if (room := used.get(key, gone) - gone) > 0:
                held += min(size, room)
            used[key] = after
        to_read.append(max(0, kernel.read - held))
        to_write.append(kernel.total - kernel.read)
        for key, size in writes.items():
            now, earlier = _Written(place, size, after), wrote.get(key, ())
            for written in earlier:
                to_write[written.kernel] -= _held(min(written.size, size), written.then - gone)
            wrote[key] = [*(written for written in earlier if written.size > size), now] if earlier else [now]
            used[key] = after
        moved.append(after)
    starts = [kernel.calls[0] for kernel in kernels]
    for key, writings in wrote.items():
        if death := span.death(key):
            gone = (used[key] if compiled else moved[bisect_left(starts, death)]) - capacity
            for written in writings:
                to_write[written.kernel] -= _held(written.size, written.then - gone)
    return [read + max(0, written) for read, written in zip(to_read, to_write, strict=True)]


class _Written(NamedTuple):
    """A kernel's write to a storage: `size` bytes, when all kernels had moved `then` bytes.

    A later write of fewer bytes need not overwrite it.
    """

    kernel: int
    size: int
    then: int


def _held(size: int, room: int) -> int:
    """Bytes of a tensor that a cache still holds if others have left it so much room."""
    return max(0, min(size, room))
