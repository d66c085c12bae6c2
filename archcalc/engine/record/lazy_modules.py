"""Lazy modules, whose parameters get their shapes from a first run."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from archcalc.engine.load.inputs import Inputs
from archcalc.engine.meta.call_arguments import tensors_in
from archcalc.engine.meta.empty_modules import registered
from archcalc.engine.record.recorder import Recorder
from archcalc.errors import CannotImport


class FirstRun(Recorder):  # type: ignore[no-untyped-call]
    """A recorder that lets parameters without a shape pass; its record is thrown away."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if any(map(is_lazy, tensors_in((args, kwargs or {})))):
            return func(*args, **(kwargs or {}))
        return super().__torch_dispatch__(func, types, args, kwargs)


def without_shape(module: nn.Module) -> list[str]:
    """The names of the parameters and buffers that have no shape yet."""
    return [name for name, tensor in registered(module).items() if is_lazy(tensor)]


def first_run(module: nn.Module, inputs: Inputs, recorder: FirstRun) -> None:
    """Give lazy parameters their shapes; CannotImport if forward does not meet some of them."""
    training = module.training
    with torch.no_grad(), recorder:
        module.eval()(*inputs.args, **inputs.kwargs)
    module.train(training)
    left = without_shape(module)
    if left:
        hint = "build it with its sizes: Linear in place of LazyLinear, and so on"
        raise CannotImport(f"{left[0]} is lazy, and forward does not run it: its shape is unknown.", hint)
