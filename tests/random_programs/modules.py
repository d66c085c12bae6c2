"""Stages of how modules are put together: shared and tied parts, containers, constants, normed weights, results."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from tests.random_programs.stage import IMAGE, SEQUENCE, VECTOR, Apply, Draw, parameter, stage

Pair = namedtuple("Pair", "left right")


@stage(IMAGE)
def normed_weights(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """weight_norm and spectral_norm, in their new and old forms, of convolutions."""
    norm = draw.pick(
        parametrizations.weight_norm,
        functools.partial(parametrizations.weight_norm, dim=None),
        parametrizations.spectral_norm,
        torch.nn.utils.spectral_norm,
    )
    return norm(draw.pick(nn.Conv2d(c, 6, 3, padding=1), nn.ConvTranspose2d(c, 6, 3, padding=1)))


class Symmetric(nn.Module):
    """The upper triangle and its mirror image."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).mT


@stage(SEQUENCE)
def parametrised(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """A symmetric, an orthogonal or a cached weight of a linear layer; weight_norm of a recurrent one."""
    layer = nn.Linear(c, c)
    way = draw.pick("symmetric", "matrix_exp", "cayley", "householder", "cached", "gru")
    if way == "gru":
        return Apply(
            lambda m, x: m.gru(x)[0], gru=parametrizations.weight_norm(nn.GRU(c, 4, batch_first=True), "weight_hh_l0")
        )
    if way in ("symmetric", "cached"):
        parametrize.register_parametrization(layer, "weight", Symmetric())
    else:
        parametrizations.orthogonal(layer, orthogonal_map=way)

    def cached(m: Apply, x: Tensor) -> Tensor:
        with parametrize.cached():
            return m.layer(m.layer(x))

    return Apply(cached, layer=layer) if way == "cached" else layer


@stage(SEQUENCE)
def tied(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """One matrix as two layers' weight, one as it is and one transposed."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        return m.second(m.first(x)) @ m.second.weight.T

    first, second = nn.Linear(c, c), nn.Linear(c, c, bias=False)
    second.weight = first.weight
    return Apply(forward, first=first, second=second)


@stage(SEQUENCE)
def shared(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """One module under two names and called thrice; a list that no module registers."""
    layer = nn.Linear(c, c)
    if draw.flag():
        return nn.Sequential(layer, nn.Tanh(), layer, layer)
    return Apply(lambda m, x: m.plain[1](m.plain[0](x)), plain=[layer, nn.Linear(c, 4)])


@stage(SEQUENCE)
def constants(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Registered buffers that forward asks for their values, in many ways."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        first, last = m.ends.tolist()
        steps = [x[:, i] for i in m.order]
        x = torch.stack(steps, 1)[:, : int(m.ends[1])]
        if m.ends.max() > 2 and bool((m.ends >= 0).all()):
            x = x * float(m.scale)
        return x[:, first : last + 1].reshape(n, -1, x.shape[-1]) * m.scale.item() + m.ends.numpy().sum()

    return Apply(forward, ends=torch.tensor([0, t]), order=torch.arange(t).flip(0), scale=torch.tensor(0.5))


@stage(SEQUENCE)
def positions(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Sinusoids of the place from a buffer or made in forward; loops over a range that a tensor names."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        angles = torch.arange(x.size(1))[:, None] * m.rates
        x = x + torch.cat([angles.sin(), angles.cos()], -1)
        for shift in torch.arange(1, 3):
            x = x + x.roll(int(shift), 1)
        return x[:, : m.rates.numel() + 2]

    rates = torch.exp(torch.arange(c // 2) * -0.1)
    return Apply(forward, rates=rates)


@stage(SEQUENCE)
def containers(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """ModuleList, ModuleDict, ParameterList and ParameterDict, Sequential by names and slices of it."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        for layer, name in zip(m.layers, m.by_name, strict=False):
            x = layer(m.by_name[name](x))
        for gain in m.gains:
            x = x * gain
        return m.chain[:2](x) + m.shifts["a"] * m.shifts.b

    layers = nn.ModuleList([nn.Linear(c, c), nn.Identity()])
    by_name = nn.ModuleDict({"x": nn.ReLU(), "y": nn.Linear(c, c)})
    chain = nn.Sequential(OrderedDict(first=nn.Linear(c, c), act=nn.ReLU(), unused=nn.Linear(c, 3)))
    gains = nn.ParameterList([parameter(c), parameter(1)])
    shifts = nn.ParameterDict({"a": parameter(c), "b": parameter(1, 1, c)})
    return Apply(forward, layers=layers, by_name=by_name, chain=chain, gains=gains, shifts=shifts)


@dataclass
class Parts:
    """What a module may return."""

    first: Tensor
    others: dict[str, Any]


class Returning(nn.Module):
    """Its result in a dict, a dataclass, a named tuple or nested lists."""

    def __init__(self, c: int, form: str) -> None:
        super().__init__()
        self.layer, self.form = nn.Linear(c, 4), form

    def forward(self, x: Tensor, *, scale: float = 1.0) -> Any:
        y, z = self.layer(x) * scale, x.mean()
        return {
            "dict": {"y": y, "z": [z, None]},
            "dataclass": Parts(y, {"z": z}),
            "named": Pair(y, z),
            "nested": [(y, "text", 3), {"z": z}],
        }[self.form]


@stage(SEQUENCE)
def results(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """A module whose result is a dict, a dataclass, a named tuple or nested."""
    take = {
        "dict": lambda out: out["y"] + out["z"][0],
        "dataclass": lambda out: out.first + out.others["z"],
        "named": lambda out: out.left + out.right,
        "nested": lambda out: out[0][0] + out[1]["z"],
    }
    form = draw.pick(*take)
    return Apply(lambda m, x: take[form](m.inner(x, scale=2.0)), inner=Returning(c, form))


@stage(IMAGE)
def lazy(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """Layers that learn their sizes from the first run."""
    return nn.Sequential(nn.LazyConv2d(6, 3, padding=1), nn.LazyBatchNorm2d(), nn.LazyConvTranspose2d(4, 1))


@stage(SEQUENCE)
def copied(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """A layer copied in forward, a module called by its forward alone, hooks that change the result."""
    hooked = nn.Linear(c, c)
    hooked.register_forward_hook(lambda module, args, out: out * 2)
    hooked.register_forward_pre_hook(lambda module, args: (args[0] + 1,))
    way = draw.pick(
        lambda m, x: copy.deepcopy(m.layer)(x),
        lambda m, x: m.layer.forward(x),
        lambda m, x: m.hooked(x),
        lambda m, x: functools.reduce(lambda y, layer: layer(y), [m.layer, m.hooked], x),
    )
    return Apply(way, layer=nn.Linear(c, c), hooked=hooked)


@stage(SEQUENCE)
def conv1d_causal(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """A causal convolution of the steps: padded before, or padded on both sides and cut."""
    dilation = draw.pick(1, 2)
    conv = nn.Conv1d(c, draw.even(), 3, dilation=dilation, groups=draw.pick(1, 2))
    pad = draw.pick(nn.ConstantPad1d((2 * dilation, 0), 0.0), nn.ReplicationPad1d((2 * dilation, 0)))
    return Apply(lambda m, x: m.conv(m.pad(x.mT)).mT, conv=conv, pad=pad)


@stage(VECTOR)
def mlp(draw: Draw, n: int, c: int) -> nn.Module:
    """Linear layers with and without bias, and an unused one."""
    net = nn.Sequential(nn.Linear(c, 10, draw.flag()), nn.GELU(), nn.Dropout(0.2), nn.Linear(10, draw.even()))
    return Apply(lambda m, x: m.net(x), net=net, unused=nn.Linear(3, 3))


@stage(SEQUENCE)
def nested(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Forty containers inside one another around a layer."""
    net: nn.Module = nn.Linear(c, 6)
    for _ in range(40):
        net = nn.Sequential(net)
    return net


@stage(IMAGE)
def made_tensors(draw: Draw, n: int, c: int, h: int, w: int) -> nn.Module:
    """Tensors made from sizes: grids, ranges, triangles, windows; each on the device and of the dtype of the input."""
    way = draw.pick(
        lambda x: (
            x + torch.stack(torch.meshgrid(torch.arange(float(h)), torch.linspace(0, 1, w), indexing="ij")).sum(0)
        ),
        lambda x: x @ torch.eye(w, dtype=x.dtype, device=x.device) + torch.full((h, 1), 0.5).to(x),
        lambda x: x[..., torch.tril_indices(4, 4)[0], :][:, :, :h],
        lambda x: x * torch.outer(torch.hann_window(h), torch.hamming_window(w)) + torch.logspace(0, 1, w),
        lambda x: x + torch.vander(torch.arange(1.0, h + 1), w) + x.new_full((1, w), 2) + torch.zeros_like(x[:1]),
        lambda x: x + torch.cartesian_prod(torch.arange(h), torch.arange(w)).sum(1).view(h, w),
        lambda x: x * torch.ones(h, w, device=x.device).triu(1) + torch.as_tensor([1.0]).expand(w),
        lambda x: x.as_strided(x.shape, x.stride()) + torch.empty_strided((h, w), (w, 1)).zero_(),
    )
    return Apply(lambda m, x: way(x))
