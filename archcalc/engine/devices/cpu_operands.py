"""Copies that torch's CPU kernels make of their operands, and sums that they keep aside, by op.

An elementwise op casts operands of another dtype first (GPUs cast them one by one). Normalisations, softmax and pooling
read elements in the usual order only. Read off the allocator's events, each op by itself, with torch 2.13.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.devices import (
    cpu_attention,
    cpu_composites,
    cpu_indexing,
    cpu_reductions,
    cpu_resizing,
    cpu_transforms,
    processor,
)
from archcalc.engine.devices.convolution_layout import channels_last
from archcalc.engine.meta.shape_rules import HALF
from archcalc.engine.torch_private import op_name

FLOAT = 4
TRANSPOSED = 60
"""Rows and columns of the block by which a matrix is transposed into another."""
LARGE_MAP = 1024
"""Elements of a channel from which a group normalisation in channels-last order adds up in each thread."""
MEAN = 1
"""The reduction of a loss to its mean."""
Bytes = Callable[[Sequence[Any], Any], int]
"""Bytes from an op's arguments and its result."""

READ_IN_ORDER = {
    "_softmax": 1, "_log_softmax": 1, "_softmax_backward_data": 2, "_log_softmax_backward_data": 2,
    "embedding_dense_backward": 1,
}  # fmt: skip
"""By op: how many of its first operands are copied if they are not in the usual order."""
READ_AS_IMAGES = (
    "avg_pool2d", "avg_pool2d_backward", "max_pool2d_with_indices", "max_pool2d_with_indices_backward",
    "_adaptive_avg_pool2d", "_adaptive_avg_pool2d_backward", "avg_pool3d", "avg_pool3d_backward",
    "upsample_bilinear2d_backward", "upsample_nearest2d_backward", "upsample_bicubic2d_backward",
    "upsample_nearest3d_backward", "upsample_trilinear3d_backward", "_upsample_nearest_exact2d_backward",
    "_upsample_nearest_exact3d_backward", "max_pool3d_with_indices_backward", "adaptive_max_pool2d_backward",
    "adaptive_max_pool3d_backward", "_adaptive_avg_pool3d_backward", "reflection_pad1d_backward",
    "reflection_pad2d_backward", "reflection_pad3d_backward", "replication_pad1d_backward",
    "replication_pad2d_backward", "replication_pad3d_backward", "upsample_linear1d_backward",
    "upsample_nearest1d_backward", "_upsample_nearest_exact1d_backward", "_upsample_bilinear2d_aa_backward",
    "_upsample_bicubic2d_aa_backward", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle",
)  # fmt: skip
"""Ops whose first operand is copied unless it is in the usual order or in channels-last order."""


def scratch(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """Bytes of copies and sums inside a call."""
    name = op_name(func)
    if name in READ_IN_ORDER:
        return sum(_in_order(operand) for operand in args[: READ_IN_ORDER[name]])
    if name in READ_AS_IMAGES:
        return 0 if _is_image(args[0]) else int(args[0].nbytes)
    if name in BY_OP:
        return BY_OP[name](args, out)
    if name in cpu_composites.BY_OP:
        return cpu_composites.inside(name, args, out)
    return _cast(args, out) if torch.Tag.pointwise in func.tags and not name.startswith("masked") else 0


def _in_order(operand: Tensor) -> int:
    """Bytes of an operand's copy in the usual order; 0 if it is in that order."""
    return 0 if operand.is_contiguous() else operand.nbytes + _transposing(operand)


def _transposing(matrix: Tensor) -> int:
    """The block by which a large matrix is turned into its transpose."""
    turned = matrix.dim() == 2 and matrix.stride(0) == 1 and matrix.stride(1) == matrix.shape[0]
    large = matrix.numel() >= TRANSPOSED**2 and min(matrix.shape, default=0) > 1
    return TRANSPOSED**2 * matrix.element_size() if turned and large else 0


def _is_image(tensor: Tensor) -> bool:
    return tensor.is_contiguous() or channels_last(tensor)


def _cast(args: Sequence[Any], out: Any) -> int:
    """Operands in the dtype that the op computes in, and its result, if they have another."""
    operands = [value for value in args if isinstance(value, Tensor)]
    if len(operands) == 3 and operands[0].dtype is torch.bool:  # a choice between two
        operands = operands[1:]
    computed = _computed_in(operands, out)
    if computed is None:
        return 0
    width = computed.itemsize
    casts = sum(tensor.numel() * width for tensor in operands if tensor.dtype is not computed)
    written = out is operands[0] and out.dtype is not computed  # its own result, before it is written over
    return casts + (out.numel() * width if written else 0)


def _computed_in(operands: Sequence[Tensor], out: Any) -> torch.dtype | None:
    """The widest dtype of the operands, where those without dimensions count less; a float's for whole numbers."""
    if not operands or not isinstance(out, Tensor):
        return None
    widest = max(operands, key=lambda tensor: tensor.dim() > 0)
    computed = widest.dtype
    for tensor in operands:
        if tensor.dim() > 0 or not widest.dim():
            computed = torch.promote_types(computed, tensor.dtype)
    whole = not (computed.is_floating_point or computed.is_complex)
    return out.dtype if whole and out.is_floating_point() else computed


def _mean(args: Sequence[Any], out: Tensor) -> int:
    """Halves are added up as float32 numbers; the sum is divided by a number."""
    x = args[0]
    return int(FLOAT * (x.numel() + out.numel()) if x.dtype in HALF else 8 + x.element_size())


def _logsumexp(args: Sequence[Any], out: Tensor) -> int:
    """The exponentials, and the maxima that are taken from the arguments first."""
    return int(args[0].nbytes + out.nbytes)


def _magnitudes(args: Sequence[Any], out: Tensor) -> int:
    """The magnitudes, and infinity as a number."""
    x = args[0]
    return int(x.nbytes) + 8 + min(FLOAT, int(x.element_size()))


def _soft_margin_backward(args: Sequence[Any], out: Tensor) -> int:
    """The exponentials and another tensor of their size."""
    return int(2 * out.nbytes)


def _layer_norm(args: Sequence[Any], out: Any) -> int:
    """The input in the usual order, which is there before the result."""
    return 0 if args[0].is_contiguous() else int(args[0].nbytes)


def _layer_norm_backward(args: Sequence[Any], out: Sequence[Tensor | None]) -> int:
    """Sums of each thread for the gradients of weight and bias."""
    grad, x, shape = args[:3]
    sums = 2 * processor.threads() * prod(shape) * x.element_size() if out[1] is not None else 0
    return _in_order(grad) + _in_order(x) + sums


def _group_norm(args: Sequence[Any], out: Any) -> int:
    """A factor and a term for each channel of each sample, in channels-last order; of each thread for large maps.

    Large maps also need two sums for each group.
    """
    x, samples, channels, elements, groups = args[0], *args[3:7]
    if x.is_contiguous() or not channels_last(x):
        return 0
    if elements < LARGE_MAP:
        return int(2 * samples * channels * FLOAT)
    return int(2 * samples * (processor.threads() * channels + groups) * FLOAT)


def _group_norm_backward(args: Sequence[Any], out: Any) -> int:
    """Two sums for each channel of each sample, float32 ones for halves."""
    x = args[1]
    return int(2 * x.shape[0] * x.shape[1] * max(FLOAT, x.element_size()))


def _batch_norm(args: Sequence[Any], out: Any) -> int:
    """A factor and a term for each channel; in channels-last order two sums for each in each thread of training."""
    x = args[0]
    threads = processor.threads() if args[5] and channels_last(x) else 1
    return 2 * threads * int(x.shape[1]) * FLOAT


def _batch_norm_backward(args: Sequence[Any], out: Any) -> int:
    """One more tensor of the input's size if it and the gradient are in one order, else a sum for each channel."""
    grad, x = args[:2]
    together = (grad.is_contiguous() and x.is_contiguous()) or (channels_last(grad) and channels_last(x))
    return int(x.nbytes if together else x.shape[1] * FLOAT)


def _ctc_backward(args: Sequence[Any], out: Tensor) -> int:
    """The likelihoods of all ends, as many as forward kept of all beginnings."""
    return int(args[6].nbytes)


def _gelu_backward(args: Sequence[Any], out: Any) -> int:
    """The gradient, if it is in another order than the input."""
    grad, x = args[:2]
    return int(grad.nbytes) if grad.stride() != x.stride() else 0


def _sort(args: Sequence[Any], out: Any) -> int:
    """The places of one row."""
    dims = [value for value in args[1:] if isinstance(value, int) and not isinstance(value, bool)]
    values = out[0]
    return 8 * int(values.shape[dims[0] if dims else -1]) if values.dim() else 0


def _of_all(args: Sequence[Any], out: Tensor) -> int:
    """The mean of all numbers, which is divided by their count, where a variance is of all of them."""
    of_all = len(args) < 2 or not args[1]
    return 8 + 2 * out.element_size() if of_all and args[0].dtype is torch.float32 else 0


def _unfolded(args: Sequence[Any], out: Tensor) -> int:
    """A copy of the argument."""
    return int(args[0].nbytes)


def _cat(args: Sequence[Any], out: Tensor) -> int:
    """The largest part of another dtype than the result's."""
    return max((part.nbytes for part in args[0] if part.dtype is not out.dtype), default=0)


def reduction_of(args: Sequence[Any]) -> int:
    """The reduction of a loss: 0 for none, 1 for the mean, which is the default, 2 for the sum."""
    return next((value for value in args[2:] if isinstance(value, int)), MEAN)


def _reduced_loss(args: Sequence[Any], out: Tensor) -> int:
    """The losses of all elements; their mean is divided by a number."""
    reduction = reduction_of(args)
    return int(args[0].nbytes) + (8 + out.element_size()) * (reduction == MEAN) if reduction else 0


def _loss_in_place(args: Sequence[Any], out: Tensor) -> int:
    """The mean beside the losses, which the result holds, and the number that it is divided by."""
    if reduction_of(args) != MEAN:
        return 0
    return FLOAT * (args[0].numel() + 1) + 2 if out.dtype in HALF else 8 + 2 * out.element_size()


def _roll(args: Sequence[Any], out: Tensor) -> int:
    """The result of each dimension but the last."""
    return out.nbytes if len(args) > 2 and len(args[2]) > 1 else 0


def _safe_softmax(args: Sequence[Any], out: Tensor) -> int:
    """Which elements are minus infinity, which rows are so altogether, and a zero."""
    rows = out.numel() // max(1, out.shape[args[1]]) if out.dim() else 1
    return out.numel() + rows + out.element_size()


def _clone(args: Sequence[Any], out: Tensor) -> int:
    """The block by which a matrix is transposed."""
    return _transposing(args[-1] if isinstance(args[-1], Tensor) else args[0]) if out.is_contiguous() else 0


BY_OP: dict[str, Bytes] = {
    **cpu_reductions.BY_OP,
    **cpu_attention.BY_OP,
    **cpu_indexing.BY_OP,
    **cpu_transforms.BY_OP,
    **cpu_resizing.BY_OP,
    "mean": _mean,
    "logsumexp": _logsumexp,
    "native_layer_norm": _layer_norm,
    "native_layer_norm_backward": _layer_norm_backward,
    "native_group_norm": _group_norm,
    "native_group_norm_backward": _group_norm_backward,
    "native_batch_norm": _batch_norm,
    "_batch_norm_with_update": _batch_norm,
    "cat": _cat,
    "native_batch_norm_backward": _batch_norm_backward,
    "batch_norm_backward": _batch_norm_backward,
    "_ctc_loss_backward": _ctc_backward,
    "gelu_backward": _gelu_backward,
    "isinf": _magnitudes,
    "soft_margin_loss_backward": _soft_margin_backward,
    "binary_cross_entropy": _loss_in_place,
    "soft_margin_loss": _loss_in_place,
    "sort": _sort,
    "var": _of_all,
    "std": _of_all,
    "im2col": _unfolded,
    "mse_loss": _reduced_loss,
    "smooth_l1_loss": _reduced_loss,
    "huber_loss": _reduced_loss,
    "roll": _roll,
    "_safe_softmax": _safe_softmax,
    "clone": _clone,
    "copy_": _clone,
}
"""By op: the bytes inside."""
