"""Gradients of products, as autograd computes them where no factor is zero.

On real tensors it looks for zeros first. On tensors without data it cannot, and takes the way that also does with
zeros, which makes several times as many tensors. Here are the nodes for products without zeros, with torch's steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.devices.device import Kernel, Wrap
from archcalc.engine.torch_private import in_transforms


class _Product(torch.autograd.Function):
    """A product of all factors, or of those along a dimension."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, product: Callable[[], Tensor], dim: int | None, keepdim: bool) -> Tensor:
        out = product()
        ctx.save_for_backward(x, out)
        ctx.dim, ctx.unsqueezed = dim, dim is not None and not keepdim
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        factors, out = ctx.saved_tensors
        factors = factors.to(grad.dtype)
        if ctx.unsqueezed:
            grad, out = grad.unsqueeze(ctx.dim), out.unsqueeze(ctx.dim)
        zeros = factors == 0
        if ctx.dim is None:
            del zeros  # their places, of which there are none, are all that is kept
        else:
            counts = zeros.sum(ctx.dim, True)  # both live until the gradient is there
            counts.sum()
        return grad * (out / factors), None, None, None


class _Products(torch.autograd.Function):
    """All products of the first factors along a dimension."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, products: Callable[[], Tensor], dim: int) -> Tensor:
        out = products()
        ctx.save_for_backward(x, out)
        ctx.dim = dim
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        factors, out = ctx.saved_tensors
        factors = factors.to(grad.dtype)
        if factors.numel() <= 1 or factors.shape[ctx.dim] == 1:
            return grad, None, None
        weighted = out * grad
        zeros = factors == 0
        zeros.any()
        turned = weighted.flip(ctx.dim)
        sums = turned.cumsum(ctx.dim)
        turned, sums = sums.flip(ctx.dim), None
        return turned / factors, None, None


def _with_node(function: Any, *args: Any) -> Any:
    """The result of a function with a node of its own."""
    return function.apply(*args)


def _prod(torchs: Kernel) -> Kernel:
    def prod(x: Tensor, *, dtype: torch.dtype | None = None) -> Any:
        if not _differentiated(x, dtype):
            return torchs(x, dtype=dtype)
        return _with_node(_Product, x, lambda: torchs(x, dtype=dtype), None, False)

    return prod


def _prod_along(torchs: Kernel) -> Kernel:
    def prod(x: Tensor, dim: int, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
        if not _differentiated(x, dtype):
            return torchs(x, dim, keepdim, dtype=dtype)
        return _with_node(_Product, x, lambda: torchs(x, dim, keepdim, dtype=dtype), dim, keepdim)

    return prod


def _cumprod(torchs: Kernel) -> Kernel:
    def cumprod(x: Tensor, dim: int, *, dtype: torch.dtype | None = None) -> Any:
        if not _differentiated(x, dtype):
            return torchs(x, dim, dtype=dtype)
        return _with_node(_Products, x, lambda: torchs(x, dim, dtype=dtype), dim)

    return cumprod


def _differentiated(x: Tensor, dtype: torch.dtype | None) -> bool:
    """Whether a product of real numbers, and of more than one, gets a node of autograd."""
    real = x.is_floating_point() and (dtype is None or dtype.is_floating_point)
    return real and x.dim() > 0 and torch.is_grad_enabled() and x.requires_grad and not in_transforms()


NODES: dict[str, Wrap] = {"prod": _prod, "prod.dim_int": _prod_along, "cumprod": _cumprod}
"""By the names of ops: what runs in place of torch's kernel, which it is given."""
