"""The memory of one rank at its peak: states, kept tensors of all microbatches in flight, and buffers of exchanges.

Births and deaths of the traced step tell what is live during each op call. A rank has the calls and tensors of its
chunks of the model, each tensor with the part that tensor parallelism leaves it. Microbatches in flight beside the one
that runs hold what their chunks keep for backward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from archcalc.analyses.spread.spread import GATHER
from archcalc.studies.plan.changes import Changes
from archcalc.studies.plan.exchange_buffers import Buffers, buffers_of
from archcalc.studies.plan.facts import Facts, Tensors
from archcalc.studies.plan.layout import Layout
from archcalc.studies.plan.schedule import distinct_turns
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
    """Live bytes of one chunk of the model from forward to the optimizer's turn.

    `calls` are those at which any line changes, from the start of forward; the lines hold the bytes from each of them
    to the next. `peaks` are positions in these lists: the highest sum in forward and in backward.
    """

    calls: list[int]
    saved: list[int]
    other: list[int]
    communication: list[int]
    gradients: list[int]
    kept: int = 0
    inputs: int = 0
    buffers: int = 0
    peaks: dict[bool, int] = field(default_factory=dict)

    def at(self, place: int) -> int:
        """All of them together, at a position of `calls`."""
        return self.saved[place] + self.other[place] + self.communication[place] + self.gradients[place]


@dataclass(frozen=True)
class Activations:
    """What layouts with one cut of the model share of a chunk.

    `saved` and `other` are changes of live bytes by call, of what backward needs and of all else; `kept` is what is
    kept for backward.
    """

    saved: Changes
    other: Changes
    kept: int
    inputs: int
    buffers: int


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
        known: Activations = self.facts.remembered(self._key(chunk), lambda: self._activations(chunk))
        buffers: Buffers = buffers_of(self, chunk)
        for exchange in self.exchanges.get(chunk, ()):
            if exchange.kind == GATHER:
                buffers.communication.add(exchange.bytes, exchange.call - self.start)
        lines = known.saved, known.other, buffers.communication, buffers.gradients
        middle, length = self.facts.step.loss - self.start, self.end - self.start
        changed = {0, middle, length - 1}.union(*(line.at for line in lines))
        calls = sorted(call for call in changed if 0 <= call < length)
        saved, other, communication, gradients = (line.timeline(calls) for line in lines)
        live = Live(calls, saved, other, communication, gradients, known.kept, known.inputs, known.buffers)
        totals = list(map(sum, zip(saved, other, communication, gradients, strict=True)))
        turn = calls.index(middle) if middle < length else len(calls)
        for backward, first, last in ((False, 0, turn), (True, turn, len(calls))):
            live.peaks[backward] = totals.index(max(totals[first:last]), first) if last > first else 0
        return live

    def _key(self, chunk: int) -> tuple[object, ...]:
        layout = self.layout
        return layout.tp, layout.sp and layout.tp > 1, layout.pp * layout.chunks, chunk

    def _activations(self, chunk: int) -> Activations:
        length, start, loss = self.end - self.start, self.start, self.facts.step.loss
        saved, other = Changes(length), Changes(length)
        kept = inputs = buffers = 0
        units = [unit for unit, part in enumerate(self.chunk_of) if part == chunk]
        for tensor in self.facts.tensors_of(units):
            first, last = self._span(tensor, chunk)
            axis = self.spread.storages.get(tensor.number)
            size = axis.local(tensor.bytes, self.layout.tp) if axis else tensor.bytes
            if tensor.role in ("buffer", "constant"):
                buffers += size
            elif tensor.role == "input":
                inputs += size
            else:
                (saved if tensor.role == "saved" else other).add(size, first - start, last - start)
                if tensor.role == "saved" and first < loss < last:
                    kept += size
        for call, scratch in self.facts.scratch:
            if self.chunk_at(call) == chunk:
                other.add(scratch, call - start)
        return Activations(saved, other, kept, inputs, buffers)

    def _span(self, tensor: Tensors, chunk: int) -> tuple[int, int]:
        """When a tensor is live in a chunk: all its life, or from its first to its last use there if others use it."""
        uses = [span for unit, span in tensor.uses.items() if self.chunk_of[unit] == chunk]
        if len(uses) == len(tensor.uses):
            return tensor.birth, tensor.death
        first, last = min(a for a, _ in uses), max(b for _, b in uses)
        return max(first, tensor.birth), min(tensor.death, last + 1)

    # ---- the peak ----

    def bill(self, stage: int) -> Bill:
        """The bill of a rank of a stage at its peak."""
        layout, chunks, held = self.layout, self.stage(stage), self.held(stage)
        lives = [self.live(chunk) for chunk in chunks]
        lines = dict.fromkeys(LINES, 0) | held
        lines["inputs"] = sum(live.inputs for live in lives)
        lines["buffers"] = sum(live.buffers for live in lives)
        lines["gradients"] = held["gradients"] if self.whole_step else 0
        lines["communication_buffer"] = held["gradients"] if layout.zero == 0 and layout.dp > 1 else 0
        best, moment = -1, (False, 0, 0)
        for turn in distinct_turns(stage, layout.pp, layout.chunks, self.microbatches, layout.schedule):
            live = lives[turn.chunk]
            flight = sum(count * lives[c].kept for c, count in turn.in_flight.items())
            total = flight + live.at(live.peaks[turn.backward])
            if total > best:
                best, moment = total, (turn.backward, turn.chunk, flight)
        backward, chunk, flight = moment
        live = lives[chunk]
        place = live.peaks[backward]
        lines["saved"] = live.saved[place] + flight
        lines["temporaries"] = live.other[place]
        lines["communication_buffer"] += live.communication[place]
        lines["gradients"] += live.gradients[place]
        phase = self.facts.trace.calls[live.calls[place] + self.start].phase
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
        """The most bytes that the optimizer's ops have beside states, of the parameters of some chunks.

        Ranks of ZeRO 1 update whole parameters, as torch's ZeroRedundancyOptimizer deals them out.
        """
        begin = self.facts.step.optimizer
        changes = Changes(self.facts.step.end - begin)
        for state in self.of_chunks(chunks):
            for size, birth, death in self.facts.of_optimizer.get(state.number, ()):
                part = (self.shard if self.layout.zero >= 2 else self.local)(state, size)
                changes.add(part, birth - begin, death - begin)
        return max(changes.timeline(sorted(changes.at)), default=0)

    def worst(self) -> Bill:
        """The bill of the rank that holds the most."""
        return max((self.bill(stage) for stage in range(self.layout.pp)), key=lambda bill: bill.peak)
