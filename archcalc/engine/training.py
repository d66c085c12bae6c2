"""A training step on tensors without data, twice: forward, loss, backward, optimizer.

In the first step the optimizer makes its state; the second is the steady state. `steps` is the same loop that people
write, and runs on real tensors as well: the bench measures it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, autograd, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from archcalc.engine import Training
from archcalc.engine.inputs import Inputs
from archcalc.engine.kernel_choice import KernelChoice
from archcalc.engine.tracer import OPEN, Recorder, Region, tensors_in
from archcalc.errors import BadInput, WrongUse
from archcalc.trace import Step

PHASES = ("forward", "loss", "backward", "optimizer", "end")
Mark = Callable[[str], None]


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, Symbolic Discovery of Optimization Algorithms: one state tensor, the step is a sign."""

    def __init__(self, params: Any, lr: float = 1e-4) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update: the sign of an average of gradient and momentum."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["exp_avg"] = torch.zeros_like(p)
                update = state["exp_avg"].mul(0.9).add_(p.grad, alpha=0.1).sign_()
                p.add_(update, alpha=-group["lr"])
                state["exp_avg"].lerp_(p.grad, 0.01)


OPTIMIZERS: dict[str, Callable[[Any, bool], torch.optim.Optimizer]] = {
    "sgd": lambda params, foreach: torch.optim.SGD(params, lr=1e-3, foreach=foreach),
    "momentum": lambda params, foreach: torch.optim.SGD(params, lr=1e-3, momentum=0.9, foreach=foreach),
    "adam": lambda params, foreach: torch.optim.Adam(params, foreach=foreach),
    "adamw": lambda params, foreach: torch.optim.AdamW(params, foreach=foreach),
    "adafactor": lambda params, foreach: torch.optim.Adafactor(params, foreach=False),
    "lion": lambda params, foreach: Lion(params),
}
"""Each of parameters, and whether all are updated by one kernel (foreach): torch's choice on CUDA, and not on CPU."""


class Loss:
    """A number from the outputs; the targets it needs are there before the first step and stay."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.targets: list[Tensor] = []

    def __call__(self, out: Any) -> Tensor:
        """The loss of a forward's output; BadInput where nothing in it is trained."""
        outputs = [t for t in tensors_in(out) if t.requires_grad]
        if not outputs:
            raise BadInput("no output depends on a parameter that is trained.", "check --frozen, or leave --train out")
        if self.kind in ("sum", "mean"):
            return _total([t.sum() if self.kind == "sum" else t.mean() for t in outputs])
        first = outputs[0]
        if self.kind == "mse":
            return functional.mse_loss(first, self._target(first, first.shape, first.dtype))
        if first.dim() == 3:  # N, T, classes, as language models have them
            first = first.flatten(0, 1)
        return functional.cross_entropy(first, self._target(first, (first.shape[0], *first.shape[2:]), torch.int64))

    def _target(self, output: Tensor, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        if not self.targets:
            self.targets.append(torch.zeros(shape, dtype=dtype, device=output.device))
        return self.targets[0]


LOSSES = ("sum", "mean", "cross-entropy", "mse")


def _total(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def steps(
    module: nn.Module,
    inputs: Inputs,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    mark: Mark,
    region: Region = nullcontext,
    accumulation: int = 1,
) -> Any:
    """Two steps as people write them: output and loss live until the next batch's take their names.

    The second batch of an accumulation is like every later one: more are not run.
    """
    for _ in range(2):
        optimizer.zero_grad(set_to_none=True)
        for _ in range(min(accumulation, 2)):
            mark("forward")
            with region():
                out = module(*inputs.args, **inputs.kwargs)
                mark("loss")
                value = loss(out) if accumulation == 1 else loss(out) / accumulation
            mark("backward")
            value.backward()  # type: ignore[no-untyped-call]
        mark("optimizer")
        optimizer.step()
        mark("end")
    return out


class TrainingRecorder(Recorder):  # type: ignore[no-untyped-call]
    """A recorder that also knows what autograd keeps, and which module a backward or optimizer op works for."""

    def __init__(self, module: nn.Module, device: str = "") -> None:
        super().__init__(module, device)
        self.kept: set[int] = set()
        self.roles: dict[int, str] = {}
        self.marks: list[tuple[str, int]] = []
        self._sequence: list[tuple[int, int]] = []
        self._owner: dict[int, int] = {}

    def mark(self, phase: str) -> None:
        """A phase begins."""
        if phase == "forward":
            self.paths.restart()
            self._sequence.clear()
        self.marks.append((phase, len(self.calls)))
        self.phase = phase

    def pack(self, tensor: Tensor) -> tuple[Tensor, int]:
        """Autograd keeps a tensor for backward, as it is now."""
        self.kept.add(self.tensors[self.tensor(tensor, "constant")].storage)
        return tensor, tensor._version

    def unpack(self, kept: tuple[Tensor, int]) -> Tensor:
        """Autograd wants it back; refused where it was overwritten, which autograd does not check under hooks."""
        tensor, version = kept
        if tensor._version != version:
            raise RuntimeError("a tensor that backward needs has been modified by an in-place operation")
        return tensor

    def enter(self, module: nn.Module, args: Any, kwargs: Any) -> None:
        """A module's forward begins: autograd's nodes from here on are its own."""
        super().enter(module, args, kwargs)
        self._note_sequence()

    def leave(self, module: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        """A module's forward ends: nodes from here on are its caller's."""
        super().leave(module, args, kwargs, out)
        self._note_sequence()

    def _note_sequence(self) -> None:
        if self.stack and self.phase == "forward":
            number = autograd._get_sequence_nr()  # type: ignore[attr-defined]
            self._sequence.append((number, self.stack[-1]))

    def caller(self, tensors: Sequence[Tensor]) -> int:
        """The module call that runs; in backward the one whose node runs, in the optimizer the parameter's owner."""
        if self.stack:
            return self.stack[-1]
        if self.phase == "backward":
            return self._of_node(torch._C._current_autograd_node())
        if self.phase == "optimizer":
            owners = (self._owner.get(t.untyped_storage()._cdata) for t in tensors)
            return next((owner for owner in owners if owner is not None), 0)
        return 0

    def assumed(self, func: Any) -> Any:
        """Optimizers scale steps by norms, which change no shape: any number will do there."""
        if self.phase == "optimizer" and func._opname == "_local_scalar_dense":
            return 1.0
        return super().assumed(func)

    def _of_node(self, node: Any) -> int:
        if node is None:
            return 0
        variable = getattr(node, "variable", None)
        if variable is not None:  # it adds up a parameter's gradient
            return self._owner.get(variable.untyped_storage()._cdata, 0)
        number, found = node._sequence_nr(), 0
        for first, call in self._sequence:
            if first > number:
                break
            found = call
        return found

    def own(self, parameters: Sequence[tuple[Tensor, int]]) -> None:
        """Each parameter belongs to a module call."""
        self._owner = {tensor.untyped_storage()._cdata: call for tensor, call in parameters}

    def steps_of(self) -> tuple[Step, ...]:
        """The marks as steps; forward, loss and backward are those of a step's last batch."""
        found, start, last = [], 0, dict[str, int]()
        for phase, call in self.marks:
            last[phase] = call
            if phase == PHASES[-1]:
                found.append(Step(start=start, **last))
                start = call
        return tuple(found)

    def close(self) -> None:
        """Deaths, and the roles that were found out on the way."""
        super().close()
        found = dict.fromkeys(self.kept, "saved") | self.roles
        fixed = ("parameter", "buffer", "input")
        self.storages = [
            storage if storage.role in fixed else replace(storage, role=found.get(number, storage.role))
            for number, storage in enumerate(self.storages)
        ]


def train(
    module: nn.Module, inputs: Inputs, recorder: TrainingRecorder, training: Training, choice: KernelChoice
) -> tuple[int, ...]:
    """Run two steps under the recorder and close the record; the ids of the last outputs."""
    trained = [p for p in module.parameters() if p.requires_grad]
    if not trained:
        raise BadInput("no parameter is trained.", "check --frozen, or leave --train out")
    loss, optimizer = Loss(training.loss), OPTIMIZERS[training.optimizer](trained, choice.device == "cuda")
    recorder.watch_modules()
    root = (module, inputs.args, inputs.kwargs)

    def run(*args: Any, **kwargs: Any) -> Any:
        recorder.enter(*root)
        out = module(*args, **kwargs)
        recorder.leave(*root, out)
        return out

    def mark(phase: str) -> None:
        if phase == "optimizer":
            _roles(recorder, "gradient", (p.grad for p in trained if p.grad is not None))
        elif phase == "end":
            _roles(recorder, "optimizer", tensors_in(list(optimizer.state.values())))
        recorder.mark(phase)
        if phase == "backward":
            for target in loss.targets:
                _roles(recorder, "input", [target])
            recorder.own(_owners(recorder, module))

    with recorder, saved_tensors_hooks(recorder.pack, recorder.unpack):
        out = steps(_Called(run), inputs, loss, optimizer, mark, choice.region, training.accumulation)
    outputs = tuple(recorder.tensor(t, "constant") for t in tensors_in(out))
    recorder.close()
    return outputs


class _Called(nn.Module):
    """A function in a module's place."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def _roles(recorder: TrainingRecorder, role: str, tensors: Any) -> None:
    for tensor in tensors:
        recorder.roles[recorder.tensors[recorder.tensor(tensor, "constant", OPEN)].storage] = role


def _owners(recorder: TrainingRecorder, module: nn.Module) -> list[tuple[Tensor, int]]:
    """Each parameter with the last call of the module that registers it."""
    calls = {recorder.paths.modules[call.module].path: number for number, call in enumerate(recorder.module_calls)}
    found: list[tuple[Tensor, int]] = []
    for path, one in recorder.paths.walk():
        found += [(p, calls.get(path, 0)) for p in one._parameters.values() if p is not None]
    return found


def prepare(module: nn.Module, training: Training, region: Region = nullcontext) -> None:
    """Freeze and checkpoint what the patterns name, on our copy; WrongUse where a pattern names nothing."""
    if training.optimizer not in OPTIMIZERS:
        hint = f"choose one of  {', '.join(OPTIMIZERS)}"
        raise WrongUse(f"there is no optimizer '{training.optimizer}'.", hint)
    if training.accumulation < 1:
        raise WrongUse("--grad-accumulation counts batches.", "write  --grad-accumulation 4")
    if training.loss not in LOSSES:
        raise WrongUse(f"there is no loss '{training.loss}'.", f"choose one of  {', '.join(LOSSES)}")
    for pattern in training.frozen:
        for _, one in _matching(module, pattern, "--frozen"):
            one.requires_grad_(False)
    for pattern in training.checkpoint:
        for _, one in _matching(module, pattern, "--checkpoint"):
            one.forward = _checkpointed(one.forward, region)


def _checkpointed(forward: Any, region: Region) -> Any:
    def run(*args: Any, **kwargs: Any) -> Any:
        with region():  # in backward, too
            return forward(*args, **kwargs)

    def again(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(run, *args, use_reentrant=False, **kwargs)

    return again


def _matching(module: nn.Module, pattern: str, option: str) -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules that a pattern names."""
    found: list[str] = []
    for path, one in module.named_modules():
        if path and fnmatchcase(path, pattern) and not any(path.startswith(f"{above}.") for above in found):
            found.append(path)
            yield path, one
    if not found:
        names = [name for name, _ in module.named_children()][:6]
        raise WrongUse(f"no layer matches '{option} {pattern}'.", f"it has  {', '.join(names)}" if names else "")
