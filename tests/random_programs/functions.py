"""Stages of how functions are written: transforms of functions, checkpoints, gradients of their own, random numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, stack_module_state, vmap
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from tests.random_programs.stage import IMAGE, SEQUENCE, VECTOR, Apply, Draw, parameter, stage


@stage(SEQUENCE)
def vmapped(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Vmap of a module, of a function, or of both axes."""
    way = draw.pick(
        lambda m, x: vmap(m.layer)(x),
        lambda m, x: vmap(lambda row: m.layer(row).tanh(), in_dims=1, out_dims=1)(x),
        lambda m, x: vmap(vmap(lambda v: m.layer(v) * v.sum()))(x),
        lambda m, x: vmap(lambda a, b: a @ b.T, in_dims=(0, None))(x, m.layer.weight),
    )
    return Apply(way, layer=nn.Linear(c, 4))


@stage(VECTOR)
def ensemble(draw: Draw, n: int, c: int) -> nn.Module:
    """Three models at once: stacked parameters and vmap over functional_call."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        params, buffers = stack_module_state(list(m.members))
        base = m.members[0]
        return vmap(lambda p, b: functional_call(base, (p, b), (x,)))(params, buffers).mean(0)

    members = nn.ModuleList(nn.Sequential(nn.Linear(c, 5), nn.Tanh(), nn.Linear(5, 4)) for _ in range(3))
    return Apply(forward, members=members)


@stage(VECTOR)
def derivatives(draw: Draw, n: int, c: int) -> nn.Module:
    """The gradient or Jacobian of a layer inside forward."""
    way = draw.pick(
        lambda m, x: x + grad(lambda v: m.layer(v).sum())(x),
        lambda m, x: torch.stack([jacrev(m.layer)(row).sum(0) for row in x]),
        lambda m, x: x + functional_call(m.layer, {"weight": m.layer.weight * 2}, (x,))[:, :1],
    )
    return Apply(way, layer=nn.Linear(c, 4))


@stage(IMAGE)
def checkpointed(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """A part that backward runs again, reentrant or not, alone or in segments."""
    body = nn.Sequential(nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU(), nn.Dropout(0.1))
    way = draw.pick(
        lambda m, x: checkpoint(m.body, m.stem(x), use_reentrant=False),
        lambda m, x: checkpoint(m.body, m.stem(x), use_reentrant=True),
        lambda m, x: checkpoint_sequential(m.body, 2, m.stem(x), use_reentrant=False),
        lambda m, x: checkpoint(lambda y: m.body(y) + y, m.stem(x), use_reentrant=False, preserve_rng_state=False),
    )
    return Apply(way, body=body, stem=nn.Conv2d(c, c, 1))


class Doubling(torch.autograd.Function):
    """Twice the product with a matrix, with a backward of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return 2 * x @ weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        return 2 * gradient @ weight.mT, 2 * x.flatten(0, -2).mT @ gradient.flatten(0, -2)


class Straight(torch.autograd.Function):
    """Rounds; the gradient goes straight through."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.mark_non_differentiable()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient


@stage(SEQUENCE)
def own_gradient(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Functions with a backward of their own, and a detached way round."""
    way = draw.pick(
        lambda m, x: Doubling.apply(x, m.weight),
        lambda m, x: Straight.apply(x @ m.weight),
        lambda m, x: x @ m.weight + (x.round() - x).detach() @ m.weight.detach(),
    )
    return Apply(way, weight=parameter(c, 4))


@stage(VECTOR)
def without_gradient(draw: Draw, n: int, c: int) -> nn.Module:
    """Parts under no_grad, frozen layers, detached targets, a running mean that forward writes."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        with torch.no_grad():
            target = m.frozen(x)
            m.mean.mul_(0.9).add_(target.mean(0), alpha=0.1)
            m.calls += 1
        return m.layer(x) + target + m.mean.clone() + m.frozen(x).detach()

    frozen = nn.Linear(c, 4).requires_grad_(False)
    return Apply(forward, layer=nn.Linear(c, 4), frozen=frozen, mean=torch.zeros(4), calls=torch.tensor(0))


@stage(VECTOR)
def branches(draw: Draw, n: int, c: int) -> nn.Module:
    """Branches on sizes, dtypes, the mode and the number of calls."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        assert x.dim() == 2
        assert x.is_floating_point() is not x.is_cuda
        if x.shape[0] > 1 and m.training:
            x = m.layer(x)
        if x.numel() % 2 == 0 or x.stride(0) == 1:
            x = x.repeat(1, 2)
        if len(x) == n and x.is_contiguous():
            x = x[:, : max(2, x.size(-1) // 2)]
        return x.relu() if torch.is_grad_enabled() and m.training else x

    return Apply(forward, layer=nn.Linear(c, c))


@stage(SEQUENCE)
def drawn(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Random numbers in forward: noise, masks, permutations."""
    way = draw.pick(
        lambda x: x + torch.randn_like(x) * 0.1,
        lambda x: x * torch.bernoulli(torch.full((n, 1, c), 0.5)),
        lambda x: x[:, torch.randperm(t)],
        lambda x: x * torch.rand(n, t, 1).ge(0.2) + torch.normal(0.0, 1.0, (c,)),
        lambda x: x + torch.empty_like(x).uniform_(-1, 1) + torch.randint(0, 2, (t, 1)),
        lambda x: x.gather(1, torch.multinomial(x.abs().mean(2) + 1, 3).unsqueeze(2).expand(-1, -1, c)),
        lambda x: x + nn.functional.gumbel_softmax(x, hard=True, dim=1),
    )
    return Apply(lambda m, x: way(x))


class Marked(Tensor):
    """A tensor that knows that it is one of ours."""


@stage(SEQUENCE)
def subclass(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """A subclass of tensors goes through a layer; its results are of the subclass too."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        y = m.layer(x.as_subclass(Marked))
        return (y * 2 if isinstance(y, Marked) else y[:, :1]).as_subclass(Tensor)

    return Apply(forward, layer=nn.Linear(c, 4))


def scripted_gate(x: Tensor, shift: float) -> Tensor:
    """A scripted function, as older models have for their activations; scripted where it is used."""
    return x * torch.sigmoid(x + shift)


@stage(SEQUENCE)
def scripted(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """A scripted function, or a scripted or traced module."""
    if draw.flag():
        gate = torch.jit.script(scripted_gate)
        return Apply(lambda m, x: gate(m.layer(x), 0.5), layer=nn.Linear(c, 4))
    net = nn.Sequential(nn.Linear(c, 4), nn.ReLU())
    net = draw.pick(torch.jit.script, lambda module: torch.jit.trace(module, torch.zeros(n, t, c)))(net)
    return Apply(lambda m, x: m.net(x), net=net)
