"""Calls that real kernels refuse by their shapes and dtypes, and torch's kernels without data let pass.

Each check has its op's own arguments and raises in torch's words. tests/test_soundness.py runs every case on CPU too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.meta.call_arguments import op_of
from archcalc.engine.meta.shape_rules import HALF

Check = Callable[..., None]
CHECKS: dict[str, list[Check]] = {}


def check(*names: str) -> Callable[[Check], Check]:
    """Register a check for ops by name; an op may have several."""

    def register(function: Check) -> Check:
        for name in names:
            CHECKS.setdefault(name, []).append(function)
        return function

    return register


def refuse(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """Run the checks of an op; they raise the error that a real kernel would raise."""
    for refuses in CHECKS.get(op_of(func).name, ()):
        refuses(*args, **kwargs)


@check("_softmax", "_log_softmax", "_safe_softmax", "gelu", "silu", "silu_", "glu", "mish", "native_batch_norm")
@check("native_layer_norm", "native_group_norm", "upsample_bilinear2d", "upsample_bicubic2d", "upsample_linear1d")
@check("upsample_trilinear3d", "var", "std", "var_mean", "std_mean")
def floating(x: Tensor, *args: Any, **kwargs: Any) -> None:
    """Refuse integers: these ops take floating or complex tensors."""
    if not (x.is_floating_point() or x.is_complex()):
        raise NotImplementedError(f"not implemented for '{_name(x.dtype)}'")


@check("avg_pool2d", "avg_pool3d")
def floating_or_long(x: Tensor, *args: Any, **kwargs: Any) -> None:
    """Refuse integers other than int64."""
    if not x.is_floating_point() and x.dtype != torch.int64:
        raise NotImplementedError(f"average pooling is not implemented for '{_name(x.dtype)}'")


@check("bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not")
def integers(x: Any, *args: Any, **kwargs: Any) -> None:
    """Refuse floating and complex tensors: bitwise operations take integers."""
    if any(isinstance(t, Tensor) and (t.is_floating_point() or t.is_complex()) for t in (x, *args)):
        raise NotImplementedError("bitwise operations are not implemented for floating types")


@check("_softmax", "_log_softmax", "_safe_softmax", "sort", "cumsum", "cumprod")
def dim_in_range(x: Tensor, dim: Any = -1, *args: Any, **kwargs: Any) -> None:
    """Refuse a dimension that the tensor does not have."""
    rank = max(x.dim(), 1)
    if isinstance(dim, int) and not -rank <= dim < rank:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got {dim})")


@check("native_batch_norm", "native_group_norm")
def norm_dtypes(x: Tensor, *args: Any, **kwargs: Any) -> None:
    """Weights and statistics must have the input's dtype, or float32 if the input is float16 or bfloat16."""
    for other in args[:4]:
        if isinstance(other, Tensor) and not _fits(x, other):
            raise RuntimeError(f"mixed dtype: expect parameter to have {_name(x.dtype)}, but got {_name(other.dtype)}")


@check("native_layer_norm")
def layer_norm_dtypes(x: Tensor, normalized_shape: Any, *args: Any, **kwargs: Any) -> None:
    """The check of norm_dtypes; its arguments come after the normalised shape."""
    norm_dtypes(x, *args[:2])


@check("convolution")
def convolution_settings(x: Tensor, weight: Tensor, bias: Tensor | None, *settings: Any) -> None:
    """Refuse window settings and groups that a convolution, transposed or not, cannot have."""
    stride, padding, dilation, transposed, output_padding, groups = settings
    if min(padding, default=0) < 0:
        raise RuntimeError("negative padding is not supported")
    if min(dilation, default=1) < 1:
        raise RuntimeError(f"dilation should be greater than zero, but got {list(dilation)}")
    if groups < 1:
        raise RuntimeError("non-positive groups is not supported")
    if transposed and any(o >= max(s, d) for o, s, d in zip(output_padding, stride, dilation, strict=False)):
        raise RuntimeError("output padding must be smaller than either stride or dilation")


@check("convolution")
def convolution_sizes(x: Tensor, weight: Tensor, bias: Tensor | None, *settings: Any) -> None:
    """Refuse dtypes, channels and a bias that do not fit a convolution, transposed or not."""
    if weight.dim() < 3 or x.dim() < weight.dim() - 1:
        return  # torch's own kernel refuses the rank
    *_, transposed, _, groups = settings
    if x.dtype != weight.dtype:
        raise RuntimeError(f"Input type ({x.dtype}) and weight type ({weight.dtype}) should be the same")
    if weight.shape[0] % groups:
        raise RuntimeError(_given(weight, groups, f"to be divisible by {groups} at dimension 0"))
    channels = weight.shape[0] if transposed else weight.shape[1] * groups
    batched = x.dim() == weight.dim()
    if batched and x.shape[1] != channels:
        wanted = f"input {tuple(x.shape)} to have {channels} channels, but got {x.shape[1]} channels instead"
        raise RuntimeError(_given(weight, groups, wanted))
    made = weight.shape[1] * groups if transposed else weight.shape[0]
    if bias is not None and tuple(bias.shape) != (made,):
        raise RuntimeError(_given(weight, groups, f"bias of {made} elements, but got {tuple(bias.shape)}"))
    if bias is not None and bias.dtype != x.dtype:
        raise RuntimeError(f"Input type ({x.dtype}) and bias type ({bias.dtype}) should be the same")


def _given(weight: Tensor, groups: int, wanted: str) -> str:
    return f"Given groups={groups}, weight of size {tuple(weight.shape)}, expected {wanted}"


@check("mm", "bmm", "mv", "dot", "vdot", "addmm", "addmv", "addbmm", "baddbmm")
def one_dtype(*args: Any, **kwargs: Any) -> None:
    """The tensors of a product must have one dtype, other than bool."""
    types = list(dict.fromkeys(t.dtype for t in args if isinstance(t, Tensor)))
    if len(types) > 1:
        raise RuntimeError(f"both factors must have the same dtype, but got {' and '.join(map(str, types))}")
    if torch.bool in types:
        raise NotImplementedError("products are not implemented for 'Bool'")


@check("_grouped_mm")
def grouped_mm(a: Tensor, b: Tensor, *args: Any, **kwargs: Any) -> None:
    """The check of one_dtype; the offsets must be integers."""
    one_dtype(a, b)


@check("add_", "sub_", "mul_", "div_", "pow_", "addcmul_", "addcdiv_", "lerp_")
def result_fits(x: Tensor, other: Any, *args: Any, **kwargs: Any) -> None:
    """A result that is written in place must be castable to the type of its target."""
    if isinstance(other, Tensor) and other.dtype is x.dtype:
        return  # what optimizers do all the time, without asking torch
    result = torch.result_type(x, other)
    if not torch.can_cast(result, x.dtype):
        raise RuntimeError(f"result type {_name(result)} can't be cast to the desired output type {_name(x.dtype)}")


@check("index_select")
def index_select(x: Tensor, dim: int, index: Tensor) -> None:
    """The index must be a vector of int32 or int64."""
    if index.dtype not in (torch.int32, torch.int64):
        raise RuntimeError("index_select(): Expected dtype int32 or int64 for index")
    if index.dim() > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")


@check("grid_sampler_2d", "grid_sampler_3d")
def grid_sampler(x: Tensor, grid: Tensor, *args: Any, **kwargs: Any) -> None:
    """Image and grid must have one dtype."""
    if x.dtype != grid.dtype:
        raise RuntimeError(f"expected scalar type {_name(x.dtype)} but found {_name(grid.dtype)}")


@check("nll_loss_forward", "nll_loss2d_forward")
def class_numbers(x: Tensor, target: Tensor, *args: Any, **kwargs: Any) -> None:
    """Class numbers must be int64 or uint8."""
    if target.dtype not in (torch.int64, torch.uint8):
        raise RuntimeError(f"expected target dtype to be Long or Byte, but got {_name(target.dtype)}")


@check("bucketize")
def bucketize(x: Any, boundaries: Tensor, *args: Any, **kwargs: Any) -> None:
    """The boundaries must be a vector."""
    if boundaries.dim() != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries.dim()})")


@check("complex", "polar")
def complex_parts(real: Tensor, imaginary: Tensor, *args: Any, out: Tensor | None = None) -> None:
    """Both parts must have one dtype, and a given result the complex dtype of it."""
    if real.dtype != imaginary.dtype:
        raise RuntimeError(f"expected both parts to be {_name(real.dtype)}, but got {_name(imaginary.dtype)}")
    if out is not None and out.dtype != torch.complex(real[:0], imaginary[:0]).dtype:
        raise RuntimeError(f"a result of dtype {_name(out.dtype)} cannot be made from {_name(real.dtype)} parts")


@check("masked_scatter", "masked_scatter_")
def boolean_mask(x: Tensor, mask: Tensor, *args: Any, **kwargs: Any) -> None:
    """The mask must be boolean."""
    if mask.dtype != torch.bool:
        raise RuntimeError(f"masked_scatter_ only supports boolean masks, but got mask with dtype {_name(mask.dtype)}")


@check("as_strided", "as_strided_", "as_strided_copy")
def inside_storage(x: Tensor, size: Sequence[int], stride: Sequence[int], offset: int | None = None) -> None:
    """The elements must lie in the storage."""
    storage = x.untyped_storage().nbytes()
    start = x.storage_offset() if offset is None else offset
    last = sum((n - 1) * s for n, s in zip(size, stride, strict=False))
    needed = 0 if 0 in size else (start + last + 1) * x.element_size()
    if needed > storage:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {start} need a storage of "
            f"{needed} bytes, and this one has {storage}"
        )


@check("as_strided_scatter")
def scatter_inside_storage(
    x: Tensor, source: Tensor, size: Sequence[int], stride: Sequence[int], offset: int | None = None
) -> None:
    """The check of inside_storage; the source comes before the geometry."""
    inside_storage(x, size, stride, offset)


@check("gelu", "gelu_")
def gelu_approximation(x: Tensor, *, approximate: str = "none") -> None:
    """Two approximations exist."""
    if approximate not in ("none", "tanh"):
        raise RuntimeError("approximate argument must be either none or tanh.")


@check("index_add", "index_add_", "index_reduce", "index_reduce_")
def source_fits(x: Tensor, dim: int, index: Tensor, source: Tensor, *args: Any, **kwargs: Any) -> None:
    """The source must have the tensor's dtype, and its shape but for the dimension of the index."""
    if x.dtype != source.dtype:
        raise RuntimeError(f"self ({_name(x.dtype)}) and source ({_name(source.dtype)}) must have the same scalar type")
    ours, theirs = (tuple(n for d, n in enumerate(t.shape) if d != dim % max(x.dim(), 1)) for t in (x, source))
    if x.dim() and source.dim() and ours != theirs:
        raise RuntimeError(
            "source tensor shape must match self tensor shape, excluding the specified dimension. "
            f"Got self.shape = {list(x.shape)} source.shape = {list(source.shape)}"
        )


@check("multinomial")
def multinomial(x: Tensor, num_samples: int, replacement: bool = False, **given: Any) -> None:
    """Floating probabilities of at most 2^24 categories; no more samples than categories without replacement."""
    if not x.is_floating_point():
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {_name(x.dtype)}")
    out = given.get("out")
    if out is not None and out.dtype != torch.int64:
        raise RuntimeError(f"multinomial expects Long tensor out, got: {_name(out.dtype)}")
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > x.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    if x.shape[-1] > 1 << 24:
        raise RuntimeError("number of categories cannot exceed 2^24")


@check("uniform_", "random_")
def range_of_draws(x: Tensor, low: float = 0, high: float | None = 1, *, generator: Any = None) -> None:
    """A range must not end before it begins."""
    if high is not None and low > high:
        raise RuntimeError(f"expects to return a [from, to) range, but found from={low} > to={high}")


@check("bernoulli_", "bernoulli")
def probability(x: Tensor, p: Any = None, *, generator: Any = None, out: Any = None) -> None:
    """A probability is from 0 to 1."""
    if isinstance(p, float | int) and not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p}")


@check("native_dropout")
def dropout_probability(x: Tensor, p: float, train: bool | None) -> None:
    """The check of probability."""
    probability(x, p)


@check("aminmax", "sort")
def dtypes_of_results(x: Tensor, *args: Any, **kwargs: Any) -> None:
    """Given results must have the dtypes of the input, or int64 for positions."""
    for name, wanted in (("min", x.dtype), ("max", x.dtype), ("values", x.dtype), ("indices", torch.int64)):
        given = kwargs.get(name)
        if given is not None and given.dtype != wanted:
            raise RuntimeError(f"Expected out tensor to have dtype {_name(wanted)}, but got {_name(given.dtype)}")


def _fits(x: Tensor, parameter: Tensor) -> bool:
    return parameter.dtype == x.dtype or (x.dtype in HALF and parameter.dtype == torch.float32)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
