"""Scaled dot product attention by the kernels of CPUs and of NVIDIA GPUs, and which calls each of them can do."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from archcalc.engine.devices.device import Attention
from archcalc.engine.meta.shape_rules import HALF

"""Values of --attention: "auto" is the device's own choice."""
aten = torch.ops.aten


def efficient(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, **how: Any) -> Any:
    """The memory-efficient kernel, which any device takes."""
    trained = query.requires_grad or key.requires_grad or value.requires_grad
    return aten._scaled_dot_product_efficient_attention(query, key, value, mask, trained, dropout, **how)[0]


def _flash_on_cpu(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, **how: Any) -> Any:
    return aten._scaled_dot_product_flash_attention_for_cpu(query, key, value, dropout, **how, attn_mask=mask)[0]


def _flash_on_cuda(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, **how: Any) -> Any:
    causal, scale = how["is_causal"], how["scale"]
    return aten._scaled_dot_product_flash_attention(query, key, value, dropout, causal, False, scale=scale)[0]


def _fused_on_cpu(
    asked: str, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, shared: bool
) -> str:
    """The flash kernel has no dropout."""
    if _needs_math(query, key, value, mask):
        return "math"
    if asked == "efficient":
        return _fused_on_gpu(asked, query, key, mask, shared)
    return "math" if dropout else "flash"


def _fused_on_cuda(
    asked: str, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, shared: bool
) -> str:
    """The flash kernel takes half precision without a mask; the efficient one no keys that several heads share."""
    return "math" if _needs_math(query, key, value, mask) else _fused_on_gpu(asked, query, key, mask, shared)


def _fused_on_gpu(asked: str, query: Tensor, key: Tensor, mask: Tensor | None, shared: bool) -> str:
    half = query.dtype in HALF
    if asked == "flash" and half and mask is None:
        return "flash"
    return "math" if shared and query.shape[-3] != key.shape[-3] else "efficient"


def _needs_math(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> bool:
    """Calls that no fused kernel does: not N, h, n, d; values of another width; a mask that is trained."""
    masked = mask is not None and mask.requires_grad
    return any(t.dim() != 4 for t in (query, key, value)) or query.shape[-1] != value.shape[-1] or masked


CPU = Attention("flash", _fused_on_cpu, _flash_on_cpu)
CUDA = Attention("flash", _fused_on_cuda, _flash_on_cuda)
