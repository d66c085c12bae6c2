"""Buffers of data parallel exchanges and the gradients beside them, by op call: DDP, ZeRO 1 to 3, FSDP2 units."""

from __future__ import annotations

from dataclasses import dataclass

from archcalc.studies.plan.changes import Changes
from archcalc.studies.plan.shares import Shares
from archcalc.studies.plan.unit_buffers import UnitBuffers

BUCKET = 25 * 2**20
"""Bytes of a bucket of gradients: the default of torch's DistributedDataParallel."""


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
        UnitBuffers(ranks, chunk, communication, gradients).add()
    elif ranks.layout.zero == 2 and ranks.layout.dp > 1:
        _buckets(ranks, chunk, communication, gradients)
    else:
        births = ranks.facts.births_of
        for state in ranks.of_chunks([chunk]):
            for birth, size in births.get(state.number, ()):
                call = birth - ranks.start
                gradients.add(ranks.local(state, size), call, call + 2 if ranks.whole_step else length)
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
