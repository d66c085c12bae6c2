"""An invalid call must not pass: what a real kernel refuses by shapes and dtypes, archcalc refuses too.

Every case runs twice: on CPU, where torch must refuse it, and without data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import archcalc
from archcalc.errors import ArchcalcError

Spec = tuple[int, ...] | tuple[str, tuple[int, ...]]
f64, f16, bf16, i64, i32, b8 = "float64", "float16", "bfloat16", "int64", "int32", "bool"


def tensor(spec: Any) -> Tensor:
    """Zeros of a shape, float32 unless the dtype stands before it."""
    dtype, shape = spec if spec and isinstance(spec[0], str) else ("float32", spec)
    return torch.zeros(shape, dtype=getattr(torch, dtype))


CASES: dict[str, tuple[Callable[..., Any], Sequence[Any]]] = {
    # convolutions
    "conv1d channels": (F.conv1d, [(1, 3, 8), (4, 5, 3)]),
    "conv2d channels": (F.conv2d, [(1, 3, 8, 8), (4, 5, 3, 3)]),
    "conv3d channels": (F.conv3d, [(1, 3, 8, 8, 8), (4, 5, 3, 3, 3)]),
    "conv2d dtype": (F.conv2d, [(1, 3, 8, 8), (f64, (4, 3, 3, 3))]),
    "conv2d bias size": (F.conv2d, [(1, 3, 8, 8), (4, 3, 3, 3), (5,)]),
    "conv2d bias dtype": (F.conv2d, [(1, 3, 8, 8), (4, 3, 3, 3), (f64, (4,))]),
    "conv2d groups": (lambda x, w: F.conv2d(x, w, groups=3), [(1, 6, 8, 8), (4, 2, 3, 3)]),
    "conv2d groups channels": (lambda x, w: F.conv2d(x, w, groups=2), [(1, 5, 8, 8), (4, 2, 3, 3)]),
    "conv2d zero groups": (lambda x, w: F.conv2d(x, w, groups=0), [(1, 3, 8, 8), (4, 3, 3, 3)]),
    "conv2d kernel larger than image": (F.conv2d, [(1, 3, 2, 2), (4, 3, 3, 3)]),
    "conv2d rank": (F.conv2d, [(3, 8), (4, 3, 3, 3)]),
    "conv2d weight rank": (F.conv2d, [(1, 3, 8, 8), (4, 3, 3)]),
    "conv2d stride 0": (lambda x, w: F.conv2d(x, w, stride=0), [(1, 3, 8, 8), (4, 3, 3, 3)]),
    "conv2d dilation 0": (lambda x, w: F.conv2d(x, w, dilation=0), [(1, 3, 8, 8), (4, 3, 3, 3)]),
    "conv2d negative padding": (lambda x, w: F.conv2d(x, w, padding=-1), [(1, 3, 8, 8), (4, 3, 3, 3)]),
    "conv2d integers": (F.conv2d, [(i64, (1, 3, 8, 8)), (4, 3, 3, 3)]),
    "conv_transpose1d channels": (F.conv_transpose1d, [(1, 3, 8), (4, 5, 3)]),
    "conv_transpose2d channels": (F.conv_transpose2d, [(1, 3, 8, 8), (4, 5, 3, 3)]),
    "conv_transpose2d bias": (F.conv_transpose2d, [(1, 3, 8, 8), (3, 5, 3, 3), (4,)]),
    "conv_transpose2d dtype": (F.conv_transpose2d, [(1, 3, 8, 8), (f64, (3, 5, 3, 3))]),
    "conv_transpose2d groups": (lambda x, w: F.conv_transpose2d(x, w, groups=2), [(1, 3, 8, 8), (3, 5, 3, 3)]),
    "conv_transpose2d output padding": (
        lambda x, w: F.conv_transpose2d(x, w, output_padding=2),
        [(1, 3, 8, 8), (3, 5, 3, 3)],
    ),
    "conv_transpose3d channels": (F.conv_transpose3d, [(1, 3, 4, 4, 4), (4, 5, 3, 3, 3)]),
    # matrix products
    "linear features": (F.linear, [(2, 3), (4, 5)]),
    "linear dtype": (F.linear, [(2, 3), (f64, (4, 3))]),
    "linear bias": (F.linear, [(2, 3), (4, 3), (5,)]),
    "linear bias dtype": (F.linear, [(2, 3), (4, 3), (f64, (4,))]),
    "linear integers": (F.linear, [(i64, (2, 3)), (4, 3)]),
    "linear 3d dtype": (F.linear, [(2, 7, 3), (f16, (4, 3))]),
    "mm sizes": (torch.mm, [(2, 3), (4, 5)]),
    "mm rank": (torch.mm, [(2, 3), (3,)]),
    "mm dtype": (torch.mm, [(2, 3), (f64, (3, 5))]),
    "mm bool": (torch.mm, [(b8, (2, 3)), (b8, (3, 5))]),
    "matmul sizes": (torch.matmul, [(2, 3), (4, 5)]),
    "matmul batch": (torch.matmul, [(2, 3, 4), (3, 4, 5)]),
    "matmul dtype": (torch.matmul, [(2, 3, 4), (f64, (2, 4, 5))]),
    "matmul vector": (torch.matmul, [(3,), (4,)]),
    "mv sizes": (torch.mv, [(2, 3), (4,)]),
    "mv dtype": (torch.mv, [(2, 3), (f64, (3,))]),
    "dot sizes": (torch.dot, [(3,), (4,)]),
    "dot dtype": (torch.dot, [(3,), (f64, (3,))]),
    "bmm batch": (torch.bmm, [(2, 3, 4), (3, 4, 5)]),
    "bmm inner": (torch.bmm, [(2, 3, 4), (2, 5, 6)]),
    "bmm dtype": (torch.bmm, [(2, 3, 4), (f64, (2, 4, 5))]),
    "addmm bias": (torch.addmm, [(5,), (2, 3), (3, 4)]),
    "addmm dtype": (torch.addmm, [(f64, (4,)), (2, 3), (3, 4)]),
    "baddbmm bias": (torch.baddbmm, [(2, 3, 6), (2, 3, 4), (2, 4, 5)]),
    "baddbmm inner": (torch.baddbmm, [(2, 3, 5), (2, 3, 4), (2, 6, 5)]),
    "baddbmm dtype": (torch.baddbmm, [(2, 3, 5), (2, 3, 4), (f64, (2, 4, 5))]),
    "baddbmm input dtype": (torch.baddbmm, [(f64, (2, 3, 5)), (2, 3, 4), (2, 4, 5)]),
    "addbmm inner": (torch.addbmm, [(3, 5), (2, 3, 4), (2, 6, 5)]),
    "addmv sizes": (torch.addmv, [(2,), (2, 3), (4,)]),
    "addr sizes": (torch.addr, [(2, 4), (2,), (3,)]),
    "einsum sizes": (lambda a, b: torch.einsum("ij,jk->ik", a, b), [(2, 3), (4, 5)]),
    "einsum dtype": (lambda a, b: torch.einsum("ij,jk->ik", a, b), [(2, 3), (f64, (3, 5))]),
    "einsum rank": (lambda a, b: torch.einsum("ij,jk->ik", a, b), [(2, 3), (3,)]),
    "bilinear sizes": (F.bilinear, [(2, 3), (2, 4), (5, 3, 6)]),
    "bilinear dtype": (F.bilinear, [(2, 3), (2, 4), (f64, (5, 3, 4))]),
    "cdist columns": (torch.cdist, [(2, 3), (4, 5)]),
    "attention width": (F.scaled_dot_product_attention, [(1, 2, 3, 4), (1, 2, 3, 5), (1, 2, 3, 4)]),
    "attention heads": (F.scaled_dot_product_attention, [(1, 2, 3, 4), (1, 3, 3, 4), (1, 3, 3, 4)]),
    "attention dtype": (F.scaled_dot_product_attention, [(1, 2, 3, 4), (f64, (1, 2, 3, 4)), (f64, (1, 2, 3, 4))]),
    "attention mask": (F.scaled_dot_product_attention, [(1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), (7, 3)]),
    # norms
    "batch_norm mean": (F.batch_norm, [(2, 3, 4), (4,), (3,)]),
    "batch_norm var": (F.batch_norm, [(2, 3, 4), (3,), (4,)]),
    "batch_norm weight": (lambda x, m, w: F.batch_norm(x, m, m, w), [(2, 3, 4), (3,), (4,)]),
    "batch_norm bias": (lambda x, m, b: F.batch_norm(x, m, m, m, b), [(2, 3, 4), (3,), (4,)]),
    "batch_norm dtype": (lambda x, m: F.batch_norm(x, m, m), [(2, 3, 4), (f64, (3,))]),
    "batch_norm integers": (lambda x, m: F.batch_norm(x, m, m), [(i64, (2, 3, 4)), (3,)]),
    "layer_norm shape": (lambda x: F.layer_norm(x, (5,)), [(2, 3, 4)]),
    "layer_norm weight": (lambda x, w: F.layer_norm(x, (4,), w), [(2, 3, 4), (5,)]),
    "layer_norm bias": (lambda x, w, b: F.layer_norm(x, (4,), w, b), [(2, 3, 4), (4,), (5,)]),
    "layer_norm dtype": (lambda x, w: F.layer_norm(x, (4,), w), [(2, 3, 4), (f64, (4,))]),
    "layer_norm integers": (lambda x: F.layer_norm(x, (4,)), [(i64, (2, 3, 4))]),
    "rms_norm shape": (lambda x: F.rms_norm(x, (5,)), [(2, 3, 4)]),
    "group_norm groups": (lambda x: F.group_norm(x, 4), [(2, 6, 4)]),
    "group_norm weight": (lambda x, w: F.group_norm(x, 3, w), [(2, 6, 4), (5,)]),
    "group_norm dtype": (lambda x, w: F.group_norm(x, 3, w), [(2, 6, 4), (f64, (6,))]),
    "group_norm integers": (lambda x: F.group_norm(x, 3), [(i64, (2, 6, 4))]),
    "instance_norm weight": (lambda x, w: F.instance_norm(x, weight=w), [(2, 6, 4), (5,)]),
    # pooling
    "max_pool2d window": (lambda x: F.max_pool2d(x, 5), [(1, 3, 4, 4)]),
    "max_pool2d padding": (lambda x: F.max_pool2d(x, 3, padding=2), [(1, 3, 9, 9)]),
    "max_pool2d rank": (lambda x: F.max_pool2d(x, 2), [(4, 4)]),
    "max_pool2d stride 0": (lambda x: F.max_pool2d(x, 2, stride=0), [(1, 3, 4, 4)]),
    "max_pool1d window": (lambda x: F.max_pool1d(x, 5), [(1, 3, 4)]),
    "max_pool3d window": (lambda x: F.max_pool3d(x, 5), [(1, 3, 4, 4, 4)]),
    "avg_pool1d window": (lambda x: F.avg_pool1d(x, 5), [(1, 3, 4)]),
    "avg_pool2d window": (lambda x: F.avg_pool2d(x, 5), [(1, 3, 4, 4)]),
    "avg_pool2d padding": (lambda x: F.avg_pool2d(x, 3, padding=2), [(1, 3, 9, 9)]),
    "avg_pool2d divisor": (lambda x: F.avg_pool2d(x, 2, divisor_override=0), [(1, 3, 4, 4)]),
    "avg_pool2d integers": (lambda x: F.avg_pool2d(x, 2), [(i32, (1, 3, 4, 4))]),
    "avg_pool3d window": (lambda x: F.avg_pool3d(x, 5), [(1, 3, 4, 4, 4)]),
    "adaptive_avg_pool2d negative": (lambda x: F.adaptive_avg_pool2d(x, (-1, 2)), [(1, 3, 4, 4)]),
    "adaptive_avg_pool2d rank": (lambda x: F.adaptive_avg_pool2d(x, 2), [(4, 4)]),
    "adaptive_max_pool2d rank": (lambda x: F.adaptive_max_pool2d(x, 2), [(4, 4)]),
    "max_unpool2d shape": (lambda x, i: F.max_unpool2d(x, i, 2), [(1, 3, 4, 4), (i64, (1, 3, 4, 5))]),
    # elementwise
    "add sizes": (torch.add, [(2, 3), (2, 4)]),
    "mul sizes": (torch.mul, [(2, 3), (3, 2)]),
    "where sizes": (torch.where, [(b8, (2, 3)), (2, 4), (2, 3)]),
    "where condition": (torch.where, [(2, 3), (2, 3), (2, 3)]),
    "masked_fill mask": (lambda x, m: x.masked_fill(m, 0.0), [(2, 3), (b8, (2, 4))]),
    "masked_fill dtype": (lambda x, m: x.masked_fill(m, 0.0), [(2, 3), (2, 3)]),
    "add_ grows": (lambda x, y: x.clone().add_(y), [(3,), (2, 3)]),
    "add_ dtype": (lambda x, y: x.clone().add_(y), [(i64, (3,)), (3,)]),
    "mul_ dtype": (lambda x, y: x.clone().mul_(y), [(i64, (3,)), (3,)]),
    "div_ integers": (lambda x, y: x.clone().div_(y), [(i64, (3,)), (i64, (3,))]),
    "copy_ sizes": (lambda x, y: x.clone().copy_(y), [(2, 3), (2, 4)]),
    "sub bool": (torch.sub, [(b8, (2,)), (b8, (2,))]),
    "neg bool": (torch.neg, [(b8, (2,))]),
    "bitwise_and floats": (torch.bitwise_and, [(2,), (2,)]),
    "glu odd": (F.glu, [(2, 5)]),
    "glu integers": (F.glu, [(i64, (2, 4))]),
    "gelu integers": (F.gelu, [(i64, (2,))]),
    "silu integers": (F.silu, [(i64, (2,))]),
    "prelu channels": (F.prelu, [(2, 3, 4), (5,)]),
    "prelu dtype": (F.prelu, [(2, 3, 4), (f64, (3,))]),
    "dropout probability": (lambda x: F.dropout(x, 1.5, training=True), [(2,)]),
    "clamp sizes": (torch.clamp, [(2, 3), (2, 4)]),
    "lerp dtype": (lambda a, b: torch.lerp(a, b, 0.5), [(2,), (f64, (2,))]),
    "addcmul sizes": (torch.addcmul, [(2, 3), (2, 4), (2, 3)]),
    # softmax and reductions
    "softmax dim": (lambda x: F.softmax(x, 3), [(2, 3)]),
    "softmax integers": (lambda x: F.softmax(x, 1), [(i64, (2, 3))]),
    "log_softmax dim": (lambda x: F.log_softmax(x, -4), [(2, 3)]),
    "log_softmax integers": (lambda x: F.log_softmax(x, 1), [(i64, (2, 3))]),
    "sum dim": (lambda x: x.sum(4), [(2, 3)]),
    "sum dims twice": (lambda x: x.sum((0, 0)), [(2, 3)]),
    "mean dim": (lambda x: x.mean(4), [(2, 3)]),
    "mean integers": (lambda x: x.mean(), [(i64, (2, 3))]),
    "mean dim integers": (lambda x: x.mean(1), [(i64, (2, 3))]),
    "max dim": (lambda x: x.max(4), [(2, 3)]),
    "argmax dim": (lambda x: x.argmax(4), [(2, 3)]),
    "var integers": (lambda x: x.var(), [(i64, (2, 3))]),
    "cumsum dim": (lambda x: x.cumsum(4), [(2, 3)]),
    "cumprod dim": (lambda x: x.cumprod(4), [(2, 3)]),
    "logsumexp dim": (lambda x: x.logsumexp(4), [(2, 3)]),
    "topk k": (lambda x: x.topk(4), [(2, 3)]),
    "topk dim": (lambda x: x.topk(1, dim=5), [(2, 3)]),
    "sort dim": (lambda x: x.sort(4), [(2, 3)]),
    "norm dim": (lambda x: torch.linalg.vector_norm(x, dim=4), [(2, 3)]),
    "norm integers": (torch.linalg.vector_norm, [(i64, (2, 3))]),
    # movement
    "view size": (lambda x: x.view(4, 2), [(2, 3)]),
    "view strides": (lambda x: x.t().view(6), [(2, 3)]),
    "reshape size": (lambda x: x.reshape(-1, 4), [(2, 3)]),
    "cat sizes": (lambda a, b: torch.cat([a, b]), [(2, 3), (2, 4)]),
    "cat rank": (lambda a, b: torch.cat([a, b]), [(2, 3), (2, 3, 4)]),
    "cat dim": (lambda a, b: torch.cat([a, b], 3), [(2, 3), (2, 3)]),
    "stack sizes": (lambda a, b: torch.stack([a, b]), [(2, 3), (2, 4)]),
    "split sizes": (lambda x: x.split([1, 3], 1), [(2, 3)]),
    "split dim": (lambda x: x.split(1, 4), [(2, 3)]),
    "chunk zero": (lambda x: x.chunk(0), [(2, 3)]),
    "permute rank": (lambda x: x.permute(0, 1, 2), [(2, 3)]),
    "permute twice": (lambda x: x.permute(0, 0), [(2, 3)]),
    "transpose dim": (lambda x: x.transpose(0, 3), [(2, 3)]),
    "t rank": (lambda x: x.t(), [(2, 3, 4)]),
    "expand size": (lambda x: x.expand(2, 4), [(2, 3)]),
    "expand rank": (lambda x: x.expand(3), [(2, 3)]),
    "squeeze dim": (lambda x: x.squeeze(4), [(2, 3)]),
    "unsqueeze dim": (lambda x: x.unsqueeze(4), [(2, 3)]),
    "select index": (lambda x: x[:, 5], [(2, 3)]),
    "select dim": (lambda x: x.select(4, 0), [(2, 3)]),
    "narrow": (lambda x: x.narrow(1, 2, 2), [(2, 3)]),
    "slice step": (lambda x: torch.ops.aten.slice(x, 0, 0, 2, 0), [(2, 3)]),
    "index too many": (lambda x: x[0, 0, 0], [(2, 3)]),
    "index floats": (lambda x, i: x[i], [(2, 3), (2,)]),
    "index sizes": (lambda x, i, j: x[i, j], [(4, 4), (i64, (2,)), (i64, (3,))]),
    "index mask size": (lambda x, m: torch.where(m, x, x), [(2, 3), (b8, (2, 4))]),
    "index_select dtype": (lambda x, i: x.index_select(0, i), [(2, 3), (2,)]),
    "index_select rank": (lambda x, i: x.index_select(0, i), [(2, 3), (i64, (2, 2))]),
    "gather rank": (lambda x, i: x.gather(1, i), [(2, 3), (i64, (2,))]),
    "gather dtype": (lambda x, i: x.gather(1, i), [(2, 3), (2, 3)]),
    "gather sizes": (lambda x, i: x.gather(1, i), [(2, 3), (i64, (4, 3))]),
    "scatter dtype": (lambda x, i: x.scatter(1, i, x), [(2, 3), (2, 3)]),
    "scatter source dtype": (lambda x, i, s: x.scatter(1, i, s), [(2, 3), (i64, (2, 3)), (f64, (2, 3))]),
    "scatter_add sizes": (lambda x, i, s: x.scatter_add(1, i, s), [(2, 3), (i64, (2, 3)), (2, 2)]),
    "embedding floats": (F.embedding, [(2, 3), (7, 4)]),
    "embedding weight rank": (F.embedding, [(i64, (2, 3)), (7,)]),
    "embedding_bag floats": (F.embedding_bag, [(2, 3), (7, 4)]),
    "one_hot floats": (lambda x: F.one_hot(x, 5), [(2,)]),
    "pad reflect": (lambda x: F.pad(x, (4, 4), mode="reflect"), [(1, 3, 4)]),
    "pad reflect rank": (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), [(3, 4)]),
    "pad pairs": (lambda x: F.pad(x, (1,)), [(2, 3)]),
    "pad too many": (lambda x: F.pad(x, (1, 1, 1, 1, 1, 1)), [(2, 3)]),
    "pad negative": (lambda x: F.pad(x, (-2, -2)), [(2, 3)]),
    "pixel_shuffle": (lambda x: F.pixel_shuffle(x, 2), [(1, 6, 4, 4)]),
    "pixel_unshuffle": (lambda x: F.pixel_unshuffle(x, 3), [(1, 6, 4, 4)]),
    "unfold": (lambda x: x.unfold(1, 4, 1), [(2, 3)]),
    "im2col": (lambda x: F.unfold(x, 5), [(1, 3, 4, 4)]),
    "fold": (lambda x: F.fold(x, (4, 4), 2), [(1, 12, 5)]),
    "flip dim": (lambda x: x.flip(4), [(2, 3)]),
    "roll dim": (lambda x: x.roll(1, 4), [(2, 3)]),
    "repeat rank": (lambda x: x.repeat(2), [(2, 3)]),
    "tile negative": (lambda x: x.repeat(-1, 2), [(2, 3)]),
    "interpolate rank": (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), [(1, 3, 4)]),
    "interpolate size": (lambda x: F.interpolate(x, size=(0, 0), mode="nearest"), [(1, 3, 4, 4)]),
    "interpolate integers": (lambda x: F.interpolate(x, size=(8, 8), mode="bilinear"), [(i64, (1, 3, 4, 4))]),
    "grid_sample batch": (lambda x, g: F.grid_sample(x, g, align_corners=False), [(1, 3, 4, 4), (2, 4, 4, 2)]),
    "grid_sample last": (lambda x, g: F.grid_sample(x, g, align_corners=False), [(1, 3, 4, 4), (1, 4, 4, 3)]),
    "grid_sample dtype": (lambda x, g: F.grid_sample(x, g, align_corners=False), [(1, 3, 4, 4), (f64, (1, 4, 4, 2))]),
    "tril rank": (torch.tril, [(3,)]),
    "diag_embed": (lambda x: torch.diagonal(x, 0, 0, 0), [(2, 3)]),
    "view_as_complex": (torch.view_as_complex, [(2, 3)]),
    "fft integers": (lambda x: torch.fft.rfft(x, dim=4), [(2, 8)]),
    # losses
    "cross_entropy classes": (F.cross_entropy, [(2, 3, 4), (i64, (2, 5))]),
    "cross_entropy batch": (F.cross_entropy, [(2, 3), (i64, (4,))]),
    "cross_entropy dtype": (F.cross_entropy, [(2, 3), (i32, (2,))]),
    "cross_entropy weight": (F.cross_entropy, [(2, 3), (i64, (2,)), (4,)]),
    "binary_cross_entropy": (F.binary_cross_entropy, [(2, 3), (2, 4)]),
    "smooth_l1 sizes": (F.smooth_l1_loss, [(2, 3), (2, 4)]),
    # modules
    "LSTM width": (nn.LSTM(4, 6), [(3, 2, 5)]),
    "LSTM rank": (nn.LSTM(4, 6), [(3,)]),
    "LSTM dtype": (nn.LSTM(4, 6), [(f64, (3, 2, 4))]),
    "GRU dtype": (nn.GRU(4, 6), [(f64, (3, 2, 4))]),
    "RNN width": (nn.RNN(4, 6), [(3, 2, 5)]),
    "LSTMCell width": (nn.LSTMCell(4, 6), [(2, 5)]),
    "LSTMCell dtype": (nn.LSTMCell(4, 6), [(f64, (2, 4))]),
    "GRUCell dtype": (nn.GRUCell(4, 6), [(f64, (2, 4))]),
    "GRUCell width": (nn.GRUCell(4, 6), [(2, 5)]),
    "RNNCell dtype": (nn.RNNCell(4, 6), [(f64, (2, 4))]),
    "MultiheadAttention width": (nn.MultiheadAttention(8, 2), [(3, 1, 6), (3, 1, 6), (3, 1, 6)]),
    "TransformerEncoderLayer width": (nn.TransformerEncoderLayer(8, 2, 16), [(3, 1, 6)]),
    "TransformerEncoderLayer dtype": (nn.TransformerEncoderLayer(8, 2, 16), [(f64, (3, 1, 8))]),
    "Embedding floats": (nn.Embedding(5, 4), [(2, 3)]),
    "Bilinear width": (nn.Bilinear(3, 4, 5), [(2, 3), (2, 5)]),
    "BatchNorm2d rank": (nn.BatchNorm2d(3), [(2, 3, 4)]),
    "PReLU channels": (nn.PReLU(5), [(2, 3, 4)]),
    "Flatten": (nn.Flatten(1, 5), [(2, 3, 4)]),
    "Unflatten": (nn.Unflatten(1, (2, 2)), [(2, 3)]),
    "PixelShuffle": (nn.PixelShuffle(2), [(1, 3, 4, 4)]),
}


class Calls(nn.Module):
    """A module around a function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *tensors: Tensor) -> Any:
        return self.function(*tensors)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_what_a_real_kernel_refuses_is_refused(name: str) -> None:
    function, specs = CASES[name]
    tensors = [tensor(spec) for spec in specs]
    with torch.no_grad(), pytest.raises((RuntimeError, IndexError, ValueError, TypeError, AssertionError)):
        (function.eval() if isinstance(function, nn.Module) else function)(*tensors)
    with pytest.raises(ArchcalcError) as refusal:
        archcalc.trace(Calls(function), tensors)
    assert refusal.value.exit_code == 3, refusal.value
