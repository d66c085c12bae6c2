"""Shape rules for a training step: gradients of the usual layers, losses, and the updates of optimizers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.meta.contraction_rules import convolution
from archcalc.engine.meta.shape_rules import avg_pool2d, max_pool2d, new, normalised, reduction, rule
from archcalc.engine.meta.strides import plain, repeated

aten = torch.ops.aten


def _alike(*tensors: Tensor) -> bool:
    """Whether all are floating tensors without data of one shape and dtype."""
    first, *others = tensors
    if not (first.is_meta and first.is_floating_point()):
        return False
    dtype, shape = first.dtype, first.shape
    return all(t.is_meta and t.dtype is dtype and t.shape == shape for t in others)


def _wanted(of: Sequence[Tensor], mask: Sequence[bool]) -> tuple[Tensor | None, ...]:
    """A gradient of each tensor that is wanted, None for the others."""
    return tuple(new(tensor, tensor.shape) if wanted else None for tensor, wanted in zip(of, mask, strict=True))


# ---- optimizers ----------------------------------------------------------------------------------


@rule(aten.lerp_.Scalar)
def lerp_in_place(x: Tensor, end: Tensor, weight: Any) -> Any:
    """The first tensor; the second is of its shape."""
    return x if _alike(x, end) and isinstance(weight, float) else NotImplemented


@rule(aten.addcmul_.default, aten.addcdiv_.default)
def add_product_in_place(x: Tensor, a: Tensor, b: Tensor, *, value: Any = 1) -> Any:
    """The first tensor; the factors are of its shape."""
    return x if _alike(x, a, b) and isinstance(value, int | float) else NotImplemented


@rule(
    aten.sign_.default, aten.rsqrt_.default, aten.clamp_.default, aten.pow_.Scalar, aten.div_.Scalar, aten.mul_.Scalar,
    aten.bernoulli_.float,
)  # fmt: skip
def update_in_place(x: Tensor, *numbers: Any, generator: Any = None) -> Any:
    """The same tensor."""
    fits = all(value is None or isinstance(value, int | float) for value in numbers)
    return x if _alike(x) and fits and any(value is not None for value in numbers or (0,)) else NotImplemented


@rule(aten.linalg_vector_norm.default)
def vector_norm(
    x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Any:
    """The reduced dimensions become 1 or go; without any named, all go."""
    if dtype is not None or not isinstance(ord, int | float) or not ord > 0 or not x.is_floating_point():
        return NotImplemented
    if dim is None and not keepdim:
        return new(x, ()) if x.is_meta else NotImplemented
    return reduction(x, dim, keepdim) if dim else NotImplemented


@rule(aten.zeros_like.default, aten.ones_like.default, aten.empty_like.default)
def filled(
    x: Tensor,
    *,
    dtype: torch.dtype | None = None,
    layout: Any = None,
    device: Any = None,
    pin_memory: bool | None = None,
    memory_format: torch.memory_format | None = None,
) -> Any:
    """The same shape."""
    usual = memory_format in (None, torch.preserve_format, torch.contiguous_format) and layout in (None, torch.strided)
    there = device is None or torch.device(device).type == "meta"
    if not (usual and there) or pin_memory or not (x.is_meta and x.is_contiguous()):
        return NotImplemented
    return new(x, x.shape, dtype)


# ---- losses --------------------------------------------------------------------------------------


@rule(aten.sum.default, aten.mean.default)
def reduced_to_a_number(x: Tensor, *, dtype: torch.dtype | None = None) -> Any:
    """A tensor of no dimension."""
    return new(x, ()) if x.is_meta and x.is_floating_point() and dtype is None else NotImplemented


@rule(aten.div.Scalar)
def divided_by_a_number(x: Tensor, number: Any) -> Any:
    """The same shape."""
    simple = x.is_floating_point() and (plain(x) or repeated(x)) and isinstance(number, int | float)
    return new(x, x.shape) if simple else NotImplemented


# ---- gradients of elementwise layers, softmax and normalisation ----------------------------------


@rule(
    aten.threshold_backward.default, aten.gelu_backward.default, aten.silu_backward.default,
    aten.sigmoid_backward.default, aten.tanh_backward.default, aten.hardtanh_backward.default,
    aten.hardswish_backward.default, aten.hardsigmoid_backward.default,
)  # fmt: skip
def elementwise_backward(grad: Tensor, kept: Tensor, *settings: Any, **words: Any) -> Any:
    """The gradient's shape, which is that of what forward kept."""
    simple = _alike(grad, kept) and plain(grad, kept) and all(type(value) in (int, float) for value in settings)
    return new(grad, grad.shape) if simple else NotImplemented


@rule(aten._softmax_backward_data.default, aten._log_softmax_backward_data.default)
def softmax_backward(grad: Tensor, output: Tensor, dim: int, input_dtype: torch.dtype) -> Any:
    """The same shape."""
    simple = _alike(grad, output) and plain(grad, output) and input_dtype is grad.dtype
    return new(grad, grad.shape) if simple and -grad.dim() <= dim < grad.dim() else NotImplemented


@rule(aten.native_batch_norm_backward.default)
def batch_norm_backward(
    grad: Tensor,
    x: Tensor,
    weight: Any,
    mean: Any,
    var: Any,
    save_mean: Any,
    save_invstd: Any,
    train: bool,
    eps: float,
    output_mask: Sequence[bool],
) -> Any:
    """N, C, ... -> the same, and C gradients each of weight and bias.

    More parameters than eight: they are the op's own.
    """
    channels = x.shape[1] if x.dim() > 1 else 0
    of_channels = (weight, mean, var, save_mean, save_invstd)
    if not channels or not train or not _alike(grad, x) or not plain(grad, x, *of_channels):
        return NotImplemented
    if weight is None or save_mean is None or save_invstd is None or not output_mask[0]:
        return NotImplemented  # torch's kernel without data makes the first gradient, whether it is wanted or not
    return _wanted((x, weight, weight), output_mask) if normalised(x, (channels,), *of_channels) else NotImplemented


@rule(aten.native_layer_norm_backward.default)
def layer_norm_backward(
    grad: Tensor,
    x: Tensor,
    normalized_shape: Sequence[int],
    mean: Tensor,
    rstd: Tensor,
    weight: Any,
    bias: Any,
    output_mask: Sequence[bool],
) -> Any:
    """..., D -> the same, and D gradients each of weight and bias."""
    dims = tuple(normalized_shape)
    simple = dims and _alike(grad, x) and plain(grad, x, mean, rstd, weight, bias)
    if not simple or tuple(x.shape[-len(dims) :]) != dims or len(dims) == x.dim() or weight is None or bias is None:
        return NotImplemented
    rows = (*x.shape[: -len(dims)], *(1 for _ in dims))
    fits = normalised(x, rows, mean, rstd) and normalised(x, dims, weight, bias)
    return _wanted((x, weight, bias), output_mask) if fits else NotImplemented


# ---- gradients of convolutions, pooling and embeddings -------------------------------------------


@rule(aten.convolution_backward.default)
def convolution_backward(
    grad: Tensor, x: Tensor, weight: Tensor, bias_sizes: Sequence[int] | None, *settings: Any
) -> Any:
    """Gradients of the shapes of input, weight and bias; the settings are those of the convolution, and a mask."""
    *window, output_mask = settings
    forward = convolution(x, weight, None, *window)
    if forward is NotImplemented or not _alike(grad, forward) or not plain(grad) or x.dtype != weight.dtype:
        return NotImplemented
    if output_mask[2] and (bias_sizes is None or list(bias_sizes) != [weight.shape[0]]):
        return NotImplemented
    bias = new(weight, (weight.shape[0],)) if output_mask[2] else None
    return (*_wanted((x, weight), output_mask[:2]), bias)


@rule(aten.max_pool2d_with_indices_backward.default)
def max_pool2d_backward(
    grad: Tensor,
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
    indices: Tensor,
) -> Any:
    """N, C, H', W' -> N, C, H, W."""
    return _pooled_backward(grad, max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode), x, indices)


@rule(aten.avg_pool2d_backward.default)
def avg_pool2d_backward(
    grad: Tensor,
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Any:
    """N, C, H', W' -> N, C, H, W."""
    forward = avg_pool2d(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _pooled_backward(grad, forward, x)


def _pooled_backward(grad: Tensor, forward: Any, x: Tensor, indices: Tensor | None = None) -> Any:
    if forward is NotImplemented:
        return NotImplemented
    out = forward[0] if isinstance(forward, tuple) else forward
    fits = indices is None or (indices.is_meta and indices.shape == out.shape and indices.dtype is torch.int64)
    simple = fits and _alike(grad, out) and plain(grad, indices)
    return new(x, x.shape) if simple else NotImplemented


@rule(aten.embedding_dense_backward.default)
def embedding_backward(grad: Tensor, indices: Tensor, num_weights: int, padding_idx: int, by_frequency: bool) -> Any:
    """A gradient for each row of the embedding."""
    whole = indices.dtype in (torch.int64, torch.int32) and grad.shape[:-1] == indices.shape
    simple = whole and plain(grad, indices) and grad.is_floating_point() and num_weights > 0 and not by_frequency
    return new(grad, (num_weights, grad.shape[-1])) if simple and grad.dim() > 1 else NotImplemented
