"""What torch's profiler saw: every block of memory that torch's CPU allocator gave and took back, and every op."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from typing import Any

OP = "aten::"
MARK = "mark of archcalc: "
"""How the names of our own marks begin; they stand between the ops in the profile."""


@dataclass
class Block:
    """A block of memory: address and bytes, when it was given and taken back (None: never), the op that asked."""

    address: int
    bytes: int
    birth: int
    death: int | None
    op: str


@dataclass(frozen=True)
class Span:
    """A call of an op: its name without a namespace, and when it began and ended."""

    op: str
    start: int
    end: int


@dataclass
class Recording:
    """The blocks and the marks of a profile, all times in nanoseconds, and the tree of its ops.

    `strangers` are the bytes that were taken back and had been given before the profile began.
    """

    blocks: list[Block]
    marks: list[tuple[str, int]]
    roots: list[Any]
    strangers: int = 0
    _changes: list[tuple[int, int]] = field(default_factory=list)

    def calls(self, names: Set[str], start: int, end: int) -> list[Span]:
        """The outermost calls of ops with one of some names that began in [start, end), in order."""
        spans = [span for root in self.roots for span in _outermost(root, names)]
        return sorted((s for s in spans if start <= s.start < end), key=lambda span: span.start)

    def live(self, time: int) -> list[Block]:
        """The blocks that exist at a time."""
        return [b for b in self.blocks if b.birth <= time and (b.death is None or b.death > time)]

    def peak(self, start: int, end: int, beside: int = 0) -> tuple[int, int]:
        """The highest sum of live bytes in [start, end], and when it was reached first; `beside` bytes added."""
        live = sum(block.bytes for block in self.live(start))
        best = (live, start)
        for time, change in self.changes(start, end):
            live += change
            if live > best[0]:
                best = (live, time)
        return best[0] + beside, best[1]

    def changes(self, start: int, end: int) -> list[tuple[int, int]]:
        """Times and bytes of what was given and taken back in (start, end], in order."""
        if not self._changes:
            births = [(b.birth, b.bytes) for b in self.blocks]
            deaths = [(b.death, -b.bytes) for b in self.blocks if b.death is not None]
            self._changes = sorted(births + deaths, key=lambda change: change[0])
        times = [time for time, _ in self._changes]
        return self._changes[bisect_right(times, start) : bisect_right(times, end)]


def recording_of(profiler: Any) -> Recording:
    """Read a finished profile that was made with profile_memory."""
    roots = profiler.profiler.kineto_results.experimental_event_tree()
    marks: list[tuple[str, int]] = []
    events: list[tuple[int, int, int, str]] = []
    for root in roots:
        for node, op in _walk(root, ""):
            name = node.name
            if name == "[memory]":
                known = node.extra_fields
                events.append((node.start_time_ns, known.ptr, known.alloc_size, op))
            elif name.startswith(MARK):
                marks.append((name.removeprefix(MARK), node.start_time_ns))
    events.sort(key=lambda event: event[0])
    blocks, strangers = _paired(events)
    return Recording(blocks, sorted(marks, key=lambda mark: mark[1]), list(roots), strangers)


def _paired(events: list[tuple[int, int, int, str]]) -> tuple[list[Block], int]:
    """Blocks of the events that gave and took them, by their addresses; bytes of blocks nobody gave."""
    blocks: list[Block] = []
    at: dict[int, Block] = {}
    strangers = 0
    for time, address, size, op in events:
        if size >= 0:
            blocks.append(Block(address, size, time, None, op))
            at[address] = blocks[-1]
        elif address in at:
            at.pop(address).death = time
        else:
            strangers -= size
    return blocks, strangers


def _walk(node: Any, op: str) -> Iterator[tuple[Any, str]]:
    """A node and those below it, each with the innermost op around it."""
    pending = [(node, op)]
    while pending:
        node, op = pending.pop()
        yield node, op
        name = node.name
        inside = name.removeprefix(OP) if name.startswith(OP) and not name.startswith(f"{OP}empty") else op
        pending += [(child, inside) for child in reversed(node.children)]


def _outermost(node: Any, names: Set[str]) -> Iterator[Span]:
    """The outermost calls of named ops; what autograd copies for an op in place is a call of its own before it."""
    pending = [node]
    while pending:
        node = pending.pop()
        name = node.name
        if name.startswith(OP) and name.removeprefix(OP) in names:
            copied = [c for c in node.children if c.name == f"{OP}clone"] if name.endswith("_") else []
            yield from (Span("clone", c.start_time_ns, c.end_time_ns) for c in copied)
            start = copied[-1].end_time_ns if copied else node.start_time_ns
            yield Span(name.removeprefix(OP), start, node.end_time_ns)
        else:
            pending += reversed(node.children)
