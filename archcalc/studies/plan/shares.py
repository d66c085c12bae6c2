"""The parts of parameters, gradients and optimizer state that one rank has, and the chunks of a pipeline."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property

from archcalc.analyses.spread.spread import Collective, Spread
from archcalc.studies.plan.facts import Facts, States
from archcalc.studies.plan.layout import Layout
from archcalc.studies.plan.stages import chunks_of


class Shares:
    """What the ranks of one layout have of each parameter; those with the largest parts are meant.

    `start` and `end` are the calls of the trace from forward to the optimizer's turn.
    """

    def __init__(self, facts: Facts, layout: Layout, microbatches: int) -> None:
        self.facts, self.layout, self.microbatches = facts, layout, microbatches
        self.spread: Spread = facts.spread(layout.tp, layout.sp)
        self.chunk_of = chunks_of(facts.unit_work, layout.pp * layout.chunks)
        self.start, self.end = facts.step.forward, facts.step.optimizer
        self._of_chunk: dict[int, dict[int, States]] | None = None

    def stage(self, number: int) -> list[int]:
        """The chunks of a stage's ranks."""
        return [chunk * self.layout.pp + number for chunk in range(self.layout.chunks)]

    def chunk_at(self, call: int) -> int:
        """The chunk that an op call is in."""
        return self.chunk_of[self.facts.units.positions[call - self.start]]

    @property
    def whole_step(self) -> bool:
        """Whether gradients stay through the step: sums of accumulated batches, and the buckets of ZeRO 1."""
        return self.microbatches > 1 or (self.layout.zero == 1 and self.layout.dp > 1)

    @cached_property
    def exchanges(self) -> Mapping[int, Sequence[Collective]]:
        """What tensor parallel ranks exchange, by chunk."""
        found: dict[int, list[Collective]] = defaultdict(list)
        for exchange in self.spread.exchanges:
            found[self.chunk_at(exchange.call)].append(exchange)
        return found

    def local(self, state: States, size: int) -> int:
        """The bytes of a parameter's state on one rank of tensor and expert parallelism."""
        axis = self.spread.parameters.get(state.number)
        size = axis.local(size, self.layout.tp) if axis else size
        return -(-size // self.layout.ep) if state.experts else size

    def sharing(self, state: States) -> int:
        """How many data parallel ranks hold the same parameter: of experts those that have the same experts."""
        return self.layout.dp // self.layout.ep if state.experts else self.layout.dp

    def shard(self, state: States, size: int) -> int:
        """The largest part of a state among data parallel ranks: of whole rows under FSDP, of elements before."""
        local, ranks = self.local(state, size), self.sharing(state)
        if self.layout.zero < 3:
            return -(-local // ranks)
        axis = self.spread.parameters.get(state.number)
        rows = state.rows
        if axis and axis.before == 1:
            rows = -(-rows // self.layout.tp)
        rows = -(-rows // self.layout.ep) if state.experts else rows
        return min(local, -(-rows // ranks) * (local // max(1, rows)))

    def padded(self, state: States, size: int) -> int:
        """The bytes of a state on one rank when FSDP has gathered it: as many rows on each rank as on the first."""
        ranks = self.sharing(state)
        rows = max(1, state.rows)
        each = self.local(state, size)
        return max(each, self.shard(state, size) * ranks) if rows > 1 else each

    def of_chunks(self, chunks: Sequence[int]) -> list[States]:
        """The states of the parameters that chunks use."""
        if self._of_chunk is None:
            self._of_chunk = {}
            for state in self.facts.states:
                for chunk in {self.chunk_of[unit] for unit in state.users}:
                    self._of_chunk.setdefault(chunk, {})[state.number] = state
        found: dict[int, States] = {}
        for chunk in chunks:
            found |= self._of_chunk.get(chunk, {})
        return list(found.values())

    def held(self, stage: int) -> dict[str, int]:
        """Bytes of parameters, gradients and optimizer state that a rank keeps, by line; gradients at their end."""
        states, zero = self.of_chunks(self.stage(stage)), self.layout.zero
        return {
            "params": sum((self.shard if zero >= 3 else self.local)(s, s.bytes) for s in states),
            "gradients": sum((self.shard if zero >= 2 else self.local)(s, s.gradient) for s in states),
            "optimizer": sum((self.shard if zero >= 1 else self.local)(s, s.optimizer) for s in states)
            + self.facts.counters,
        }
