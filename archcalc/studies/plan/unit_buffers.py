"""The buffers of FSDP2 by op call: each unit gathered before it runs, its gradients scattered behind its backward pass.

A gather fills a flat buffer, from which the parameters are copied. In forward the buffer stays until the next unit is
gathered, in backward it goes with the copy; there the unit before is gathered at the same time, and its buffer waits
for its turn, or for the end if nothing of that unit needs a gradient. Whole gradients are copied to the input of a
reduce-scatter, which stays until the next unit's. The root unit, all parameters outside of units, stays whole from
forward to the end of backward. Parts are whole rows, padded. (torch 2.13, torch/distributed/fsdp/_fully_shard.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise

from archcalc.studies.plan.changes import Changes
from archcalc.studies.plan.shares import Shares

ROOT = -1
"""The unit of the parameters outside of all units."""
Turns = Mapping[int, tuple[int, int]]
"""The calls [first, last) of each unit in one direction, from the start of forward."""


class UnitBuffers:
    """The gathered parameters and the gradients of one chunk on a rank, added to changes of live bytes."""

    def __init__(self, ranks: Shares, chunk: int, communication: Changes, gradients: Changes) -> None:
        self.ranks, self.communication, self.gradients = ranks, communication, gradients
        self.length = ranks.end - ranks.start
        self.states = {state.number: state for state in ranks.of_chunks([chunk])}
        self.unit_of = {n: ROOT if state.unit is None else state.unit for n, state in self.states.items()}
        self.order = [unit for unit in range(len(ranks.facts.units.paths)) if ranks.chunk_of[unit] == chunk]
        self.sizes: dict[int, int] = defaultdict(int)
        self.inputs: dict[int, int] = defaultdict(int)
        self.shards: dict[int, int] = defaultdict(int)
        for number, state in self.states.items():
            unit = self.unit_of[number]
            self.sizes[unit] += ranks.padded(state, state.bytes)
            self.inputs[unit] += ranks.padded(state, state.gradient)
            self.shards[unit] += ranks.shard(state, state.gradient)

    def add(self) -> None:
        """Add all of them."""
        units = self.ranks.facts.units
        first = min((units.turns[0][unit][0] for unit in self.order), default=0)
        self.communication.add(self.sizes[ROOT], first, self.length)
        self._forward(first)
        turns = {unit: span for unit, span in units.backward.items() if unit in self.order}
        self._backward(turns)
        self._scatters(turns)

    def _forward(self, start: int) -> None:
        """Whole parameters while a unit runs, and the buffer of each gather until the next one's is there."""
        begin = self.ranks.start
        spans = {unit: self.ranks.facts.units.spans[unit] for unit in self.order}
        previous = ROOT
        for unit in self.order:
            first, last = spans[unit][0] - begin, spans[unit][1] - begin
            self.communication.add(self.sizes[previous], start, first)
            self.communication.add(max(0, self.sizes[previous] - self.sizes[unit]), first)
            self.communication.add(2 * self.sizes[unit], first, last)
            previous, start = unit, last
        self.communication.add(self.sizes[previous], start, self.ranks.facts.step.loss - begin)

    def _backward(self, turns: Turns) -> None:
        """Whole parameters while a unit's backward pass runs, and the buffer of the unit before."""
        start = self.ranks.facts.step.backward - self.ranks.start
        if self.order and self.sizes[ROOT]:
            last = self.order[-1]
            self.communication.add(self.sizes[last], start, turns.get(last, (self.length,))[0])
        for unit, (first, last) in turns.items():
            place = self.order.index(unit)
            before = self.order[place - 1] if place else None
            gathered = 0 if before is None else self.sizes[before]
            self.communication.add(self.sizes[unit], first, last)
            self.communication.add(max(0, self.sizes[unit] - gathered), first)  # its own buffer, before that is copied
            if before is not None:
                self.communication.add(gathered, first, turns.get(before, (self.length,))[0])

    def _scatters(self, turns: Turns) -> None:
        """Whole gradients until their unit's backward pass ends, then the input of their reduce-scatter, then parts."""
        ranks, flush = self.ranks, {unit: last for unit, (_, last) in turns.items()} | {ROOT: self.length}
        for birth, size, owner in ranks.facts.gradient_births:
            if owner in self.states:
                state = self.states[owner]
                whole = ranks.local(state, size)
                self.gradients.add(whole, birth - ranks.start, flush.get(self.unit_of[owner], self.length))
        held = 0
        for unit, following in pairwise([*turns, ROOT, ROOT]):
            size, end = self.inputs[unit], flush[unit]
            self.communication.add(max(0, size - self.sizes[unit] - held), end - 1)  # beside the whole gradients
            self.communication.add(size, end, flush.get(following, self.length))
            if ranks.microbatches == 1:
                self.gradients.add(self.shards[unit], end, self.length)
            held = size
