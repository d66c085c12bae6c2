"""A forward pass as it is from the second time on: what the model keeps from the first is there from the start."""

from __future__ import annotations

from dataclasses import replace

from archcalc.tracing import Storage, Trace


def kept_results(trace: Trace) -> tuple[Storage, ...]:
    """The results that a model keeps from a forward pass for its next one, such as biases that it gathers once.

    They are constants that an op of the pass made. Training steps have none here: their second step is recorded.
    """
    return () if trace.steps else tuple(storage for storage in trace.storages if _is_kept(storage))


def steady(trace: Trace) -> Trace:
    """The trace, in which results that the model keeps for its next pass are there before the first op.

    Those that every pass makes anew are counted once, as if it dropped the old ones before.
    """
    if not kept_results(trace):
        return trace
    return replace(
        trace,
        storages=tuple(replace(storage, birth=-1) if _is_kept(storage) else storage for storage in trace.storages),
    )


def _is_kept(storage: Storage) -> bool:
    return storage.role == "constant" and storage.birth >= 0
