"""The modules that a training step could compute again: what each frees, what it holds instead, and its extra work."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from archcalc.ops.names import packet
from archcalc.ops.registry import macs_of, operations_of
from archcalc.tracing import Kept, Storage, Trace

SMALLEST = 10_000
"""Modules that free less than this part of what is kept are not looked at."""
SUMMED = ("aten.sum.dim_IntList", "aten.view")
"""Ops by which autograd reduces a gradient to the shape of what was broadcast, when a node has run."""
LONG_LIVED = ("parameter", "buffer", "constant", "input", "gradient", "optimizer", "master", "workspace")


@dataclass(frozen=True)
class Candidate:
    """A call of a module that could be computed again.

    `begin` and `end` are the positions [begin, end) of what it keeps, in the order of forward. `held` are the storages
    that live until its backward pass in place of what it frees. Backward computes the calls [first, stop) again before
    its call `trigger`; until `released` it needs them. `macs` and `elementwise` are their work.
    """

    path: str
    begin: int
    end: int
    first: int
    stop: int
    trigger: int
    released: int
    held: frozenset[int]
    macs: int
    elementwise: int

    @property
    def work(self) -> int:
        """The extra work as one number: two operations for each MAC, one for each elementwise operation."""
        return 2 * self.macs + self.elementwise


class Step:
    """The second training step of a trace as the choice needs it; `forward` is a trace of the same pass alone.

    `kept` are the tensors that autograd keeps in it. `ends` are the calls at which the model's own code lets each
    storage go: autograd and recomputed modules may hold it for longer. `exact` tells that these times are those of the
    pass without gradients; otherwise a tensor is taken as let go after its last use.
    """

    def __init__(self, trace: Trace, forward: Trace | None) -> None:
        self.trace, self.step = trace, trace.steps[-1]
        self.kept: Sequence[Kept] = [k for k in trace.kept if self.step.forward <= k.packed < self.step.optimizer]
        self.storage_of = [trace.tensors[k.tensor].storage for k in self.kept]
        self.own = len([k for k in self.kept if k.packed < self.step.loss or k.module_call])
        self.exact = forward is not None and self._same(forward)
        self.ends = self._ends(forward if self.exact else None)

    @property
    def span(self) -> tuple[int, int]:
        """The calls [first, last) of the step, from the forward pass of its last batch on."""
        return self.step.forward, self.step.end

    def _same(self, forward: Trace) -> bool:
        mine = self.trace.calls[self.step.forward : self.step.loss]
        return [call.op for call in mine] == [call.op for call in forward.calls]

    def _ends(self, forward: Trace | None) -> list[int]:
        """For each storage the call at which the model's own code lets it go."""
        trace, step, last = self.trace, self.step, len(self.trace.calls)
        plain = [last if s.death is None else s.death for s in trace.storages]
        released: dict[int, int] = defaultdict(int)
        for kept, storage in zip(self.kept, self.storage_of, strict=True):
            released[storage] = max(released[storage], last if kept.released is None else kept.released)
        natural = self._as_without_gradients(forward) if forward else self._last_uses()
        ends = list(plain)
        for storage in released:
            born = trace.storages[storage].birth
            if step.forward <= born < step.loss and trace.storages[storage].role not in LONG_LIVED:
                ends[storage] = min(plain[storage], natural.get(storage, plain[storage]))
        for kept, storage in zip(self.kept[self.own :], self.storage_of[self.own :], strict=True):
            ends[storage] = max(ends[storage], kept.released or last)
        return ends

    def _as_without_gradients(self, forward: Trace) -> Mapping[int, int]:
        """The ends of storages in a pass without gradients, for those that do not outlive it."""
        begin = self.step.forward
        mine, others = _born(self.trace, begin, self.step.loss), _born(forward, 0, len(forward.calls))
        deaths = {(born, n): death for born, n, _, death in others}
        pairs = ((storage, deaths.get((born, n))) for born, n, storage, _ in mine)
        return {storage: begin + death for storage, death in pairs if death is not None}

    def _last_uses(self) -> Mapping[int, int]:
        """The first call after the last use of each storage in forward, for those that are no output."""
        ends: dict[int, int] = {}
        for number in range(self.step.forward, self.step.backward):
            call = self.trace.calls[number]
            for tensor in (*call.tensors(), *call.outputs):
                ends[self.trace.tensors[tensor].storage] = number + 1
        for tensor in self.trace.output_tensors:
            ends.pop(self.trace.tensors[tensor].storage, None)
        return ends

    @cached_property
    def written(self) -> Mapping[int, int]:
        """The last call of forward that writes each storage in place."""
        written: dict[int, int] = {}
        for number in range(self.step.forward, self.step.backward):
            call = self.trace.calls[number]
            if packet(call.op).endswith("_") and not packet(call.op).endswith("__"):
                written |= {self.trace.tensors[tensor].storage: number for tensor in call.outputs}
        return written

    @cached_property
    def _births(self) -> Mapping[int, list[int]]:
        births: dict[int, list[int]] = defaultdict(list)
        for number, storage in enumerate(self.trace.storages):
            births[storage.birth].append(number)
        return births

    def made_in(self, first: int, last: int) -> list[tuple[int, Storage]]:
        """The storages that the calls [first, last) make, with their numbers."""
        numbers = (number for call in range(first, last) for number in self._births.get(call, ()))
        return [(number, self.trace.storages[number]) for number in numbers]

    def read_until(self, position: int) -> int:
        """The call before which the node has run that reads what is kept at a position; 0 if it never does.

        A tensor that was computed again goes then; one that was kept goes a little later, when its node is cleared.
        """
        kept, storage = self.kept[position], self.storage_of[position]
        end = kept.released or 0
        while kept.unpacked is not None and kept.unpacked < end - 1:
            call = self.trace.calls[end - 1]
            if call.op not in SUMMED or storage in {self.trace.tensors[t].storage for t in call.tensors()}:
                break
            end -= 1
        return end

    def movable(self, storage: int) -> bool:
        """Whether the storage is one that a choice may free: made in forward, and not kept by the model's own code."""
        held = self.trace.storages[storage]
        made = self.step.forward <= held.birth < self.step.loss
        return made and held.role not in LONG_LIVED and self.ends[storage] <= self.step.loss

    @cached_property
    def total(self) -> int:
        """Bytes of all that is kept and that a choice may free."""
        return sum(self.trace.storages[s].bytes for s in set(self.storage_of) if self.movable(s))

    @cached_property
    def candidates(self) -> list[Candidate]:
        """The modules called once that free enough to be looked at, in the order of forward, outer modules first."""
        found = (calls[0] for calls in self._by_module.values() if len(calls) == 1)
        kept = [c for c in found if c and self.freed(c) * SMALLEST >= max(self.total, 1)]
        return sorted(kept, key=lambda c: (c.begin, -c.end))

    @cached_property
    def shared(self) -> list[list[Candidate]]:
        """The calls of each module that is called several times, if all of them can be computed again."""
        several = (calls for calls in self._by_module.values() if len(calls) > 1)
        return [[c for c in calls if c] for calls in several if all(calls)]

    @cached_property
    def _by_module(self) -> dict[int, list[Candidate | None]]:
        """The calls of each module in forward as candidates; None for those that cannot be computed again."""
        inside, found = self._inside(), dict[int, list[Candidate | None]]()
        for number, run in enumerate(self.trace.module_calls):
            known = self.step.forward <= run.first <= run.last <= self.step.loss
            if known and self.trace.modules[run.module].path:
                positions = inside.get(number)
                found.setdefault(run.module, []).append(self._candidate(number, positions) if positions else None)
        return found

    def _inside(self) -> dict[int, list[int]]:
        """The positions of what is kept inside each module call."""
        calls = self.trace.module_calls
        inside: dict[int, list[int]] = defaultdict(list)
        for position, kept in enumerate(self.kept[: self.own]):
            number: int | None = kept.module_call
            while number is not None:
                inside[number].append(position)
                number = calls[number].parent
        return inside

    def _candidate(self, number: int, positions: Sequence[int]) -> Candidate | None:
        """The module call as a candidate; None if it cannot be computed again, since its inputs are overwritten."""
        trace, run = self.trace, self.trace.module_calls[number]
        begin, end = positions[0], positions[-1] + 1
        kept = self.kept[begin:end]
        if end - begin != len(positions) or any(k.unpacked is None or k.released is None for k in kept):
            return None
        given = {trace.tensors[tensor].storage for tensor in run.inputs}
        if any(self.written.get(storage, -1) >= run.first for storage in given):
            return None
        stop = max(k.packed for k in kept)
        outside = {s for s in self.storage_of[begin:end] if not run.first <= trace.storages[s].birth < stop}
        work = range(run.first, stop)
        return Candidate(
            trace.modules[run.module].path,
            begin,
            end,
            run.first,
            stop,
            min(k.unpacked for k in kept if k.unpacked is not None),
            max(k.released for k in kept if k.released is not None),
            frozenset(s for s in given | outside if self.movable(s)),
            sum(macs_of(trace, trace.calls[n]) or 0 for n in work),
            sum(operations_of(trace, trace.calls[n]) or 0 for n in work),
        )

    def freed(self, candidate: Candidate) -> int:
        """Bytes of what a module keeps and would not hold for its backward pass if it were computed again."""
        mine = set(self.storage_of[candidate.begin : candidate.end]) - candidate.held
        return sum(self.trace.storages[storage].bytes for storage in mine if self.movable(storage))


def _born(trace: Trace, begin: int, end: int) -> Iterator[tuple[int, int, int, int | None]]:
    """Storages made in the calls [begin, end): the call counted from `begin`, which of its storages, id, and death."""
    count: dict[int, int] = defaultdict(int)
    for number, storage in enumerate(trace.storages):
        if begin <= storage.birth < end and storage.role != "workspace":
            count[storage.birth] += 1
            yield storage.birth - begin, count[storage.birth], number, storage.death
