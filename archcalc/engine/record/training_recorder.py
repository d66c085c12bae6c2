"""A training step on tensors without data, twice: forward, loss, backward, optimizer.

In the first step the optimizer makes its state; the second is the steady state. `loop.py` is what runs; here is what
records it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from archcalc.engine.devices.kernel_selection import KernelSelection
from archcalc.engine.load.inputs import Inputs
from archcalc.engine.meta.call_arguments import op_of, tensors_in
from archcalc.engine.meta.known_values import KnownValues
from archcalc.engine.record.entries import OPEN
from archcalc.engine.record.gradient_sums import IN_PLACE, GradientSums
from archcalc.engine.record.held_gradients import HeldGradients
from archcalc.engine.record.master_weights import Optimizer, OverMasters, masters_of
from archcalc.engine.record.recorder import Recorder
from archcalc.engine.record.training_loop import PHASES, Loss, optimizer_of, steps
from archcalc.engine.setup import Training
from archcalc.engine.torch_private import (
    node_number,
    own_parameters,
    running_node,
    sequence_number,
    storage_key,
    version,
    without_function_modes,
)
from archcalc.errors import BadInput
from archcalc.tracing import Call, Kept, Step


class Packed:
    """A tensor that autograd keeps, and its version then; `times` count the calls until it is read and let go."""

    __slots__ = ("calls", "tensor", "times", "version")

    def __init__(self, tensor: Tensor, calls: Sequence[Call]) -> None:
        self.tensor, self.calls, self.version = tensor, calls, 0
        self.times: list[int] = []

    def __del__(self) -> None:
        """Autograd lets it go."""
        self.times.append(len(self.calls))


class TrainingRecorder(Recorder):  # type: ignore[no-untyped-call]
    """A recorder that also records the tensors autograd keeps, and assigns backward and optimizer ops to modules."""

    def __init__(self, module: nn.Module, kernels: KernelSelection, known: KnownValues | None = None) -> None:
        super().__init__(module, kernels, known)
        self.kept: set[int] = set()
        self._packed: list[tuple[int, int, int, list[int]]] = []
        self.roles: dict[int, str] = {}
        self.marks: list[tuple[str, int]] = []
        self._sequence: list[int] = []
        self._sequence_calls: list[int] = []
        self._owner: dict[int, int] = {}
        self._sums = GradientSums(self.entries)
        self.held: HeldGradients | None = None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        with without_function_modes():  # the backward pass runs with those of the model's code
            self._sums.follow()
            if self._sums.in_place(func, args, kwargs or {}):
                func = IN_PLACE[id(func)]
            return super().__torch_dispatch__(func, types, args, kwargs)

    def mark(self, phase: str) -> None:
        """Record that a phase of the step begins."""
        if phase == "forward":
            self.paths.restart()
            self._sequence.clear()
            self._sequence_calls.clear()
        self.marks.append((phase, len(self.calls)))
        self.phase = phase

    def pack(self, tensor: Tensor) -> Packed:
        """Record that autograd keeps a tensor for backward; called by its saved-tensor hooks.

        What an op made is kept as a tensor of its own: a result that keeps itself would never be freed.
        """
        with without_function_modes():
            number = self.tensor(tensor, "constant")
            self.kept.add(self.tensors[number].storage)
            own = tensor if tensor.is_leaf else self.same(tensor, number)
            if self.held is not None:
                self.held.keep(own)
            packed = Packed(own, self.calls)
            packed.version = version(tensor)
        self._packed.append((number, self.stack[-1] if self.stack else 0, len(self.calls), packed.times))
        return packed

    def unpack(self, kept: Packed) -> Tensor:
        """Give autograd a kept tensor; RuntimeError if it was overwritten: autograd does not check that under hooks."""
        if version(kept.tensor) != kept.version:
            raise RuntimeError("a tensor that backward needs has been modified by an in-place operation")
        kept.times.append(len(self.calls))
        return kept.tensor

    def enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """Record that a module's forward begins: nodes of autograd made from here on belong to it."""
        super().enter(module, args, kwargs)
        self._note_sequence()

    def leave(self, module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        """Record that a module's forward ends: nodes made from here on belong to its caller."""
        super().leave(module, args, kwargs, out)
        self._note_sequence()

    def _note_sequence(self) -> None:
        if self.stack and self.phase == "forward":
            self._sequence.append(sequence_number())
            self._sequence_calls.append(self.stack[-1])

    def caller(self, tensors: Sequence[Tensor]) -> int:
        """The module call that runs; in backward the one whose node runs, in the optimizer the parameter's owner."""
        if self.stack:
            return self.stack[-1]
        if self.phase == "backward":
            return self._of_node(running_node())
        if self.phase == "optimizer":
            for tensor in tensors:
                owner = self._owner.get(storage_key(tensor))
                if owner is not None:
                    return owner
        return 0

    def assumed(self, func: Any) -> Any:
        """1.0 for numbers that an optimizer reads, such as norms: they change no shape."""
        if self.phase == "optimizer" and op_of(func).name == "_local_scalar_dense":
            return 1.0
        return super().assumed(func)

    def _of_node(self, node: Any) -> int:
        if node is None:
            return 0
        variable = getattr(node, "variable", None)
        if variable is not None:  # it adds up a parameter's gradient
            return self._owner.get(storage_key(variable), 0)
        before = bisect_right(self._sequence, node_number(node))  # the numbers grow as forward goes on
        return self._sequence_calls[before - 1] if before else 0

    def note_gradient(self, gradient: Tensor) -> None:
        """Record that the gradient of an activation is held until backward ends."""
        with without_function_modes():
            self.roles[self.tensors[self.tensor(gradient, "constant")].storage] = "activation gradient"

    def own(self, parameters: Sequence[tuple[Tensor, int]]) -> None:
        """Assign parameters to module calls."""
        self._owner = {storage_key(tensor): call for tensor, call in parameters}

    def steps_of(self) -> tuple[Step, ...]:
        """The marks as steps; forward, loss and backward are those of a step's last batch."""
        finished, start, last = [], 0, dict[str, int]()
        for phase, call in self.marks:
            last[phase] = call
            if phase == PHASES[-1]:
                finished.append(Step(start=start, **last))
                start = call
        return tuple(finished)

    def close(self) -> None:
        """End the record, and set what became known during the run: roles of storages, and what autograd kept."""
        super().close()
        self.keeps = tuple(
            Kept(tensor, run, at, times[0] if len(times) > 1 else None, times[-1] if times else None)
            for tensor, run, at, times in self._packed
        )
        roles = dict.fromkeys(self.kept, "saved") | self.roles
        fixed = ("parameter", "buffer", "input", "master")
        for number, role in roles.items():
            if self.storages[number].role not in fixed:
                self.storages[number] = replace(self.storages[number], role=role)


def train(
    module: nn.Module, inputs: Inputs, recorder: TrainingRecorder, training: Training, kernels: KernelSelection
) -> tuple[int, ...]:
    """Run two steps under the recorder and close the record. Returns the ids of the last outputs."""
    trained = [p for p in module.parameters() if p.requires_grad]
    if not trained:
        raise BadInput("no parameter is trained.", "check --frozen; a model without parameters cannot be trained")
    loss, optimizer = Loss(training.loss), optimizer_of(training, trained, kernels.device.foreach)
    for master in masters_of(optimizer).values():
        recorder.tensor(master, "master")
    recorder.watch_modules()
    recorder.held = HeldGradients(recorder.note_gradient) if training.keep_gradients else None
    root = (module, inputs.args, inputs.kwargs)

    def run(*args: Any, **kwargs: Any) -> Any:
        recorder.enter(*root)
        out = module(*args, **kwargs)
        recorder.leave(*root, out)
        return out

    def mark(phase: str) -> None:
        with without_function_modes():
            if phase == "optimizer":
                _roles(recorder, "gradient", (p.grad for p in trained if p.grad is not None))
            elif phase == "end":
                _end(recorder, optimizer)
            recorder.mark(phase)
            kernels.autocast.backward = phase == "backward"
            if phase == "backward":
                for target in loss.targets:
                    _roles(recorder, "input", [target])
                recorder.own(_owners(recorder, module, optimizer))

    with recorder, saved_tensors_hooks(recorder.pack, recorder.unpack):
        batches = training.accumulation, training.rounds
        out = steps(_Called(run), inputs, loss, optimizer, mark, kernels.region, *batches, recorder.held)
    outputs = tuple(recorder.tensor(t, "constant") for t in tensors_in(out))
    recorder.close()
    return outputs


class _Called(nn.Module):
    """A module whose forward is a given function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def _roles(recorder: TrainingRecorder, role: str, tensors: Any) -> None:
    for tensor in tensors:
        recorder.roles[recorder.tensors[recorder.tensor(tensor, "constant", OPEN)].storage] = role


def _end(recorder: TrainingRecorder, optimizer: Optimizer) -> None:
    """Record the optimizer's state, its names (the largest first), and the gradients that master weights have."""
    states = list(optimizer.state.values())
    _roles(recorder, "optimizer", tensors_in(states))
    sizes: dict[str, int] = {}
    for state in states:
        for name, value in state.items():
            sizes[name] = sizes.get(name, 0) + sum(tensor.numel() for tensor in tensors_in(value))
    recorder.state_names = tuple(sorted(filter(sizes.get, sizes), key=lambda name: -sizes[name]))
    if isinstance(optimizer, OverMasters):
        _roles(recorder, "gradient", optimizer.gradients())


def _owners(recorder: TrainingRecorder, module: nn.Module, optimizer: Optimizer) -> list[tuple[Tensor, int]]:
    """Each parameter, and its master weight if it has one, with the last call of the module that registers it."""
    masters = masters_of(optimizer)
    calls = {recorder.paths.modules[call.module].path: number for number, call in enumerate(recorder.module_calls)}
    owners: list[tuple[Tensor, int]] = []
    for path, registering in recorder.paths.walk():
        for parameter in (p for p in own_parameters(registering).values() if p is not None):
            both = [parameter, *([masters[key]] if (key := storage_key(parameter)) in masters else [])]
            owners += [(tensor, calls.get(path, 0)) for tensor in both]
    return owners
