"""Two ops of a library of our own, as torch.library registers them; the fakes give the shapes without data."""

import torch
from torch import Tensor


@torch.library.custom_op("pocketnet::grouped_linear", mutates_args=())
def grouped_linear(x: Tensor, weight: Tensor) -> Tensor:
    """N, G·I times G, O, I gives N, G·O: each group of channels has a matrix of its own."""
    groups, _, inputs = weight.shape
    return torch.einsum("ngi,goi->ngo", x.view(-1, groups, inputs), weight).flatten(1)


@grouped_linear.register_fake
def _(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty(x.shape[0], weight.shape[0] * weight.shape[1])


@torch.library.custom_op("pocketnet::squared_relu", mutates_args=())
def squared_relu(x: Tensor) -> Tensor:
    """The square of what is positive."""
    return x.relu().square()


@squared_relu.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)
