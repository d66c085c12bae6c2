"""Bytes that a training step keeps for its parameters: weights, master weights, gradients, optimizer state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod

from archcalc.tracing import Storage, Trace


@dataclass(frozen=True)
class States:
    """Bytes that the trained parameters need besides activations, and the number of their elements.

    `gradients_bytes` are those that backward leaves, `step_gradients_bytes` those at the end of the optimizer's turn:
    they differ where an optimizer over master weights copies them to float32. `state` are the names of the optimizer's
    tensors.
    """

    trained_params: int
    weights_bytes: int
    master_bytes: int
    gradients_bytes: int
    step_gradients_bytes: int
    optimizer_bytes: int
    state: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """All together, as backward leaves them."""
        return self.weights_bytes + self.master_bytes + self.gradients_bytes + self.optimizer_bytes


def master_owners(trace: Trace) -> Mapping[int, str]:
    """The storages of master weights, each with the path of the module that registered its parameter."""
    masters = {number for number, storage in enumerate(trace.storages) if storage.role == "master"}
    if not masters:
        return {}
    owners = {trace.tensors[p.tensor].storage: p.owner for p in trace.parameters}
    copies = (call for call in trace.calls if call.phase == "optimizer" and call.op == "aten.copy_")
    pairs = ([trace.tensors[tensor].storage for tensor in call.tensors()] for call in copies)
    return {master: owners.get(parameter, "") for parameter, master in pairs if master in masters}


def training_states(trace: Trace) -> States | None:
    """The states of the second step of a trace; None for a forward pass.

    Each storage counts once, with the rounding of the device's allocator.
    """
    if not trace.steps:
        return None
    step = trace.steps[-1]
    trained = [trace.tensors[parameter.tensor] for parameter in trace.parameters if parameter.trainable]
    names = trace.assumptions.get("optimizer_state", ())

    def total(role: str, live: Callable[[Storage], bool]) -> int:
        return sum(storage.bytes for storage in trace.storages if storage.role == role and live(storage))

    return States(
        trained_params=sum(prod(tensor.shape) for tensor in trained),
        weights_bytes=sum(trace.storages[number].bytes for number in {tensor.storage for tensor in trained}),
        master_bytes=total("master", lambda storage: True),
        gradients_bytes=total("gradient", lambda s: s.birth < step.optimizer and s.live_at(step.optimizer)),
        step_gradients_bytes=total("gradient", lambda storage: storage.live_at(step.end - 1)),
        optimizer_bytes=total("optimizer", lambda storage: storage.live_at(step.end - 1)),
        state=tuple(map(str, names)) if isinstance(names, tuple) else (),
    )
