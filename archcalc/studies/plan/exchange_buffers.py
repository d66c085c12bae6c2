"""Buffers of data parallel exchanges and the gradients beside them, by op call: DDP, ZeRO 1 to 3, FSDP2 units."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from archcalc.studies.plan.changes import Changes
from archcalc.studies.plan.shares import Shares

BUCKET = 25 * 2**20
"""Bytes of a bucket of gradients: the default of torch's DistributedDataParallel."""
ROOT = -1
"""The unit of the parameters outside of all units."""


@dataclass(frozen=True)
class Buffers:
    """Changes of live bytes: buffers of exchanges, and gradients that are not counted as kept through the step."""

    communication: Changes
    gradients: Changes


def buffers_of(ranks: Shares, chunk: int) -> Buffers:
    """The buffers and gradients of one chunk on a rank."""
    length = ranks.end - ranks.start
    communication, gradients = Changes(length), Changes(length)
    if ranks.layout.zero >= 3 and ranks.layout.dp > 1:
        _fsdp(ranks, chunk, communication, gradients)
    elif ranks.layout.zero == 2 and ranks.layout.dp > 1:
        _buckets(ranks, chunk, communication, gradients)
    else:
        births = ranks.facts.births_of
        for state in ranks.of_chunks([chunk]):
            for birth, size in births.get(state.number, ()):
                call = birth - ranks.start
                gradients.add(ranks.local(state, size), call, call + 2 if ranks.microbatches > 1 else length)
    return Buffers(communication, gradients)


def _buckets(ranks: Shares, chunk: int, communication: Changes, gradients: Changes) -> None:
    """ZeRO 2: gradients fill a bucket, which is reduced as soon as it is full; each rank keeps its part."""
    states = {state.number: state for state in ranks.of_chunks([chunk])}
    waiting: list[tuple[int, int]] = []
    shards = 0
    last = max((birth for birth, _, owner in ranks.facts.gradient_births if owner in states), default=0)
    for birth, size, owner in ranks.facts.gradient_births:
        if owner not in states:
            continue
        waiting.append((birth - ranks.start, ranks.local(states[owner], size)))
        shards += ranks.shard(states[owner], size)
        total = sum(bytes_ for _, bytes_ in waiting)
        if total >= BUCKET or birth == last:
            flush = birth - ranks.start
            for made, bytes_ in waiting:
                gradients.add(bytes_, made, flush + 1)
            communication.add(total, flush, flush + 1)
            if ranks.microbatches == 1:
                gradients.add(shards, flush + 1, ranks.end)
            waiting, shards = [], 0


def _fsdp(ranks: Shares, chunk: int, communication: Changes, gradients: Changes) -> None:
    """FSDP2: parameters of a unit are gathered before it runs, those of the next one at the same time.

    In backward a unit's whole gradients are copied to the input of a reduce-scatter, which stays until the next unit's.
    The root unit, all parameters outside of units, stays gathered from forward to backward.
    """
    facts, start = ranks.facts, ranks.start
    sizes: dict[int, int] = defaultdict(int)
    unit_of: dict[int, int] = {}
    states = {state.number: state for state in ranks.of_chunks([chunk])}
    for state in states.values():
        unit_of[state.number] = ROOT if state.unit is None else state.unit
        sizes[unit_of[state.number]] += ranks.local(state, state.bytes)
    order = [unit for unit in range(len(facts.units.paths)) if ranks.chunk_of[unit] == chunk]
    forward, backward = ({unit: spans[unit] for unit in order} for spans in facts.units.turns)
    length, first = ranks.end - start, min((span[0] for span in forward.values()), default=0)
    communication.add(sizes[ROOT], first, length)
    for spans, turned in ((forward, order), (backward, order[::-1])):
        for unit, following in zip(turned, [*turned[1:], None], strict=True):
            begin, end = spans[unit]
            communication.add(sizes[unit], begin, end)
            if following is not None:
                communication.add(sizes[following], begin, end)
    whole: dict[int, int] = defaultdict(int)
    shards: dict[int, int] = defaultdict(int)
    flush = {unit: backward[unit][1] for unit in order} | {ROOT: length}
    for birth, size, owner in facts.gradient_births:
        if owner in states:
            local, unit = ranks.local(states[owner], size), unit_of[owner]
            gradients.add(local, birth - start, flush[unit])
            whole[unit] += local
            shards[unit] += ranks.shard(states[owner], size)
    for unit, following in zip(order[::-1], [*order[::-1][1:], ROOT], strict=True):
        communication.add(whole[unit], flush[unit] - 1, flush[following])
        if ranks.microbatches == 1:
            gradients.add(shards[unit], flush[unit], length)
    communication.add(whole[ROOT], length - 1, length)
