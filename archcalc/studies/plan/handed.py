"""Storages that one unit of a model makes and later units read: outputs of layers, and skips over layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from archcalc.analyses.spread.units import Units
from archcalc.tracing import Trace


@dataclass(frozen=True)
class Handed:
    """A storage that a unit makes and later units read in forward, and its bytes."""

    number: int
    bytes: int
    maker: int
    readers: tuple[int, ...]


def handed_on(trace: Trace, units: Units, uses: Mapping[int, Mapping[int, tuple[int, int]]]) -> Sequence[Handed]:
    """The storages that go from unit to unit in the last step; `uses` are their first and last calls by unit.

    Only what depends on parameters is: masks and positions are made by each rank that needs them.
    """
    step, tensors = trace.steps[-1], trace.tensors
    learned = {tensors[p.tensor].storage for p in trace.parameters if p.kind == "parameter"}
    found: list[Handed] = []
    for number in range(step.forward, step.loss):
        call = trace.calls[number]
        if learned.isdisjoint(tensors[tensor].storage for tensor in call.tensors()):
            continue
        for storage in {tensors[tensor].storage for tensor in call.outputs} - learned:
            learned.add(storage)
            maker = units.positions[number - step.forward]
            readers = tuple(unit for unit, (first, _) in uses[storage].items() if first < step.loss and unit != maker)
            if readers:
                found.append(Handed(storage, trace.storages[storage].bytes, maker, readers))
    return found
