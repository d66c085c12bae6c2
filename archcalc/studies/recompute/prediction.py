"""The peak of a training step in which some modules are computed again, from the trace of the step without that."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from archcalc.studies.recompute.candidates import Candidate, Step


def predicted_peak(step: Step, chosen: Sequence[Candidate]) -> int:
    """The highest live bytes in a step that computes these modules again; none of them may be inside another."""
    first, last = step.span
    live = timeline(step, lives(step, chosen))
    moments = max(live[first:last])
    return max([moments, *(max(recomputed(step, c, live), default=0) for c in chosen)])


def lives(step: Step, chosen: Sequence[Candidate]) -> list[tuple[int, int, int]]:
    """Bytes, first call and first call without it of each storage, and of each that is computed again."""
    trace, ends = step.trace, list(step.ends)
    covered = {position for c in chosen for position in range(c.begin, c.end)}
    for position, (kept, storage) in enumerate(zip(step.kept, step.storage_of, strict=True)):
        if position not in covered:
            ends[storage] = max(ends[storage], len(trace.calls) if kept.released is None else kept.released)
    for c in chosen:
        for storage in c.held:
            ends[storage] = max(ends[storage], c.released)
    made = [(s.bytes, s.birth, end) for s, end in zip(trace.storages, ends, strict=True)]
    return made + [(bytes_, c.trigger, end) for c in chosen for _, bytes_, end in copies(step, c) if end]


def copies(step: Step, c: Candidate) -> list[tuple[int, int, int]]:
    """What a module's second computation makes: number of a storage, bytes, end in backward (0 if it is not kept)."""
    released: dict[int, int] = defaultdict(int)
    for position in range(c.begin, c.end):
        storage = step.storage_of[position]
        released[storage] = max(released[storage], step.read_until(position))
    return [
        (number, storage.bytes, released.get(number, 0))
        for number, storage in step.made_in(c.first, c.stop)
        if storage.role != "workspace"
    ]


def timeline(step: Step, storages: Iterable[tuple[int, int, int]]) -> list[int]:
    """Live bytes during each call, with the scratch of its kernel."""
    changes = [0] * (len(step.trace.calls) + 1)
    for bytes_, birth, end in storages:
        changes[max(0, birth)] += bytes_
        changes[min(end, len(changes) - 1)] -= bytes_
    return [live + call.scratch for live, call in zip(accumulate(changes[:-1]), step.trace.calls, strict=True)]


def recomputed(step: Step, c: Candidate, live: Sequence[int]) -> list[int]:
    """Live bytes during each call that is run again; `live` are those of the step around it."""
    return [before(step, c, live) + bytes_ for bytes_ in while_recomputed(step, c)]


def before(step: Step, c: Candidate, live: Sequence[int]) -> int:
    """Live bytes just before a module is computed again."""
    born = sum(s.bytes for _, s in step.made_in(c.trigger, c.trigger + 1))
    again = sum(bytes_ for _, bytes_, end in copies(step, c) if end > c.trigger)
    return live[c.trigger] - step.trace.calls[c.trigger].scratch - born - again


def while_recomputed(step: Step, c: Candidate) -> list[int]:
    """Bytes of what a module's second computation has made, during each of its calls, and their scratch."""
    kept_from: Mapping[int, int] = first_kept(step, c)
    changes = [0] * (c.stop - c.first + 1)
    for number, bytes_, _ in copies(step, c):
        end = c.stop if number in kept_from else min(step.ends[number], c.stop)
        changes[step.trace.storages[number].birth - c.first] += bytes_
        changes[end - c.first] -= bytes_
    calls = step.trace.calls[c.first : c.stop]
    return [made + call.scratch for made, call in zip(accumulate(changes[:-1]), calls, strict=True)]


def first_kept(step: Step, c: Candidate) -> Mapping[int, int]:
    """The call at which a module's second computation first keeps each storage."""
    positions = range(c.end - 1, c.begin - 1, -1)
    return {step.storage_of[position]: step.kept[position].packed for position in positions}
