"""Ops that a device computes by a kernel of its own, and that torch without data computes by smaller ops.

Of the ops that torch composes of others, these have a kernel as well, and none for tensors without data.
tests/test_own_kernels.py reads the list from the installed torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.meta.shape_rules import HALF, new


def mish_backward(grad_output: Tensor, self: Tensor) -> Tensor:
    """The gradient of Mish: one tensor of the input's shape."""
    return torch.empty_like(self)


def native_channel_shuffle(self: Tensor, groups: int) -> Tensor:
    """N, C, ... -> the same, with the channels of each group dealt out."""
    return torch.empty_like(self)


def fused_rms_norm(input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, eps: float | None) -> Any:
    """..., D -> the same, and one number a row, in float32 for halves."""
    rows = (*input.shape[: -len(normalized_shape)], *(1 for _ in normalized_shape))
    half = input.dtype in HALF
    return new(input, input.shape), new(input, rows, torch.float32 if half else input.dtype)


ON_CPU: dict[str, Callable[..., Any]] = {
    "mish_backward": mish_backward,
    "native_channel_shuffle": native_channel_shuffle,
}
ON_CUDA: dict[str, Callable[..., Any]] = {"mish_backward": mish_backward, "_fused_rms_norm": fused_rms_norm}
