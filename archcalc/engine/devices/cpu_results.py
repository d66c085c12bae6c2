"""Results in which torch's CPU kernels differ from its kernels without data; the latter return what CUDA's do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.devices import cpu_convolutions
from archcalc.engine.devices.convolution_layout import channels_last, in_order_of
from archcalc.engine.devices.cpu_operands import reduction_of
from archcalc.engine.torch_private import op_name

NORMS = (
    "native_layer_norm", "native_group_norm", "native_batch_norm", "_native_batch_norm_legit",
    "_batch_norm_with_update", "_batch_norm_no_update",
)  # fmt: skip


FAST = (torch.float32, torch.float16, torch.bfloat16)


def of_cpu(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Any:
    """The result of an op as CPU kernels give it."""
    change = CHANGES.get(op_name(func))
    return out if change is None else change(func, args, out)


def _normalisation(func: Any, args: Sequence[Any], out: Any) -> Any:
    """The statistics of a normalisation have the dtype of its parameters, without any that of its input.

    CUDA's are float32 for halves. A batch norm saves none in evaluation, also if it has no running ones.
    """
    parameters = [value for value in args[1:5] if isinstance(value, Tensor)]
    dtype = (parameters or args)[0].dtype
    training = next((value for value in args[1:] if isinstance(value, bool)), True)
    first, *statistics = out
    return first, *(_as_on_cpu(tensor, dtype, unsaved=not training) for tensor in statistics)


def _embedding_bag(func: Any, args: Sequence[Any], out: Any) -> Any:
    """The three tables that an embedding bag saves: the bag of each index, the size of each bag, places of maxima.

    Sums over a dense table without padding take a kernel that needs no bag of each index.
    """
    weight, indices, offsets = args[:3]
    mode = args[4] if len(args) > 4 else 0
    padded = len(args) > 8 and args[8] >= 0
    ends = len(args) > 7 and args[7] and not (op_name(func) == "_embedding_bag_forward_only" and mode == 0)
    bags = offsets.shape[0] - bool(ends)
    fast = mode == 0 and not padded and weight.dtype in FAST and weight.stride(1) == 1
    of_indices = _part(out[1], indices.shape[0] + 1, indices.shape[0]) if not fast else _part(out[1], 0, 0)
    maxima = out[3] if mode == 2 else _part(out[3], bags, bags)
    return out[0], of_indices, _part(out[2], offsets.shape[0], bags), maxima


def _convolution(func: Any, args: Sequence[Any], out: Tensor) -> Tensor:
    """OneDNN keeps channels-last order; torch's own kernels do not."""
    if not (channels_last(args[0]) or channels_last(args[1])):
        return out
    call = cpu_convolutions.call_of(args[0], args[1], args[3:])
    return in_order_of(args[0], args[1], out) if cpu_convolutions.by_onednn(call) else out


def _in_order(func: Any, args: Sequence[Any], out: Any) -> Any:
    """Ops that keep channels-last order on a CPU, and lose it without data."""
    if isinstance(out, Tensor):
        return in_order_of(args[0], args[0], out)
    first, *others = out
    return in_order_of(args[0], args[0], first), *others


def _normalised_groups(func: Any, args: Sequence[Any], out: Any) -> Any:
    """Order and dtypes of a group normalisation."""
    return _normalisation(func, args, _in_order(func, args, out))


def _reduced_loss(func: Any, args: Sequence[Any], out: Tensor) -> Tensor:
    """A mean or a sum over losses, whose storage held the loss of each element and stays as large."""
    if not reduction_of(args):
        return out
    return torch.empty(args[0].shape, dtype=out.dtype, device="meta").as_strided((), ())


def _part(like: Tensor, held: int, used: int) -> Tensor:
    """A vector whose storage holds more elements than it shows: the kernel made it so and shortened it."""
    return torch.empty(held, dtype=like.dtype, device="meta")[:used]


Change = Callable[[Any, Sequence[Any], Any], Any]
CHANGES: dict[str, Change] = {
    **dict.fromkeys(NORMS, _normalisation),
    "convolution": _convolution,
    "native_group_norm": _normalised_groups,
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle", "reflection_pad2d", "channel_shuffle", "roll"), _in_order),
    "_embedding_bag": _embedding_bag,
    "_embedding_bag_forward_only": _embedding_bag,
    **dict.fromkeys(("mse_loss", "smooth_l1_loss", "binary_cross_entropy", "soft_margin_loss"), _reduced_loss),
}
"""By the names of ops: from the op, its arguments and its result without data to the result on a CPU."""


def _as_on_cpu(tensor: Tensor, dtype: torch.dtype, unsaved: bool) -> Tensor:
    if tensor.dtype is torch.uint8 or (tensor.dtype is dtype and not unsaved) or not tensor.is_meta:
        return tensor
    return torch.empty(0 if unsaved else tensor.shape, dtype=dtype, device="meta")
