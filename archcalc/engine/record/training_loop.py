"""The loop of a training step as people write it, with its losses and optimizers; it runs on real tensors as well.

The engine traces it on tensors without data, the bench measures it on real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import nullcontext
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from archcalc.engine import choices
from archcalc.engine.load.inputs import Inputs
from archcalc.engine.meta.call_arguments import tensors_in
from archcalc.engine.recipes import RECIPES
from archcalc.engine.record.held_gradients import HeldGradients
from archcalc.engine.record.master_weights import Optimizer, OverMasters
from archcalc.engine.record.recorder import Region
from archcalc.engine.setup import Training
from archcalc.engine.torch_private import without_dynamo, without_function_modes
from archcalc.errors import BadInput, WrongUse

PHASES = ("forward", "loss", "backward", "optimizer", "end")
Mark = Callable[[str], None]


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, Symbolic Discovery of Optimization Algorithms: one state tensor, the step is a sign."""

    def __init__(self, params: Any, lr: float = 1e-4, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update: decay of the weights, then the sign of an average of gradient and momentum."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["exp_avg"] = torch.zeros_like(p)
                if group["weight_decay"]:
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                update = state["exp_avg"].mul(0.9).add_(p.grad, alpha=0.1).sign_()
                p.add_(update, alpha=-group["lr"])
                state["exp_avg"].lerp_(p.grad, 0.01)


SGD, Adam, AdamW, Adafactor, PlainLion = map(
    without_dynamo, (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adafactor, Lion)
)
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": lambda params, foreach, **decay: SGD(params, lr=1e-3, foreach=foreach, **decay),
    "momentum": lambda params, foreach, **decay: SGD(params, lr=1e-3, momentum=0.9, foreach=foreach, **decay),
    "adam": lambda params, foreach, **decay: Adam(params, foreach=foreach, **decay),
    "adamw": lambda params, foreach, **decay: AdamW(params, foreach=foreach, **decay),
    "adafactor": lambda params, foreach, **decay: Adafactor(params, foreach=False, **decay),
    "lion": lambda params, foreach, **decay: PlainLion(params, **decay),
}
"""Each of parameters, and whether all are updated by one kernel (foreach): torch's choice on CUDA, and not on CPU.

`weight_decay` is the optimizer's own if it is not given."""


def optimizer_of(training: Training, trained: Sequence[Tensor], foreach: bool) -> Optimizer:
    """The optimizer of a training step over its parameters; over float32 copies of them if the recipe wants that."""
    decay = choices.weight_decay(training.optimizer, training.weight_decay)

    def make(parameters: Any) -> torch.optim.Optimizer:
        return OPTIMIZERS[training.optimizer](parameters, foreach, weight_decay=decay)

    masters = bool(training.recipe) and RECIPES[training.recipe].masters
    return OverMasters(trained, make) if masters else make(trained)


class Loss:
    """A number from the outputs; the targets it needs are there before the first step and stay."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.targets: list[Tensor] = []

    def __call__(self, out: Any) -> Tensor:
        """The loss of a forward's output; BadInput if nothing in it needs a gradient."""
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


def _total(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total.abs() if total.is_complex() else total  # a gradient starts from a real number


def steps(
    module: nn.Module,
    inputs: Inputs,
    loss: Loss,
    optimizer: Optimizer,
    mark: Mark,
    region: Region = nullcontext,
    accumulation: int = 1,
    rounds: int = 2,
    held: HeldGradients | None = None,
) -> Any:
    """Two steps as people write them, or `rounds`: output and loss live until the next batch's take their names.

    The second batch of an accumulation is like every later one: more are not run. Modes for torch's functions are kept
    out of updates, which are torch's own code, unless a parameter is of a class that has functions of its own. `held`
    keeps the gradients of activations until the backward pass of a batch ends.
    """
    plain = all(type(p) in (nn.Parameter, Tensor) for group in optimizer.param_groups for p in group["params"])
    for _ in range(rounds):
        optimizer.zero_grad(set_to_none=True)
        for _ in range(min(accumulation, 2)):
            mark("forward")
            with region():
                out = module(*inputs.args, **inputs.kwargs)
                mark("loss")
                value = loss(out) if accumulation == 1 else loss(out) / accumulation
            mark("backward")
            if held is not None:
                held.watch(value)
            value.backward()  # type: ignore[no-untyped-call]
            if held is not None:
                held.release()
        mark("optimizer")
        with without_function_modes() if plain else nullcontext():
            optimizer.step()
        mark("end")
    return out


def prepare(module: nn.Module, training: Training, region: Region = nullcontext) -> Callable[[], None]:
    """Freeze and checkpoint what the patterns name, on our copy; WrongUse where a pattern names nothing.

    Returns a check for the end of the run: WrongUse if a pattern names only layers that were not called.
    """
    choices.optimizer(training.optimizer)
    choices.weight_decay(training.optimizer, training.weight_decay)
    choices.loss(training.loss)
    if training.accumulation < 1:
        raise WrongUse("--grad-accumulation counts batches.", "write  --grad-accumulation 4")
    for pattern in training.frozen:
        layers = list(_matching(module, pattern, "--frozen"))
        if not any(True for _, layer in layers for _ in layer.parameters()):
            hint = f"layers with parameters are  {', '.join(_with_parameters(module)[:6])}"
            raise WrongUse(f"--frozen {pattern} freezes nothing: {layers[0][0]} has no parameters.", hint)
        for _, layer in layers:
            layer.requires_grad_(False)
    named: dict[str, list[str]] = {}
    called: set[str] = set()
    for pattern in training.checkpoint:
        outermost = list(_matching(module, pattern, "--checkpoint"))
        layers = [inside for path, layer in outermost for inside in _callable(path, layer)]
        named[pattern] = [path for path, _ in layers or outermost]
        for path, layer in layers:
            layer.forward = _checkpointed(layer.forward, region, lambda path=path: called.add(path))  # type: ignore[misc]
    return lambda: _demand_called(module, named, called)


def _with_parameters(module: nn.Module) -> list[str]:
    return [name for name, child in module.named_children() if any(True for _ in child.parameters())]


def _callable(path: str, layer: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layer; if it has no forward, as a ModuleList, the outermost layers in it that have one."""
    if type(layer).forward is not nn.Module.forward:
        yield path, layer
        return
    for name, child in layer.named_children():
        yield from _callable(f"{path}.{name}", child)


def _demand_called(module: nn.Module, named: Mapping[str, Sequence[str]], called: AbstractSet[str]) -> None:
    """WrongUse for a pattern none of whose layers was called, so that nothing is recomputed."""
    for pattern, paths in named.items():
        if not any(path in called for path in paths):
            path = paths[0]
            above = path.rpartition(".")[0]
            inside = any(True for _ in module.get_submodule(path).children())
            hint = f"name the layers in it:  --checkpoint '{path}.*'" if inside else "leave --checkpoint out"
            if above and not inside:
                hint = f"name the layer that uses it:  --checkpoint '{above}'"
            raise WrongUse(f"--checkpoint {pattern} recomputes nothing: {path} is not called itself.", hint)


def _checkpointed(forward: Any, region: Region, note: Callable[[], None]) -> Any:
    def run(*args: Any, **kwargs: Any) -> Any:
        note()
        with region():  # in backward, too
            return forward(*args, **kwargs)

    def again(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(run, *args, use_reentrant=False, **kwargs)

    return again


def _matching(module: nn.Module, pattern: str, option: str) -> Iterator[tuple[str, nn.Module]]:
    """The outermost modules that a pattern names."""
    matched: list[str] = []
    for path, layer in module.named_modules():
        if path and fnmatchcase(path, pattern) and not any(path.startswith(f"{above}.") for above in matched):
            matched.append(path)
            yield path, layer
    if not matched:
        names = [name for name, _ in module.named_children()][:6]
        raise WrongUse(f"no layer matches '{option} {pattern}'.", f"it has  {', '.join(names)}" if names else "")
