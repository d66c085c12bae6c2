"""Tensor and sequence parallelism of a trace: the divided axis of every storage, and what ranks send each other.

Each op's result is divided as its arguments are (rules.py, products.py). A product over a divided axis gives terms of a
sum on every rank: an all-reduce adds them up, in forward at once and in backward when the sum of all of them is needed,
as frameworks do at the input of the divided layers. With sequence parallelism a reduce-scatter does that and leaves
each rank its part of the positions; norms, dropout and residual connections then work on parts, and an all-gather
brings the positions together before the next divided layer, in backward again (Korthikanti et al. 2022).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from archcalc.analyses.spread.axis import COLUMNS, SEQUENCE, SUM, Axis
from archcalc.analyses.spread.products import OPERANDS, Product, operands, product
from archcalc.analyses.spread.rules import VIEWS, Seen, followed, name_of
from archcalc.analyses.spread.styles import ROW, Styles, parameter_axis, weights_of
from archcalc.tracing import Trace

REDUCE, GATHER, SCATTER = "all_reduce", "all_gather", "reduce_scatter"
STAYS_A_SUM = VIEWS | {"t", "transpose", "permute", "add", "add_", "copy_"}
"""Ops that are done on terms before they are added up."""


@dataclass(frozen=True)
class Collective:
    """One exchange among the ranks of tensor parallelism: the op call before which it is, its kind, the whole bytes."""

    call: int
    kind: str
    bytes: int


@dataclass(frozen=True)
class Spread:
    """The axes that tensor parallelism divides.

    `styles` by the position of a parameter, `parameters` their axes, `storages` the axes of all other storages by
    their numbers; `exchanges` in the order of the step; `divided` are the products of which each rank does a part.
    """

    sequence: bool
    styles: Mapping[int, str]
    parameters: Mapping[int, Axis]
    storages: Mapping[int, Axis]
    exchanges: tuple[Collective, ...]
    divided: frozenset[int]

    @cached_property
    def axes(self) -> frozenset[Axis]:
        """The different axes of storages."""
        return frozenset(self.storages.values())

    @property
    def pairs(self) -> bool:
        """Whether a layer divided by rows ends what one divided by columns began."""
        return ROW in self.styles.values()


def whole() -> Spread:
    """The spread of a model that is not divided."""
    return Spread(False, {}, {}, {}, (), frozenset())


def spread(trace: Trace, sequence: bool, named: Mapping[str, str] | None = None) -> Spread:
    """How a step spreads over the ranks of tensor parallelism, with or without sequence parallelism.

    `named` are styles of layers by patterns of their paths; all others are found.
    """
    search = Styles(trace, named)
    return _Walk(trace, sequence, search.found(), search.last).spread()


class _Walk:
    """One pass over the calls of the step, in order."""

    def __init__(self, trace: Trace, sequence: bool, styles: Mapping[int, str], last: Collection[int]) -> None:
        self.trace, self.sequence, self.styles, self.last = trace, sequence, styles, last
        step = trace.steps[-1]
        self.calls = range(step.forward, step.optimizer)
        batch = trace.assumptions.get("batch")
        self.batch = batch if isinstance(batch, int) and batch > 0 else 1
        self.parameters = self._parameter_axes(range(step.forward, step.loss))
        self.axes: dict[int, Axis | None] = {trace.parameters[n].tensor: axis for n, axis in self.parameters.items()}
        self.storages: dict[int, Axis] = {}
        self.summed: dict[int, Axis | None] = {}
        self.gathered: set[tuple[int, str]] = set()
        self.exchanges: list[Collective] = []
        self.divided: set[int] = set()

    def spread(self) -> Spread:
        """Follow every call."""
        for number in self.calls:
            self._call(number)
        fixed = {self.trace.tensors[p.tensor].storage for p in self.trace.parameters}
        storages = {number: axis for number, axis in self.storages.items() if number not in fixed}
        found = self.sequence, self.styles, self.parameters, storages, tuple(self.exchanges), frozenset(self.divided)
        return Spread(*found)

    def _parameter_axes(self, forward: range) -> dict[int, Axis]:
        weights = weights_of(self.trace, forward)
        turned = {weights[operands(n, c)[1]].parameter: weights[operands(n, c)[1]].transposed
                  for c in (self.trace.calls[i] for i in forward) if (n := name_of(c)) in OPERANDS
                  and operands(n, c)[1] in weights}  # fmt: skip
        shapes = {number: self.trace.shape(self.trace.parameters[number].tensor) for number in self.styles}
        axes = {n: parameter_axis(shapes[n], style, turned.get(n, True)) for n, style in self.styles.items()}
        padded = {axes[number].size for number in self.last if number in axes}
        return {n: replace(axis, uneven=axis.uneven or axis.size in padded) for n, axis in axes.items()}

    def _axis(self, tensor: int) -> Axis | None:
        """The axis of a tensor; of one that was added up meanwhile what that left."""
        axis = self.axes.get(tensor)
        if axis is not None and axis.kind == SUM:
            storage = self.trace.tensors[tensor].storage
            if storage in self.summed:
                return self.summed[storage]
        return axis

    def _call(self, number: int) -> None:
        call = self.trace.calls[number]
        if not call.outputs:
            return
        name = name_of(call)
        ids = list(call.tensors())
        axes = [self._axis(tensor) for tensor in ids]
        if not any(axes):
            return
        if name in OPERANDS:
            self._product(number, name)
            return
        if name == "embedding" and axes[0] and axes[0].kind == COLUMNS:
            self._note(call.outputs[0], Axis(1, 1, SUM))
            self._add_up(number, call.outputs[0])
            return
        tensors = self.trace.tensors
        whole = [tensor for tensor, axis in zip(ids, axes, strict=True) if axis is None and tensors[tensor].shape]
        if any(axis and axis.kind == SUM for axis in axes) and (name not in STAYS_A_SUM or whole):
            for tensor, axis in zip(ids, axes, strict=True):
                if axis and axis.kind == SUM:
                    self._add_up(number, tensor)
            axes = [self._axis(tensor) for tensor in ids]
        results = [tensors[tensor].shape for tensor in call.outputs]
        made = followed(Seen(name, call, [tensors[t].shape for t in ids], axes, results))
        for tensor, axis in zip(call.outputs, made, strict=True):
            if axis is not None:
                self._note(tensor, axis)

    def _product(self, number: int, name: str) -> None:
        call, tensors = self.trace.calls[number], self.trace.tensors
        pair = operands(name, call)
        for tensor in pair:
            axis = self._axis(tensor)
            if axis and axis.kind == SUM:
                self._add_up(number, tensor)
        axes, shapes = (self._axis(pair[0]), self._axis(pair[1])), (tensors[pair[0]].shape, tensors[pair[1]].shape)
        result = call.outputs[0]
        made: Product = product(axes, shapes, tensors[result].shape)
        if made.divided:
            self.divided.add(number)
        if made.gathered is not None:
            self._gather(number, pair[made.gathered])
        if made.axis is not None:
            self._note(result, made.axis)
            if made.axis.kind == SUM and call.phase != "backward":
                self._add_up(number, result)

    def _gather(self, number: int, tensor: int) -> None:
        """Bring the positions together, once a phase and tensor."""
        key = self.trace.tensors[tensor].storage, self.trace.calls[number].phase
        if key not in self.gathered:
            self.gathered.add(key)
            self.exchanges.append(Collective(number, GATHER, self._bytes(tensor)))

    def _add_up(self, number: int, tensor: int) -> None:
        """Add up the terms of a tensor, once; with sequence parallelism each rank gets its positions."""
        known = self.trace.tensors[tensor]
        if known.storage in self.summed:
            return
        rows = prod(known.shape[:-1])
        parted = self.sequence and len(known.shape) > 1 and rows % self.batch == 0 and rows > self.batch
        axis = Axis(self.batch, rows // self.batch, SEQUENCE) if parted else None
        self.summed[known.storage] = axis
        if prod(known.shape) > 1:
            self.exchanges.append(Collective(number, SCATTER if parted else REDUCE, self._bytes(tensor)))
        if axis is not None:
            self.storages[known.storage] = axis

    def _note(self, tensor: int, axis: Axis) -> None:
        known = self.trace.tensors[tensor]
        self.axes[tensor] = axis
        if axis.kind != SUM:
            self.storages.setdefault(known.storage, axis)

    def _bytes(self, tensor: int) -> int:
        known = self.trace.tensors[tensor]
        return prod(known.shape) * self.trace.storages[known.storage].bytes // max(1, self._elements(known.storage))

    def _elements(self, storage: int) -> int:
        """The elements of a storage: of the tensor that its op made."""
        birth = self.trace.storages[storage].birth
        made = self.trace.calls[birth].outputs if birth >= 0 else ()
        sizes = [prod(self.trace.shape(t)) for t in made if self.trace.tensors[t].storage == storage]
        return max(sizes, default=1)
