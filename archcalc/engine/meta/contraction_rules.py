"""Shape rules for contractions: convolutions and matrix products on tensors without data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.meta.shape_rules import broadcast, each, new, rule, whole_windows
from archcalc.engine.meta.strides import plain

aten = torch.ops.aten


@rule(aten.convolution.default)
def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Any:
    """N, C, H, W -> N, C', H', W' with H' = ⌊(H + 2p - d(k-1) - 1)/s⌋ + 1, in any number of dimensions.

    More parameters than eight: they are the op's own.
    """
    dims = x.dim() - 2
    if transposed or dims < 1 or x.dim() != weight.dim() or x.shape[1] != weight.shape[1] * groups:
        return NotImplemented
    s, p, d = (each(v, dims) for v in (stride, padding, dilation))
    if not plain(x, weight, bias) or not whole_windows(dims, positive=(stride, dilation), others=(padding,)):
        return NotImplemented
    sizes = [
        (h + 2 * p[i] - d[i] * (k - 1) - 1) // s[i] + 1
        for i, (h, k) in enumerate(zip(x.shape[2:], weight.shape[2:], strict=True))
    ]
    if min(sizes, default=1) < 1:
        return NotImplemented
    return new(x, (x.shape[0], weight.shape[0], *sizes))


@rule(aten.mm.default)
def mm(a: Tensor, b: Tensor) -> Any:
    """[n, m] @ [m, p] -> [n, p]."""
    if a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[0] or not (a.is_meta and b.is_meta):
        return NotImplemented
    return new(a, (a.shape[0], b.shape[1]))


@rule(aten.addmm.default)
def addmm(bias: Tensor, a: Tensor, b: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Any:
    """A bias + [n, m] @ [m, p] -> [n, p]."""
    out = mm(a, b)
    if out is NotImplemented or broadcast(bias.shape, out.shape) != tuple(out.shape):
        return NotImplemented
    return out


@rule(aten.bmm.default)
def bmm(a: Tensor, b: Tensor) -> Any:
    """[b, n, m] @ [b, m, p] -> [b, n, p]."""
    if a.dim() != 3 or b.dim() != 3 or not (a.is_meta and b.is_meta):
        return NotImplemented
    if a.shape[0] != b.shape[0] or a.shape[2] != b.shape[1]:
        return NotImplemented
    return new(a, (a.shape[0], a.shape[1], b.shape[2]))


@rule(aten._grouped_mm.default)
def grouped_mm(
    a: Tensor, b: Tensor, offs: Tensor | None = None, bias: Tensor | None = None, out_dtype: torch.dtype | None = None
) -> Any:
    """Experts: [n, m] @ [e, m, p] -> [n, p], [e, n, m] @ [m, p] -> [n, p], [n, m] @ [m, p] -> [e, n, p].

    Torch's meta kernel takes bfloat16 alone, its CPU kernel every floating type.
    """
    if not (a.is_meta and b.is_meta) or a.shape[-1] != b.shape[-2] or not min(a.dim(), b.dim()) >= 2:
        return NotImplemented
    if (offs is None) != ((a.dim(), b.dim()) == (3, 3)):
        return NotImplemented
    if (a.dim(), b.dim()) == (2, 2) and offs is not None:
        return new(a, (offs.shape[0], a.shape[0], b.shape[1]), out_dtype)
    if (a.dim(), b.dim()) == (3, 3):
        return new(a, (a.shape[0], a.shape[1], b.shape[2]), out_dtype) if a.shape[0] == b.shape[0] else NotImplemented
    return new(a, (a.shape[-2], b.shape[-1]), out_dtype)
