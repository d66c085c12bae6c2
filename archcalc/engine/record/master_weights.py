"""An optimizer over float32 copies of parameters that are in a lower precision.

Micikevicius et al. 2018, Mixed Precision Training: the update is made on master weights in float32. The bytes are those
of Rajbhandari et al. 2020, ZeRO, section 3.1: weights 2, gradients 2, master weights 4, and Adam's two moments 4 each.
A step goes as in Megatron-LM's Float16OptimizerWithFloat16Params without a buffer for gradients: each gradient is
copied to float32 and freed, the optimizer updates the master weights, and these are copied to the parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from archcalc.engine.meta.shape_rules import HALF
from archcalc.engine.torch_private import storage_key


class Optimizer(Protocol):
    """What the loop of a training step, and its record, need of an optimizer."""

    @property
    def state(self) -> Mapping[Any, Any]:
        """Its tensors by parameter, each by its name."""

    @property
    def param_groups(self) -> Sequence[Mapping[str, Any]]:
        """The parameters that it updates, in groups."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Free the gradients."""

    def step(self) -> Any:
        """Update the parameters."""


class OverMasters:
    """An optimizer that updates float32 copies of the parameters of lower precision, and all others themselves."""

    def __init__(self, parameters: Sequence[Tensor], make: Callable[[Any], torch.optim.Optimizer]) -> None:
        self.pairs = [(p, p.detach().to(torch.float32)) for p in parameters if p.dtype in HALF]
        masters = {id(p): master for p, master in self.pairs}
        self.optimizer = make([masters.get(id(p), p) for p in parameters])

    @property
    def state(self) -> Mapping[Any, Any]:
        """The state of the optimizer inside, by master weight; the master weights are not in it."""
        return self.optimizer.state

    @property
    def param_groups(self) -> Sequence[Mapping[str, Any]]:
        """The groups of the optimizer inside."""
        return self.optimizer.param_groups

    def gradients(self) -> list[Tensor]:
        """The float32 gradients of the master weights, from a step to the next zero_grad."""
        return [master.grad for _, master in self.pairs if master.grad is not None]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Free the gradients of the parameters and of the master weights."""
        self.optimizer.zero_grad(set_to_none)
        for parameter, _ in self.pairs:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One update: gradients to float32 one after the other, the optimizer's own step, master weights back."""
        for parameter, master in self.pairs:
            if parameter.grad is not None:
                master.grad = torch.empty_like(master).copy_(parameter.grad)
                parameter.grad = None
        self.optimizer.step()
        for parameter, master in self.pairs:
            parameter.copy_(master)


def masters_of(optimizer: Optimizer) -> Mapping[int, Tensor]:
    """The master weights of an optimizer by the storage of their parameters; empty without any."""
    return {storage_key(p): m for p, m in optimizer.pairs} if isinstance(optimizer, OverMasters) else {}
