"""What one rank holds at its peak: states, kept tensors of all microbatches in flight, and buffers of exchanges.

Births and deaths of the traced step tell what is live during each op call. A rank has the calls and tensors of its
chunks of the model, each tensor with the part that tensor parallelism leaves it. Microbatches in flight beside the one
that runs hold what their chunks keep for backward.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

from archcalc.analyses.spread.spread import GATHER
from archcalc.studies.plan.exchange_buffers import Buffers, buffers_of
from archcalc.studies.plan.facts import Facts, Tensors
from archcalc.studies.plan.layout import Layout
from archcalc.studies.plan.schedule import turns
from archcalc.studies.plan.shares import Shares

LINES = ("params", "buffers", "inputs", "gradients", "optimizer", "saved", "temporaries", "communication_buffer")
"""The lines of a rank's bill, which add up to its peak."""


@dataclass(frozen=True)
class Bill:
    """Bytes of one rank at its peak, by line, the stage that it is in, and the phase of the step then."""

    stage: int
    phase: str
    lines: Mapping[str, int]

    @property
    def peak(self) -> int:
        """All lines together."""
        return sum(self.lines.values())


@dataclass
class Live:
    """Live bytes during each call from forward to the optimizer's turn, for one chunk of the model."""

    saved: list[int]
    other: list[int]
    communication: list[int]
    gradients: list[int]
    kept: int = 0
    inputs: int = 0
    buffers: int = 0
    peaks: dict[bool, int] = field(default_factory=dict)

    def at(self, call: int) -> int:
        """All of them together."""
        return self.saved[call] + self.other[call] + self.communication[call] + self.gradients[call]


class Ranks(Shares):
    """The ranks of one layout: the first of each stage has the most to hold of its tensor and data parallel group."""

    def __init__(self, facts: Facts, layout: Layout, microbatches: int) -> None:
        super().__init__(facts, layout, microbatches)
        self._live: dict[int, Live] = {}

    # ---- tensors ----

    def live(self, chunk: int) -> Live:
        """What is live for one chunk, by call."""
        if chunk not in self._live:
            self._live[chunk] = self._made(chunk)
        return self._live[chunk]

    def _made(self, chunk: int) -> Live:
        length = self.end - self.start
        saved, other = [0] * (length + 1), [0] * (length + 1)
        live = Live([], [], [], [])
        loss = self.facts.step.loss
        for tensor in self.facts.tensors:
            span = self._span(tensor, chunk)
            if span is None:
                continue
            axis = self.spread.storages.get(tensor.number)
            size = axis.local(tensor.bytes, self.layout.tp) if axis else tensor.bytes
            if tensor.role in ("buffer", "constant"):
                live.buffers += size
            elif tensor.role == "input":
                live.inputs += size
            else:
                changes = saved if tensor.role == "saved" else other
                changes[span[0] - self.start] += size
                changes[span[1] - self.start] -= size
                if tensor.role == "saved" and span[0] < loss < span[1]:
                    live.kept += size
        live.saved, live.other = list(accumulate(saved))[:-1], list(accumulate(other))[:-1]
        for number in range(length):
            live.other[number] += self.facts.trace.calls[self.start + number].scratch if self.layout.pp == 1 else 0
        buffers: Buffers = buffers_of(self, chunk)
        live.communication, live.gradients = buffers.communication, buffers.gradients
        for exchange in self.spread.exchanges:
            if exchange.kind == GATHER and self.chunk_at(exchange.call) == chunk:
                live.communication[exchange.call - self.start] += exchange.bytes
        middle = self.facts.step.loss - self.start
        for backward, span_ in ((False, range(middle)), (True, range(middle, length))):
            live.peaks[backward] = max(span_, key=live.at, default=0)
        return live

    def _span(self, tensor: Tensors, chunk: int) -> tuple[int, int] | None:
        """When a tensor is live in a chunk: all its life, or from its first to its last use there if others use it."""
        uses = [span for unit, span in tensor.uses.items() if self.chunk_of[unit] == chunk]
        if not uses:
            return None
        if len(uses) == len(tensor.uses):
            return tensor.birth, tensor.death
        first, last = min(a for a, _ in uses), max(b for _, b in uses)
        return max(first, tensor.birth), min(tensor.death, last + 1)

    # ---- the peak ----

    def bill(self, stage: int) -> Bill:
        """The bill of a rank of a stage at its peak."""
        layout, chunks, held = self.layout, self.stage(stage), self.held(stage)
        lives = [self.live(chunk) for chunk in chunks]
        accumulated = self.microbatches > 1
        lines = dict.fromkeys(LINES, 0) | held
        lines["inputs"] = sum(live.inputs for live in lives)
        lines["buffers"] = sum(live.buffers for live in lives)
        lines["gradients"] = held["gradients"] if accumulated else 0
        lines["communication_buffer"] = held["gradients"] if layout.zero == 0 and layout.dp > 1 else 0
        best, moment = -1, (False, 0, 0)
        for turn in turns(stage, layout.pp, layout.chunks, self.microbatches, layout.schedule):
            live = lives[turn.chunk]
            flight = sum(count * lives[c].kept for c, count in turn.in_flight.items())
            flight -= live.kept if turn.backward else 0
            total = flight + live.at(live.peaks[turn.backward])
            if total > best:
                best, moment = total, (turn.backward, turn.chunk, flight)
        backward, chunk, flight = moment
        live = lives[chunk]
        call = live.peaks[backward]
        lines["saved"] = live.saved[call] + flight
        lines["temporaries"] = live.other[call]
        lines["communication_buffer"] += live.communication[call]
        lines["gradients"] += live.gradients[call]
        phase = self.facts.trace.calls[call + self.start].phase
        of_step = Bill(stage, phase, lines)
        return max(of_step, self._of_optimizer(stage, lines, held), key=lambda bill: bill.peak)

    def _of_optimizer(self, stage: int, lines: Mapping[str, int], held: Mapping[str, int]) -> Bill:
        """The bill in the optimizer's turn: all gradients, and the temporaries of its ops."""
        stays = self.layout.zero == 0 and self.layout.dp > 1
        chunks = self.stage(stage)
        extra = self._optimizer_temporaries(tuple(chunks))
        outputs = sum(self.live(chunk).other[-1] + self.live(chunk).saved[-1] for chunk in chunks)
        changed = {"saved": 0, "temporaries": extra + outputs, "gradients": held["gradients"]}
        changed["communication_buffer"] = held["gradients"] if stays else 0
        return Bill(stage, "optimizer", {**lines, **changed})

    def _optimizer_temporaries(self, chunks: Sequence[int]) -> int:
        """The most bytes that the optimizer's ops have beside states, of the parameters of some chunks."""
        facts = self.facts
        states = {state.number: state for state in self.of_chunks(chunks)}
        begin, end = facts.step.optimizer, facts.step.end
        changes: dict[int, int] = defaultdict(int)
        for number, size, birth, death in self._of_optimizer_phase:
            state = states.get(facts.owner_of.get(number, -1))
            if state is not None:
                part = (self.shard if self.layout.zero >= 1 else self.local)(state, size)
                changes[birth] += part
                changes[death] -= part
        return max(accumulate(changes[call] for call in range(begin, end)), default=0) if changes else 0

    @cached_property
    def _of_optimizer_phase(self) -> list[tuple[int, int, int, int]]:
        begin, end = self.facts.step.optimizer, self.facts.step.end
        return [
            (number, storage.bytes, storage.birth, end if storage.death is None else min(end, storage.death))
            for number, storage in enumerate(self.facts.trace.storages)
            if begin <= storage.birth < end and storage.role in ("activation", "gradient")
        ]

    def worst(self) -> Bill:
        """The bill of the rank that holds the most."""
        return max((self.bill(stage) for stage in range(self.layout.pp)), key=lambda bill: bill.peak)
