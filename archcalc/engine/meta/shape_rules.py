"""Shape rules for the ops that most networks are made of, on tensors without data.

Torch's own meta kernels for these are written in Python; the first call imports sympy and torch._dynamo (about a
second) and each call takes up to two milliseconds. A rule here answers the plain case in microseconds and returns
NotImplemented for every other case, which then goes to torch. A test compares every rule with torch's own answer:
shape, stride, dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.meta.strides import ordered, plain, repeated

Rule = Callable[..., Any]
RULES: dict[Any, Rule] = {}
BY_ID: dict[int, Rule] = {}  # by the id of the op: to hash an op takes as long as a rule
aten = torch.ops.aten
HALF = (torch.float16, torch.bfloat16)
"""Floats of two bytes."""


def rule(*ops: Any) -> Callable[[Rule], Rule]:
    """Register a rule for op overloads; an op has one rule."""

    def register(function: Rule) -> Rule:
        for op in ops:
            if op in RULES:
                raise ValueError(f"{op} has a rule already")
            RULES[op] = BY_ID[id(op)] = function
        return function

    return register


def new(like: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
    """A contiguous tensor without data."""
    return torch.empty(shape, dtype=dtype or like.dtype, device="meta")


# ---- elementwise ---------------------------------------------------------------------------------

UNARY_FLOAT = (
    aten.relu.default, aten.sigmoid.default, aten.tanh.default, aten.gelu.default, aten.silu.default, aten.exp.default,
    aten.sqrt.default, aten.rsqrt.default, aten.neg.default, aten.sin.default, aten.cos.default, aten.erf.default,
    aten.log.default, aten.hardtanh.default, aten.hardswish.default, aten.hardsigmoid.default, aten.leaky_relu.default,
    aten.elu.default, aten.softplus.default, aten.abs.default, aten.square.default, aten.mish.default,
    aten.pow.Tensor_Scalar, aten.mul.Scalar, aten.reciprocal.default,
)  # fmt: skip
IN_PLACE = (
    aten.relu_.default, aten.sigmoid_.default, aten.tanh_.default, aten.silu_.default, aten.hardtanh_.default,
    aten.hardswish_.default, aten.leaky_relu_.default, aten.elu_.default,
)  # fmt: skip
BINARY = (
    aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor, aten.maximum.default, aten.minimum.default,
)  # fmt: skip


@rule(*UNARY_FLOAT)
def unary(x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """One output element for each input element; a dense layout is kept."""
    if not x.is_floating_point() or any(isinstance(a, Tensor | complex) for a in args):
        return NotImplemented
    return new(x, x.shape) if ordered(x) else NotImplemented


@rule(aten.clamp.default, aten.clamp_min.default, aten.clamp_max.default)
def clamp(x: Tensor, *bounds: Any, **named: Any) -> Any:
    """The same shape; a number bounds it on one side at least."""
    given = [bound for bound in (*bounds, *named.values()) if bound is not None]
    simple = x.is_floating_point() and given and all(isinstance(bound, int | float) for bound in given)
    return new(x, x.shape) if simple and ordered(x) else NotImplemented


@rule(*IN_PLACE)
def in_place(x: Tensor, *args: Any, **kwargs: Any) -> Any:
    """The same tensor."""
    return x if x.is_meta and x.is_floating_point() else NotImplemented


@rule(*BINARY)
def binary(a: Any, b: Any, *, alpha: Any = 1) -> Any:
    """Two tensors of one dtype broadcast together, or a tensor and a number; a number in front is left to torch."""
    if not isinstance(a, Tensor) or not a.is_floating_point() or not ordered(a):
        return NotImplemented
    if not isinstance(b, Tensor):
        return new(a, a.shape) if isinstance(b, int | float) else NotImplemented
    if b.dim() == 0 and not b.is_meta and not b.is_complex():
        return new(a, a.shape)  # a number in a tensor does not promote
    if a.dtype != b.dtype or not ordered(b):
        return NotImplemented
    shape = broadcast(a.shape, b.shape)
    return new(a, shape) if shape in (tuple(a.shape), tuple(b.shape)) else NotImplemented


@rule(aten.div_.Tensor)
def divided_in_place(a: Tensor, b: Any, *, alpha: Any = 1) -> Any:
    """The first tensor, when the second fits into it."""
    if not a.is_meta or not a.is_floating_point():
        return NotImplemented
    if isinstance(b, Tensor) and (a.dtype != b.dtype or broadcast(a.shape, b.shape) != tuple(a.shape)):
        return NotImplemented
    return a


@rule(aten.add_.Tensor, aten.sub_.Tensor, aten.mul_.Tensor)
def binary_in_place(a: Tensor, b: Any, *, alpha: Any = 1) -> Any:
    """The first tensor, when the second fits into it or both are whole numbers, as in the counter of a batch norm."""
    whole = a.is_meta and a.dtype is torch.int64 and type(b) is type(alpha) is int
    return a if whole else divided_in_place(a, b, alpha=alpha)


def broadcast(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...] | None:
    """The shape that both broadcast to; None when they do not.

    >>> broadcast((8, 1, 4), (3, 4)), broadcast((2,), (3,))
    ((8, 3, 4), None)
    """
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + tuple(a), (1,) * (rank - len(b)) + tuple(b)
    if any(m != n and 1 not in (m, n) for m, n in zip(a, b, strict=True)):
        return None
    return tuple(n if m == 1 else m for m, n in zip(a, b, strict=True))


def whole_windows(dims: int, positive: Sequence[Sequence[int]], others: Sequence[Sequence[int]]) -> bool:
    """Whether these settings of a window are whole: one number or one for each dimension, none of them too small."""
    right = all(len(value) in (1, dims) for value in (*positive, *others))
    return right and all(min(v) > 0 for v in positive) and all(min(v) >= 0 for v in others)


def each(value: Sequence[int], dims: int) -> Sequence[int]:
    """One number for each dimension."""
    return value if len(value) == dims else [value[0]] * dims


# ---- normalisation, softmax, reductions ----------------------------------------------------------


STATISTICS = {torch.float64: torch.float64, torch.float32: torch.float32, **dict.fromkeys(HALF, torch.float32)}
"""The dtype of means and deviations, by that of what is normalised."""


def normalised(x: Tensor, shape: Sequence[int], *parameters: Tensor | None) -> bool:
    """Whether a tensor is normalised with parameters and statistics of a shape, each in its dtype or theirs."""
    if x.dtype not in STATISTICS:
        return False
    dtypes = x.dtype, STATISTICS[x.dtype]
    return all(t is None or (tuple(t.shape) == shape and t.dtype in dtypes) for t in parameters)


@rule(aten.native_batch_norm.default)
def native_batch_norm(
    x: Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, momentum: float, eps: float
) -> Any:
    """N, C, ... -> the same, with the C means and inverse deviations that training saves; evaluation saves none."""
    channels = x.shape[1] if x.dim() > 1 else 0
    if not training and (mean is None or var is None):
        return NotImplemented
    if not channels or not plain(x, weight, bias, mean, var) or not normalised(x, (channels,), weight, bias, mean, var):
        return NotImplemented
    saved, dtype = channels if training else 0, STATISTICS[x.dtype]
    return new(x, x.shape), new(x, (saved,), dtype), new(x, (saved,), dtype)


@rule(aten.native_layer_norm.default)
def native_layer_norm(x: Tensor, normalized_shape: Sequence[int], weight: Any, bias: Any, eps: float) -> Any:
    """..., D -> the same, with a mean and inverse deviation for each row."""
    dims = tuple(normalized_shape)
    if not plain(x, weight, bias) or tuple(x.shape[-len(dims) :]) != dims or not normalised(x, dims, weight, bias):
        return NotImplemented
    rows, dtype = (*x.shape[: -len(dims)], *(1 for _ in dims)), STATISTICS[x.dtype]
    return new(x, x.shape), new(x, rows, dtype), new(x, rows, dtype)


@rule(aten._softmax.default, aten._log_softmax.default)
def softmax(x: Tensor, dim: int, half_to_float: bool) -> Any:
    """The same shape."""
    simple = plain(x) and x.is_floating_point() and -x.dim() <= dim < x.dim() and not half_to_float
    return new(x, x.shape) if simple else NotImplemented


@rule(aten._safe_softmax.default)
def safe_softmax(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Any:
    """The same shape."""
    simple = plain(x) and x.is_floating_point() and -x.dim() <= dim < x.dim() and dtype is None
    return new(x, x.shape) if simple else NotImplemented


@rule(aten.mean.dim, aten.sum.dim_IntList)
def reduction(x: Tensor, dim: Any, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    """The reduced dimensions become 1 or go. Of a tensor in another order, one long dimension at most is left."""
    if not dim or not x.dim() or not x.is_meta or not x.is_floating_point() or dtype is not None:
        return NotImplemented
    reduced = {d % x.dim() for d in dim}
    if len(reduced) < len(dim) or not all(-x.dim() <= d < x.dim() for d in dim):
        return NotImplemented
    sizes = [1 if d in reduced else n for d, n in enumerate(x.shape) if keepdim or d not in reduced]
    ordered_too = len([n for n in sizes if n > 1]) <= 1 or plain(x) or repeated(x)
    return new(x, sizes) if ordered_too else NotImplemented


# ---- pooling -------------------------------------------------------------------------------------


@rule(aten.max_pool2d_with_indices.default)
def max_pool2d(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil_mode: bool = False,
) -> Any:
    """N, C, H, W -> N, C, H', W' and the positions of the maxima."""
    out = _pooled(x, kernel_size, stride, padding, dilation, ceil_mode)
    return out if out is NotImplemented else (out, new(out, out.shape, torch.int64))


@rule(aten.avg_pool2d.default)
def avg_pool2d(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """N, C, H, W -> N, C, H', W'."""
    if divisor_override == 0:
        return NotImplemented
    return _pooled(x, kernel_size, stride, padding, (1, 1), ceil_mode)


def _pooled(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil: bool,
) -> Any:
    whole = whole_windows(2, positive=(kernel_size, stride or kernel_size, dilation), others=(padding,))
    if x.dim() != 4 or not plain(x) or ceil or not whole:
        return NotImplemented
    k, s, p, d = (each(v, 2) for v in (kernel_size, stride or kernel_size, padding, dilation))
    sizes = [(x.shape[2 + i] + 2 * p[i] - d[i] * (k[i] - 1) - 1) // s[i] + 1 for i in (0, 1)]
    if min(sizes) < 1 or any(2 * p[i] > k[i] for i in (0, 1)):
        return NotImplemented
    return new(x, (x.shape[0], x.shape[1], *sizes))


@rule(aten._adaptive_avg_pool2d.default)
def adaptive_avg_pool2d(x: Tensor, output_size: Sequence[int]) -> Any:
    """..., H, W -> ..., H', W' as asked."""
    if x.dim() != 4 or not plain(x) or len(output_size) != 2 or min(output_size) < 1:
        return NotImplemented
    return new(x, (*x.shape[:2], *output_size))


# ---- movement ------------------------------------------------------------------------------------


@rule(aten.cat.default)
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Any:
    """Sizes add up along one dimension and agree in the others."""
    first = tensors[0]
    if not -first.dim() <= dim < first.dim() or not plain(*tensors):
        return NotImplemented
    dim %= first.dim()
    rest = [n for d, n in enumerate(first.shape) if d != dim]
    for t in tensors:
        if t.dtype != first.dtype or t.dim() != first.dim() or [n for d, n in enumerate(t.shape) if d != dim] != rest:
            return NotImplemented
    return new(first, [*first.shape[:dim], sum(t.shape[dim] for t in tensors), *first.shape[dim + 1 :]])


@rule(aten.stack.default)
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Any:
    """One more dimension, as long as there are tensors, which are of one shape and dtype."""
    first = tensors[0]
    if not -first.dim() - 1 <= dim <= first.dim() or not plain(*tensors):
        return NotImplemented
    if any(t.dtype != first.dtype or t.shape != first.shape for t in tensors):
        return NotImplemented
    dim %= first.dim() + 1
    return new(first, [*first.shape[:dim], len(tensors), *first.shape[dim:]])


@rule(aten.embedding.default)
def embedding(weight: Tensor, indices: Tensor, *args: Any) -> Any:
    """Indices of any shape -> that shape and the embedding's width."""
    if weight.dim() != 2 or not plain(weight, indices) or indices.dtype not in (torch.int64, torch.int32):
        return NotImplemented
    return new(weight, (*indices.shape, weight.shape[1]))
