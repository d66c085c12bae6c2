"""A counter of multiply-adds on real tensors that owes nothing to a formula of archcalc or of torch.

An op that sums products gives, where all factors are 1, the number of its products: so the ops are run on ones, in
float64, and their results are summed. Paddings are of ones too, since products with padded zeros count; a transposed
convolution is run without the padding that cuts its result. Fused ops are taken apart into such products by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

NO_RULE = {
    "_linalg_det", "_linalg_eigh", "_linalg_slogdet", "_linalg_solve_ex", "_linalg_svd", "cholesky_solve",
    "linalg_cholesky_ex", "linalg_householder_product", "linalg_inv_ex", "linalg_lu_factor_ex", "linalg_lu_solve",
    "linalg_matrix_exp", "linalg_qr", "geqrf", "triangular_solve",
}  # fmt: skip
"""Ops of which the conventions know no number of products."""


def ones(tensor: Tensor) -> Tensor:
    """Ones of its shape."""
    return torch.ones(tensor.shape, dtype=torch.float64)


def run_on_ones(op: Callable[..., Tensor], *factors: Tensor) -> int:
    """The number of products that an op sums."""
    return int(op(*map(ones, factors)).sum().item())


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    extra: Any,
    groups: int,
) -> int:
    """Of a forward pass; input of ones with a border of ones, or without the cut of a transposed one."""
    stride, dilation = (list(given) * (x.dim() - 2 if len(given) == 1 else 1) for given in (stride, dilation))
    if transposed:
        conv = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[x.dim() - 3]
        return run_on_ones(lambda a, b: conv(a, b, stride=stride, groups=groups, dilation=dilation), x, weight)
    conv = (F.conv1d, F.conv2d, F.conv3d)[x.dim() - 3]
    border = [side for size in reversed(list(padding)) for side in (size, size)]
    if len(padding) == 1:
        border *= x.dim() - 2
    return run_on_ones(
        lambda a, b: conv(F.pad(a, border, value=1.0), b, stride=stride, dilation=dilation, groups=groups), x, weight
    )


def convolution_backward(gradient: Tensor, x: Tensor, weight: Tensor, bias: Any, *rest: Any) -> int:
    """Each wanted gradient, of the input and of the weight, multiplies every pair that forward multiplied."""
    *geometry, mask = rest
    return convolution(x, weight, None, *geometry) * (mask[0] + mask[1])


def attention(query: Tensor, key: Tensor, value: Tensor, *rest: Any, **more: Any) -> int:
    """Scores, and the sums of values that they weigh."""
    scores = run_on_ones(lambda q, k: q @ k.mT, query, key)
    weighing = query.new_empty(*query.shape[:-1], key.shape[-2])
    return scores + run_on_ones(torch.matmul, weighing, value)


def rnn_layer(x: Tensor, weight: Tensor, recurrent: Tensor, *rest: Any, **more: Any) -> int:
    """Every step of every sample meets both matrices once."""
    steps = x.flatten(0, 1)
    state = steps.new_empty(steps.shape[0], recurrent.shape[1])
    return run_on_ones(lambda a, b: a @ b.T, steps, weight) + run_on_ones(lambda a, b: a @ b.T, state, recurrent)


def fast_attention(query: Tensor, key: Tensor, value: Tensor, width: int, heads: int, *rest: Any, **more: Any) -> int:
    """The module's four matrices and both products of the heads."""
    split = [part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key, value)]
    matrix = query.new_empty(width, width)
    rows = sum(run_on_ones(torch.matmul, part, matrix) for part in (query, key, value, query))
    return attention(*split) + rows


def fast_encoder_layer(src: Tensor, width: int, heads: int, *rest: Any, **more: Any) -> int:
    """Attention and the two linear layers; the first of those has `hidden` rows."""
    hidden = rest[11].shape[0]
    up = run_on_ones(torch.matmul, src, src.new_empty(width, hidden))
    return fast_attention(src, src, src, width, heads) + 2 * up


def trilinear(a: Tensor, b: Tensor, c: Tensor, grow_a: Any, grow_b: Any, grow_c: Any, summed: Any, *rest: Any) -> int:
    """All points of the index space: those that are summed and those that are kept."""
    grown = [(ones(a), grow_a), (ones(b), grow_b), (ones(c), grow_c)]
    first, second, third = (reduce(Tensor.unsqueeze, sorted(axes), factor) for factor, axes in grown)
    return int((first * second * third).sum().item())


def solve_triangular(a: Tensor, b: Tensor, **how: Any) -> int:
    """By substitution: each row of a solution takes one product with every row before it."""
    rows = a.shape[-1]
    return prod(b.shape) // rows * sum(range(rows)) if rows else 0


def affine_grid(theta: Tensor, size: Any, *rest: Any) -> int:
    """Each place, with a 1 behind its coordinates, meets the matrix."""
    places = theta.new_empty(size[0], prod(size[2:]), len(size) - 1)
    return run_on_ones(lambda a, b: a @ b.mT, places, theta)


def sparse_product(matrix: Tensor, dense: Tensor) -> int:
    """Each stored element meets a row."""
    return int(matrix._nnz()) * dense.shape[1]


def matrices(a: Tensor, b: Tensor, **how: Any) -> int:
    """A product of two matrices; only what is stored of a sparse one is multiplied."""
    return sparse_product(a, b) if a.layout is torch.sparse_coo else run_on_ones(torch.matmul, a, b)


def grouped(a: Tensor, b: Tensor, *rest: Any, **how: Any) -> int:
    """Every row or column meets the matrix of one group; sums over rows are parted into groups."""
    return run_on_ones(torch.matmul, a[0] if a.dim() > b.dim() else a, b[0] if b.dim() > a.dim() else b)


def steps_first(x: Tensor, weight: Tensor, bias: Tensor, pad: int) -> int:
    """A convolution of T, N, C, with a border of ones."""
    border = ones(x.new_empty(x.shape[0] + 2 * pad, *x.shape[1:]))
    return int(torch.conv_tbc(border, ones(weight), torch.zeros(weight.shape[2], dtype=torch.float64)).sum().item())


COUNTS: dict[str, Callable[..., int]] = {
    "mm": matrices,
    "bmm": matrices,
    "mv": matrices,
    "dot": matrices,
    "vdot": matrices,
    "addmm": lambda bias, a, b, **how: matrices(a, b),
    "baddbmm": lambda bias, a, b, **how: matrices(a, b),
    "addbmm": lambda bias, a, b, **how: matrices(a, b),
    "addmv": lambda bias, a, b, **how: matrices(a, b),
    "_addmm_activation": lambda bias, a, b, **how: matrices(a, b),
    "_sparse_mm": matrices,
    "_sparse_addmm": lambda bias, a, b, **how: matrices(a, b),
    "_grouped_mm": grouped,
    "conv_tbc": steps_first,
    "convolution": convolution,
    "convolution_backward": convolution_backward,
    "_scaled_dot_product_flash_attention_for_cpu": attention,
    "mkldnn_rnn_layer": rnn_layer,
    "_native_multi_head_attention": fast_attention,
    "_transformer_encoder_layer_fwd": fast_encoder_layer,
    "_trilinear": trilinear,
    "linalg_solve_triangular": solve_triangular,
    "affine_grid_generator": affine_grid,
}
"""The ops that sum products, by their names below autograd."""


class Products(TorchDispatchMode):
    """Counts the products of every op that runs on real tensors; `macs` is the sum so far.

    `no_rule` are the names of those met whose products nobody has a convention for, `met` the names of all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs = 0
        self.met: set[str] = set()

    @property
    def no_rule(self) -> set[str]:
        """The ops met that have no number of products."""
        return self.met & NO_RULE

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.removeprefix("aten::").rstrip("_")  # in place or not
        self.met.add(name)
        if name in COUNTS:
            with torch.random.fork_rng(devices=[]):
                self.macs += COUNTS[name](*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))
