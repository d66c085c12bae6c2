"""Pipelines: which chunks of the model a rank has in flight, and the share of time that ranks wait.

GPipe runs all forward passes before the first backward pass (Huang et al. 2019); 1F1B takes turns once the pipeline is
full; interleaved 1F1B gives each rank several chunks of the model (Narayanan et al. 2021, section 2.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

GPIPE, ONE_F_ONE_B = "gpipe", "1f1b"
SCHEDULES = (ONE_F_ONE_B, GPIPE)
ROUNDS = 4
"""As many microbatches as there are stages, so often that 1F1B, whose warm-up takes less than two, repeats itself."""


@dataclass(frozen=True)
class Turn:
    """One pass of a rank: forward or backward of a chunk, and the other passes in flight then, by chunk."""

    backward: bool
    chunk: int
    in_flight: Mapping[int, int]


def bubble(stages: int, chunks: int, microbatches: int) -> float:
    """The time that a rank waits over the time that it works: (p - 1) / (m v).

    >>> bubble(4, 1, 8), bubble(1, 1, 8)
    (0.375, 0.0)
    """
    return (stages - 1) / (microbatches * chunks)


def turns(rank: int, stages: int, chunks: int, microbatches: int, schedule: str) -> Iterator[Turn]:
    """The passes of a rank in a step, in order; chunk 0 is its first.

    >>> max(sum(turn.in_flight.values()) for turn in turns(0, 4, 1, 8, "1f1b"))
    3
    >>> max(sum(turn.in_flight.values()) for turn in turns(0, 4, 2, 8, "1f1b"))  # pv + p - 2 of L / (pv) layers
    10
    """
    forward, backward = _order(stages, chunks, microbatches), _order(stages, chunks, microbatches, turned=True)
    total = len(forward)
    first = total if schedule == GPIPE else min(total, _warm_up(rank, stages, chunks, microbatches))
    pairs = chain.from_iterable(((False, number), (True, number - first)) for number in range(first, total))
    passes = chain(
        ((False, number) for number in range(first)), pairs, ((True, number) for number in range(total - first, total))
    )
    live: dict[int, int] = {}
    for is_backward, number in passes:
        chunk = (backward if is_backward else forward)[number]
        if is_backward:
            live[chunk] -= 1
        yield Turn(is_backward, chunk, dict(live))
        if not is_backward:
            live[chunk] = live.get(chunk, 0) + 1


def distinct_turns(rank: int, stages: int, chunks: int, microbatches: int, schedule: str) -> Iterator[Turn]:
    """The passes of a rank that differ in what is in flight: 1F1B repeats itself after its first rounds.

    >>> kinds = lambda found: {(t.backward, t.chunk, tuple(n for n in t.in_flight.items() if n[1])) for t in found}
    >>> shapes = [(r, p, v) for p in (1, 2, 5) for r in range(p) for v in (1, 2, 3)]
    >>> all(kinds(distinct_turns(*s, 60, "1f1b")) == kinds(turns(*s, 60, "1f1b")) for s in shapes)
    True
    """
    rounds = ROUNDS * stages if schedule == ONE_F_ONE_B else microbatches
    return turns(rank, stages, chunks, min(microbatches, rounds), schedule)


def _warm_up(rank: int, stages: int, chunks: int, microbatches: int) -> int:
    """Forward passes before the first turn of one forward and one backward pass."""
    if chunks == 1:
        return min(microbatches, stages - rank - 1)
    return (stages - rank - 1) * 2 + (chunks - 1) * stages


def _order(stages: int, chunks: int, microbatches: int, turned: bool = False) -> Sequence[int]:
    """The chunks of all passes of one direction: each chunk for as many microbatches as there are stages, in turn."""
    if chunks == 1:
        return [0] * microbatches
    rounds = range(0, microbatches, stages)
    order = range(chunks - 1, -1, -1) if turned else range(chunks)
    return [chunk for start in rounds for chunk in order for _ in range(min(stages, microbatches - start))]
