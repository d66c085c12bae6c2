"""The facts of one traced step that all layouts share: states, tensors by their users, and work."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TypeVar, cast

from archcalc.analyses.conventions import contractions
from archcalc.analyses.spread.owners import parameters_of
from archcalc.analyses.spread.products import OPERANDS, operands
from archcalc.analyses.spread.rules import name_of
from archcalc.analyses.spread.spread import Spread, spread, whole
from archcalc.analyses.spread.styles import weights_of
from archcalc.analyses.spread.units import Units, units
from archcalc.studies.plan.handed import Handed, handed_on
from archcalc.tracing import Trace

R = TypeVar("R")
EXPERT = re.compile(r"(^|\.)experts(\.|$)")
LISTED = re.compile(r"(^|\.)experts\.(\d+)(\.|$)")
HELD = ("parameter", "gradient", "optimizer", "master")


@dataclass(frozen=True)
class Tensors:
    """A storage that lives during forward, loss or backward: when, what it is for, and its users.

    `uses` are the first and the last call that makes or reads it, by the unit of the call.
    """

    number: int
    bytes: int
    role: str
    birth: int
    death: int
    uses: Mapping[int, tuple[int, int]]


@dataclass(frozen=True)
class States:
    """Bytes of one parameter: itself, its gradient, its optimizer state with master weight; and the units that use it.

    `rows` is its first dimension, `experts` how many experts it holds the weights of, `share` of how many it is one.
    """

    number: int
    bytes: int
    gradient: int
    optimizer: int
    users: tuple[int, ...]
    unit: int | None
    rows: int
    elements: int
    experts: int


class Facts:
    """One step of a model in one microbatch, and everything that layouts share."""

    def __init__(self, trace: Trace, named: Mapping[str, str] | None = None) -> None:
        self.trace, self.named = trace, dict(named or {})
        self.step = trace.steps[-1]
        self.units: Units = units(trace)
        self.owner_of = parameters_of(trace)
        self.work = contractions(trace)
        self._spreads: dict[bool, Spread] = {}
        self._memory: dict[tuple[object, ...], object] = {}

    def spread(self, tp: int, sequence: bool) -> Spread:
        """How tensors spread over tensor parallel ranks."""
        if tp == 1:
            return whole()
        if sequence not in self._spreads:
            self._spreads[sequence] = spread(self.trace, sequence, self.named)
        return self._spreads[sequence]

    @property
    def batch(self) -> int:
        """Samples of a microbatch."""
        batch = self.trace.assumptions.get("batch")
        return batch if isinstance(batch, int) else 1

    @cached_property
    def uses(self) -> Mapping[int, Mapping[int, tuple[int, int]]]:
        """For each storage the first and last call that makes or reads it, by unit."""
        found: dict[int, dict[int, tuple[int, int]]] = defaultdict(dict)
        tensors, positions, start = self.trace.tensors, self.units.positions, self.step.forward
        for number in range(start, self.step.optimizer):
            call, unit = self.trace.calls[number], positions[number - start]
            for storage in {tensors[t].storage for t in (*call.tensors(), *call.outputs)}:
                known = found[storage].get(unit)
                found[storage][unit] = (known[0], number) if known else (number, number)
        return found

    @cached_property
    def tensors(self) -> Sequence[Tensors]:
        """Storages of forward, loss and backward that are no states; the output of the batch before, too."""
        first, end = self.step.forward, self.step.optimizer
        found: list[Tensors] = []
        last = len(self.units.paths) - 1
        outputs = {self.trace.tensors[tensor].storage for tensor in self.trace.output_tensors}
        loss = [t for call in self.trace.calls[self.step.loss : self.step.backward] for t in call.outputs][-1:]
        for number in {self.trace.tensors[tensor].storage for tensor in loss}:  # that of the step before
            size = self.trace.storages[number].bytes
            found.append(Tensors(number, size, "activation", first, self.step.backward, {last: (first, first)}))
        for number, storage in enumerate(self.trace.storages):
            death = end if storage.death is None else min(storage.death, end)
            if storage.role in HELD or storage.birth >= end or death <= first or not storage.bytes:
                continue
            uses = self.uses.get(number) or {last: (first, first)}
            found.append(Tensors(number, storage.bytes, storage.role, max(first, storage.birth), death, uses))
            if number in outputs and storage.birth >= first:
                found.append(
                    Tensors(number, storage.bytes, "activation", first, self.step.loss, {last: (first, first)})
                )
        return found

    @cached_property
    def _by_unit(self) -> Mapping[int, Sequence[Tensors]]:
        found: dict[int, list[Tensors]] = defaultdict(list)
        for tensor in self.tensors:
            for unit in tensor.uses:
                found[unit].append(tensor)
        return found

    def tensors_of(self, units: Sequence[int]) -> Iterator[Tensors]:
        """The tensors that some units use, each once."""
        wanted = set(units)
        for unit in units:
            for tensor in self._by_unit.get(unit, ()):
                if len(tensor.uses) == 1 or unit == next(other for other in tensor.uses if other in wanted):
                    yield tensor

    @cached_property
    def scratch(self) -> Sequence[tuple[int, int]]:
        """The calls whose kernels use memory inside, and its bytes."""
        calls = range(self.step.forward, self.step.optimizer)
        return [(call, scratch) for call in calls if (scratch := self.trace.calls[call].scratch)]

    def remembered(self, key: tuple[object, ...], make: Callable[[], R]) -> R:
        """What `make` gives, made once for each key: layouts share it. Of other cuts of the model nothing is kept."""
        if self._memory and next(iter(self._memory))[:-1] != key[:-1]:
            self._memory.clear()
        if key not in self._memory:
            self._memory[key] = make()
        return cast("R", self._memory[key])

    @cached_property
    def states(self) -> Sequence[States]:
        """The states of each parameter; storages that several parameters share are one."""
        gradients: dict[int, int] = defaultdict(int)
        optimizer: dict[int, int] = defaultdict(int)
        for number, storage in enumerate(self.trace.storages):
            owner = self.owner_of.get(number)
            if owner is None:
                continue
            if (
                storage.role == "gradient"
                and storage.birth < self.step.optimizer
                and storage.live_at(self.step.optimizer)
            ):
                gradients[owner] += storage.bytes
            elif storage.role in ("optimizer", "master") and storage.live_at(self.step.end - 1):
                optimizer[owner] += storage.bytes
        found, seen = [], set[int]()
        for number, parameter in enumerate(self.trace.parameters):
            tensor = self.trace.tensors[parameter.tensor]
            if parameter.kind != "parameter" or tensor.storage in seen:
                continue
            seen.add(tensor.storage)
            unit = self.units.unit_of(parameter.owner)
            users = tuple(sorted(self.uses.get(tensor.storage) or ([unit] if unit is not None else [0])))
            shape, size = tensor.shape, self.trace.storages[tensor.storage].bytes
            held = size, gradients[number], optimizer[number]
            rows = shape[0] if shape else 1
            found.append(States(number, *held, users, unit, rows, prod(shape), self._experts(parameter.owner, shape)))
        return found

    @cached_property
    def counters(self) -> int:
        """Bytes of optimizer state that belongs to no single parameter's elements, such as counts of steps."""
        last = self.step.end - 1
        return sum(
            storage.bytes
            for number, storage in enumerate(self.trace.storages)
            if storage.role == "optimizer" and number not in self.owner_of and storage.live_at(last)
        )

    def _experts(self, owner: str, shape: tuple[int, ...]) -> int:
        """How many experts a parameter is of: the first dimension of one tensor of all, or the modules in a list."""
        if LISTED.search(owner):
            above = owner[: owner.rindex("experts.") + len("experts.")]
            return self._listed.get(above, 0)
        return shape[0] if EXPERT.search(owner) and len(shape) > 1 else 0

    @cached_property
    def _listed(self) -> Mapping[str, int]:
        found: dict[str, set[str]] = defaultdict(set)
        for module in self.trace.modules:
            match = LISTED.search(module.path)
            if match:
                found[module.path[: match.start(2)]].add(match[2])
        return {above: len(numbers) for above, numbers in found.items()}

    @cached_property
    def experts(self) -> int:
        """The number of experts of a layer; 0 without any."""
        return max((state.experts for state in self.states), default=0)

    @cached_property
    def gradient_births(self) -> Sequence[tuple[int, int, int]]:
        """The call that makes each gradient, its bytes and its parameter, in order."""
        first, end = self.step.forward, self.step.optimizer
        return [
            (storage.birth, storage.bytes, self.owner_of[number])
            for number, storage in enumerate(self.trace.storages)
            if storage.role == "gradient" and first <= storage.birth < end and number in self.owner_of
        ]

    @cached_property
    def births_of(self) -> Mapping[int, Sequence[tuple[int, int]]]:
        """The calls that make the gradient of each parameter, with its bytes."""
        found: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for birth, size, owner in self.gradient_births:
            found[owner].append((birth, size))
        return found

    @cached_property
    def of_optimizer(self) -> Mapping[int, Sequence[tuple[int, int, int]]]:
        """Temporaries and gradients that the optimizer's ops make of each parameter: bytes, birth and death."""
        begin, end = self.step.optimizer, self.step.end
        found: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
        for number, storage in enumerate(self.trace.storages):
            owner = self.owner_of.get(number)
            if owner is not None and begin <= storage.birth < end and storage.role in ("activation", "gradient"):
                death = end if storage.death is None else min(end, storage.death)
                found[owner].append((storage.bytes, storage.birth, death))
        return found

    @cached_property
    def dispatched(self) -> Sequence[tuple[int, int]]:
        """Bytes that go to experts and come back from them in forward, with the unit, by layer of experts."""
        forward = range(self.step.forward, self.step.loss)
        weights = weights_of(self.trace, forward)
        of_experts = {state.number for state in self.states if state.experts}
        ends: dict[int, list[int]] = defaultdict(list)
        for number in forward:
            call = self.trace.calls[number]
            name = name_of(call)
            pair = operands(name, call) if name in OPERANDS else None
            if pair and (weight := weights.get(pair[1])) and weight.parameter in of_experts:
                ends[call.module_call].append(number)
        return [(self._way(numbers), self.units.positions[numbers[0] - forward.start]) for numbers in ends.values()]

    def _way(self, numbers: Sequence[int]) -> int:
        first, last = self.trace.calls[numbers[0]], self.trace.calls[numbers[-1]]
        there, back = operands(name_of(first), first)[0], last.outputs[0]
        return sum(self.bytes_of(tensor) for tensor in (there, back))

    def bytes_of(self, tensor: int) -> int:
        """The bytes of a tensor's elements."""
        known = self.trace.tensors[tensor]
        return prod(known.shape) * WIDTHS.get(known.dtype, 4)

    @cached_property
    def unit_work(self) -> Sequence[int]:
        """MACs of a step by unit."""
        found = [0] * len(self.units.paths)
        for number, macs in self.work.items():
            if self.step.forward <= number < self.step.optimizer:
                found[self.units.positions[number - self.step.forward]] += macs
        return found

    @cached_property
    def handed_on(self) -> Sequence[Handed]:
        """The storages that go from unit to unit in forward."""
        return handed_on(self.trace, self.units, self.uses)


WIDTHS = {
    "float64": 8, "int64": 8, "complex64": 8, "float32": 4, "int32": 4, "bfloat16": 2, "float16": 2, "int16": 2,
    "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip
"""Bytes of an element by dtype."""
