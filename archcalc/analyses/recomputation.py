"""Ops of backward that compute again what forward had computed: the work that checkpointing costs."""

from __future__ import annotations

from collections.abc import Hashable

from archcalc.tracing import Call, Step, Trace


def recomputed(trace: Trace, step: Step) -> frozenset[int]:
    """The numbers of the op calls in a step's backward pass that compute again what its forward pass computed.

    A call does if forward called the same op with the same arguments, on tensors that are forward's own or were
    themselves computed again. That holds for checkpoints and for functions whose own backward computes forward again.
    """
    first_of: dict[int, int] = {}
    """For the storage of a result that had been computed before, the storage of that earlier result."""
    made: dict[Hashable, Call] = {}
    found = set()
    for number in (*range(step.forward, step.loss), *range(step.backward, step.optimizer)):
        call = trace.calls[number]
        if not call.inputs:
            continue
        what = _what(trace, call, first_of)
        before = made.get(what)
        if before is not None:
            both = zip(_storages(trace, call), _storages(trace, before), strict=True)
            first_of |= {again: first for again, first in both if again != first}
            if number >= step.backward:
                found.add(number)
        elif number < step.loss:
            made[what] = call
    return frozenset(found)


def _what(trace: Trace, call: Call, first_of: dict[int, int]) -> Hashable:
    """An op call by its op, its arguments, and the places of its tensors; equal for one that computes the same."""
    operands = []
    for name, ids in call.inputs.items():
        tensors = [trace.tensors[i] for i in (ids if isinstance(ids, tuple) else (ids,))]
        places = [(first_of.get(t.storage, t.storage), t.shape, t.dtype, t.strides, t.offset) for t in tensors]
        operands.append((name, tuple(places)))
    return call.op, tuple(operands), tuple(call.attributes.items())


def _storages(trace: Trace, call: Call) -> list[int]:
    return [trace.tensors[tensor].storage for tensor in call.outputs]
