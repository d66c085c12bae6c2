"""The gradients of a tensor that is used several times are added up in place where autograd does it on real tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint

import archcalc
from archcalc.engine import Training

Function = Callable[[nn.Module, Tensor], Tensor]
ADDS = {
    "aten::add": "aten.add.Tensor", "aten::add_": "aten.add_.Tensor", "aten::scatter_add": "aten.scatter_add",
    "aten::scatter_add_": "aten.scatter_add_", "aten::scatter": "aten.scatter.src",
    "aten::scatter_": "aten.scatter_.src",
    "aten::index_add": "aten.index_add", "aten::index_add_": "aten.index_add_",
    "aten::index_put": "aten.index_put", "aten::_index_put_impl_": "aten.index_put_",
    "aten::index_fill": "aten.index_fill.int_Tensor", "aten::index_fill_": "aten.index_fill_.int_Tensor",
    "aten::masked_scatter": "aten.masked_scatter", "aten::masked_scatter_": "aten.masked_scatter_",
    "aten::put": "aten.put", "aten::put_": "aten.put_",
}  # fmt: skip

COMPOSED = tuple(
    f"aten::{name}_backward" for name in "value_selecting_reduction gather index_select masked_select trace".split()
)
"""Ops that consist of others, which are counted."""


class Program(nn.Module):
    """A linear layer whose result is used by a function, in which `layer` is the layer for more uses of it."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.layer, self.function = nn.Linear(8, 8), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.layer, self.layer(x))


class Doubled(torch.autograd.Function):
    """A function of a user's with a sum in its own backward pass."""

    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        return h * 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad + grad.detach().clone()


class Passed(torch.autograd.Function):
    """A function whose backward pass returns the gradient that it got, twice."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        return grad, grad


def hooked(layer: nn.Module, h: Tensor) -> Tensor:
    """A hook with a sum of its own."""
    branch = h * 2
    branch.register_hook(lambda grad: grad + grad)
    return branch + h.tanh()


PROGRAMS: dict[str, Function] = {
    "two products": lambda layer, h: h * 2 + h * 3,
    "square": lambda layer, h: h * h,
    "square and a branch": lambda layer, h: h * h + h.exp(),
    "a sum with itself": lambda layer, h: h + h,
    "residual": lambda layer, h: h + layer(h).relu(),
    "pass and add": lambda layer, h: (h + h.sin()) + h.cos(),
    "sums of parts": lambda layer, h: h.sum() + h.sum(0).sum() + h.mean(),
    "expanded": lambda layer, h: h.sum(0, keepdim=True).expand_as(h) + h.exp(),
    "one gradient for two": lambda layer, h: Passed.apply(h, h.sin()) + Passed.apply(h, h),
    "views": lambda layer, h: h.t().exp().sum() + h.view(-1).sin().sum() + h.tanh().sum(),
    "steps": lambda layer, h: torch.stack([h[:, i].tanh() for i in range(4)]),
    "chunks": lambda layer, h: torch.cat([part.sin() for part in h.chunk(2, 1)], 1) + h,
    "splits": lambda layer, h: h.split(2)[0].exp().sum() + h.split(3)[1].sin().sum() + h.unbind(0)[1].cos().sum(),
    "one weight, many uses": lambda layer, h: layer(layer(layer(h).tanh()).tanh()),
    "strided": lambda layer, h: h[::2].exp().sum() + h[:, ::2].exp().sum() + h.exp().sum(),
    "a hook": hooked,
    "own function": lambda layer, h: Doubled.apply(h) + Doubled.apply(h) + h.tanh(),
    "greatest of each row": lambda layer, h: h.max(1).values + h.gather(1, h.argmax(1, True))[:, 0],
    "rows by number": lambda layer, h: h[torch.tensor([0, 2, 2])].exp() + h.index_select(0, torch.tensor([1, 1, 3])),
    "places": lambda layer, h: h.take(torch.tensor([0, 9, 9])).sum() + h[:, torch.tensor([3, 3])].sum() + h.sin(),
    "rows that users write": lambda layer, h: torch.zeros_like(h).index_add(0, torch.tensor([0, 0, 1, 2]), h * 2),
    "a mask": lambda layer, h: h.masked_select(torch.ones(4, 8, dtype=torch.bool)).sum() + h[:, :4].trace(),
    "mish": lambda layer, h: nn.functional.mish(h) + nn.functional.mish(h * 2),
    "softmax of shares": lambda layer, h: h.softmax(-1) * h.logsumexp(-1, keepdim=True) + h.norm() + h.std(),
    "products": lambda layer, h: h.prod(1).sum() + h.cumprod(0).sum() + h.var(),
    "checkpoint": lambda layer, h: checkpoint(lambda t: layer(t).tanh() + t, h, use_reentrant=False) + h.sin(),
    "reentrant checkpoint": lambda layer, h: checkpoint(lambda t: layer(t).tanh() + t, h, use_reentrant=True) + h.sin(),
    "nested checkpoints": lambda layer, h: checkpoint(
        lambda t: checkpoint(lambda s: layer(s) * s, t, use_reentrant=False) + t, h, use_reentrant=False
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_sums_are_in_place_where_autograd_has_them_in_place(name: str) -> None:
    real = _real(Program(PROGRAMS[name]), torch.randn(4, 8))
    trace = archcalc.trace(Program(PROGRAMS[name]), (4, 8), train=Training("sgd"))
    start, end = trace.steps[-1].backward, trace.steps[-1].optimizer
    counted = Counter(call.op for call in trace.calls[start:end] if call.op in ADDS.values())
    assert counted == real


def _real(module: nn.Module, x: Tensor) -> Counter[str]:
    """The sums in the backward pass of a real step, by op; those inside other ops are left out."""
    loss = module(x).sum()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        loss.backward()
    tree = profiler.profiler.kineto_results.experimental_event_tree()  # type: ignore[union-attr]
    return Counter(ADDS[name] for name in _outermost(tree) if name in ADDS)


def _outermost(events: Any) -> Iterator[str]:
    for event in events:
        if event.name.startswith("aten::") and event.name not in COMPOSED:
            yield event.name
        else:
            yield from _outermost(event.children)
