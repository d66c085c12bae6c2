"""The graph of op calls: its longest chain, and the way from one position of a sequence to another.

A chain counts calls that compute; views and copies are free. Sequential operations count contractions alone, the
multiplications that have to wait for one another.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from archcalc.analyses.conventions import contractions
from archcalc.ops.registry import operations_of
from archcalc.tracing import Trace


def depth(trace: Trace) -> int:
    """Calls on the longest chain of ops that compute, each needing the result of the one before."""
    forward = trace.of_forward()
    exact = contractions(forward)
    return _longest(forward, lambda number: number in exact or bool(operations_of(forward, forward.calls[number])))


def sequential_operations(trace: Trace) -> int:
    """Contractions on the chain that has the most of them."""
    forward = trace.of_forward()
    exact = contractions(forward)
    return _longest(forward, exact.__contains__)


def _longest(trace: Trace, counts: Callable[[int], bool]) -> int:
    """The most counted calls on any chain. What is written in place is read again by whoever shares the storage."""
    behind = [0] * len(trace.tensors)
    written = [0] * len(trace.storages)
    longest = 0
    for number, call in enumerate(trace.calls):
        before = max((max(behind[t], written[trace.tensors[t].storage]) for t in call.tensors()), default=0)
        here = before + counts(number)
        longest = max(longest, here)
        inputs = set(call.tensors())
        for tensor in call.outputs:
            behind[tensor] = max(behind[tensor], here)
            if tensor in inputs:
                written[trace.tensors[tensor].storage] = here
    return longest


def path_length(trace: Trace) -> int | None:
    """The longest of the shortest ways from a position of a sequence to a later one, in contractions.

    The network is written position by position: its first `unbind` gives the input's positions, its last `stack` takes
    the output's. None where some position does not reach one behind it: more layers are needed.
    """
    forward = trace.of_forward()
    exact = contractions(forward)
    sources = next(call.outputs for call in forward.calls if call.op.startswith("aten.unbind"))
    sinks = next(tuple(call.tensors()) for call in reversed(forward.calls) if call.op.startswith("aten.stack"))
    longest = 0.0
    for position, source in enumerate(sources):
        ways = [inf] * len(forward.tensors)
        ways[source] = 0
        for number, call in enumerate(forward.calls):
            here = min((ways[t] for t in call.tensors()), default=inf) + (number in exact)
            for tensor in call.outputs:
                ways[tensor] = min(ways[tensor], here)
        longest = max([longest, *(ways[sink] for sink in sinks[position:])])
    return None if longest == inf else int(longest)
