"""The order in which a convolution's result lies: torch's kernel without data always gives the usual one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.torch_private import op_name

FORMS = {4: torch.channels_last, 5: torch.channels_last_3d}
"""Channels-last order by the number of dimensions."""


def channels_last(tensor: Any) -> bool:
    """Whether torch takes a tensor for one in channels-last order: its strides grow from the channels outwards.

    The rule of `suggest_memory_format`, c10/core/MemoryFormat.h: views with gaps count, and the usual order does where
    both are true.
    """
    if not isinstance(tensor, Tensor) or tensor.dim() not in FORMS or not tensor.stride(1) or not tensor.numel():
        return False
    least = 0
    for dim in (1, *range(tensor.dim() - 1, 1, -1), 0):
        stride, size = tensor.stride(dim), tensor.shape[dim]
        if stride < least or (dim == 0 and least == tensor.stride(1)):
            return False
        least = stride * size if size > 1 else stride
    return True


def in_order_of(x: Tensor, weight: Tensor, out: Tensor) -> Tensor:
    """The result in channels-last order if input or weight is, as oneDNN and cuDNN give it."""
    if not (channels_last(x) or channels_last(weight)):
        return out
    return torch.empty(out.shape, dtype=out.dtype, device="meta", memory_format=FORMS[out.dim()])


def on_gpu(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Any:
    """The result of an op as cuDNN orders it, if the op is a convolution."""
    return in_order_of(args[0], args[1], out) if op_name(func) == "convolution" else out
