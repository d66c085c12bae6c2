"""Calls that real kernels refuse by their shapes and dtypes, and torch's kernels without data let pass.

Each check has its op's own arguments and raises in torch's words. tests/test_soundness.py runs every case on CPU too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.torch_private import op_name

Check = Callable[..., None]
CHECKS: dict[str, list[Check]] = {}
NARROW = (torch.float16, torch.bfloat16)


def check(*names: str) -> Callable[[Check], Check]:
    """Register a check for ops by name; an op may have several."""

    def register(function: Check) -> Check:
        for name in names:
            CHECKS.setdefault(name, []).append(function)
        return function

    return register


def refuse(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """Run the checks of an op; they raise the error that a real kernel would raise."""
    for refuses in CHECKS.get(op_name(func), ()):
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


def _fits(x: Tensor, parameter: Tensor) -> bool:
    return parameter.dtype == x.dtype or (x.dtype in NARROW and parameter.dtype == torch.float32)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
