"""The sequence of modules that a model is: what FSDP wraps one by one, and what a pipeline is cut between."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from archcalc.tracing import Trace

NUMBERED = re.compile(r"(^|\.)\d+$")


@dataclass(frozen=True)
class Units:
    """The units in the order of forward: their paths and the calls [first, last) that each spans.

    A unit is an outermost numbered module, such as layers.3, that has parameters; without two of these a child of the
    model. `positions` gives for each op call of forward, loss and backward the unit that it belongs to: calls before
    the first unit belong to it, those after a unit to that one.
    """

    trace: Trace
    paths: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]

    @cached_property
    def at(self) -> Mapping[str, int]:
        """The position of each unit by its path."""
        return {path: number for number, path in enumerate(self.paths)}

    def unit_of(self, path: str) -> int | None:
        """The position of the unit that a module is in; None for modules outside of all units."""
        while path:
            if path in self.at:
                return self.at[path]
            path = path.rpartition(".")[0]
        return None

    @cached_property
    def positions(self) -> Sequence[int]:
        """The unit of each call up to the optimizer's turn, by the call's number less that of the step's forward."""
        trace, step = self.trace, self.trace.steps[-1]
        starts = [first for first, _ in self.spans]
        last = len(self.paths) - 1
        inside = [self.unit_of(module.path) for module in trace.modules]
        outside = [max(0, bisect_right(starts, run.first) - 1) for run in trace.module_calls]
        found, before = [], last
        for number in range(step.forward, step.optimizer):
            run = trace.module_calls[trace.calls[number].module_call]
            unit = inside[run.module]
            if number < step.backward:
                found.append(max(0, bisect_right(starts, number) - 1) if number < step.loss else last)
                continue
            if unit is None and run.parent is not None and run.module:
                unit = outside[trace.calls[number].module_call]
            before = before if unit is None else unit
            found.append(before)
        return found

    @cached_property
    def turns(self) -> tuple[Sequence[tuple[int, int]], Sequence[tuple[int, int]]]:
        """The calls [first, last) of each unit in forward with the loss, and in backward, from the start of forward."""
        step = self.trace.steps[-1]
        middle = step.backward - step.forward
        spans: list[dict[int, tuple[int, int]]] = [{}, {}]
        for call, unit in enumerate(self.positions):
            known = spans[call >= middle].get(unit)
            spans[call >= middle][unit] = (known[0], call + 1) if known else (call, call + 1)
        forward, backward = ([span.get(u, (middle, middle)) for u in range(len(self.paths))] for span in spans)
        return forward, backward

    @cached_property
    def backward(self) -> Mapping[int, tuple[int, int]]:
        """The calls [first, last) of backward in each unit's own modules, from the start of forward, in their order."""
        trace, step = self.trace, self.trace.steps[-1]
        inside = [self.unit_of(module.path) for module in trace.modules]
        spans: dict[int, tuple[int, int]] = {}
        for number in range(step.backward, step.optimizer):
            unit = inside[trace.module_calls[trace.calls[number].module_call].module]
            if unit is not None:
                call = number - step.forward
                spans[unit] = spans.get(unit, (call, 0))[0], call + 1
        return spans


def units(trace: Trace) -> Units:
    """The units of a trace."""
    step = trace.steps[-1]
    spans: dict[str, tuple[int, int]] = {}
    for run in trace.module_calls:
        path = trace.modules[run.module].path
        if step.forward <= run.first and run.last <= step.loss and path:
            spans.setdefault(path, (run.first, run.last))
    owners = {p.owner for p in trace.parameters if p.trainable} | {p.owner for p in trace.parameters}
    above = {path for owner in owners for path in _prefixes(owner)}
    numbered = [path for path in spans if NUMBERED.search(path) and path in above]
    outermost = [path for path in numbered if not any(NUMBERED.search(p) and p in spans for p in _prefixes(path)[:-1])]
    if len(outermost) < 2:
        outermost = [path for path in spans if "." not in path and path in above] or [next(iter(spans), "")]
    chosen = sorted(outermost, key=lambda path: spans.get(path, (0, 0)))
    return Units(trace, tuple(chosen), tuple(spans.get(path, (step.forward, step.loss)) for path in chosen))


def _prefixes(path: str) -> list[str]:
    """A path and those above it, the longest last.

    >>> _prefixes("layers.0.mlp")
    ['layers', 'layers.0', 'layers.0.mlp']
    """
    parts = path.split(".")
    return [".".join(parts[: end + 1]) for end in range(len(parts))] if path else []
