"""Products and their gradients: the ops that autograd runs on real numbers without zeros, in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import archcalc
from archcalc.engine import Training
from archcalc.ops.names import packet

COUNTED = frozenset("eq sum any flip cumsum mul div unsqueeze".split())
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "all factors": lambda h: h.prod(),
    "along a dimension": lambda h: h.prod(1),
    "kept dimension": lambda h: h.prod(-1, keepdim=True),
    "all products": lambda h: h.cumprod(0),
    "products of one": lambda h: h[:, :1].cumprod(1),
    "rendering": lambda h: h * torch.cumprod(torch.cat([torch.ones(4, 1), 1 - h], 1), 1)[:, :-1],
}


class Program(nn.Module):
    """A function of factors that are trained, none of them zero."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.factors, self.function = nn.Parameter(torch.rand(4, 8) / 2 + 0.1), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.factors + x)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_backward_has_the_ops_of_real_products(name: str) -> None:
    loss = Program(FUNCTIONS[name])(torch.zeros(4, 8)).sum()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        loss.backward()
    real = list(_ops(profiler.profiler.kineto_results.experimental_event_tree()))  # type: ignore[union-attr]
    trace = archcalc.trace(Program(FUNCTIONS[name]), (4, 8), train=Training("sgd"))
    step = trace.steps[-1]
    ours = [packet(call.op) for call in trace.calls[step.backward : step.optimizer]]
    assert [op for op in ours if op in COUNTED] == real


def _ops(events: Any) -> Iterator[str]:
    """The ops that autograd calls, without those inside of them; those that it calls by a function of its own, too."""
    for event in events:
        name = packet(event.name.replace("::", "."))
        if event.name.startswith("aten::") and name != "cumprod_backward":
            if name in COUNTED:
                yield name
        else:
            yield from _ops(event.children)


def test_transforms_and_second_gradients_see_products_as_torch_has_them() -> None:
    class Curved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.rand(5) + 1)

        def forward(self, x: Tensor) -> Tensor:
            (slope,) = torch.autograd.grad((self.w * x).cumprod(0).sum(), self.w, create_graph=True)
            return slope.prod() + torch.vmap(torch.prod)(x.expand(3, 5) * self.w).sum()

    trace = archcalc.trace(Curved(), (5,), train=Training("sgd"))
    assert trace.tensors[trace.output_tensors[0]].shape == ()
