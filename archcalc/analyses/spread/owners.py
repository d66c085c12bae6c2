"""Which parameter the gradients, master weights and states of an optimizer belong to."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.tracing import Call, Trace

OF_PARAMETERS = ("gradient", "optimizer", "master")


def parameters_of(trace: Trace) -> dict[int, int]:
    """For each storage that belongs to a parameter the position of that among the trace's parameters.

    Those of the step's optimizer phase are found by their place in the calls: a parameter, its gradient and its state
    are arguments of one call, or stand at one place of its lists.
    """
    found = {trace.tensors[p.tensor].storage: number for number, p in enumerate(trace.parameters)}
    step = trace.steps[-1]
    for _ in range(2):  # a gradient may be an argument before what tells whose it is
        for call in trace.calls[step.optimizer : step.end]:
            for group in _together(trace, call):
                known = next((found[storage] for storage in group if storage in found), None)
                if known is not None:
                    found |= dict.fromkeys((storage for storage in group if storage not in found), known)
    return found


def _together(trace: Trace, call: Call) -> list[list[int]]:
    """Groups of storages in one call that belong to one parameter."""
    columns: list[Sequence[int]] = [
        *(value if isinstance(value, tuple) else (value,) for value in call.inputs.values()),
        call.outputs,
    ]
    longest = max((len(column) for column in columns), default=0)
    whole = [column for column in columns if len(column) == longest]
    return [
        [trace.tensors[column[place]].storage for column in whole if trace.tensors[column[place]].shape]
        for place in range(longest)
    ]
