"""Bytes inside Fourier transforms on CPU.

MKL takes the dimensions that are not transformed as one, for which they are copied if they do not lie so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.devices.onednn_convolutions import highest
from archcalc.engine.torch_private import storage_key


def _complex(args: Sequence[Any], out: Tensor) -> int:
    """The copy of what is transformed."""
    return _copy(args[0], args[1])


def _to_real(args: Sequence[Any], out: Tensor) -> int:
    """A complex transform along all dimensions but the last, and then one to real numbers along that."""
    x, dims = args[:2]
    if len(dims) == 1:
        return _copy(x, dims)
    between = _transformed(x, dims[:-1])
    copy = _copy(x, dims[:-1])
    return highest([between.nbytes, copy, -copy, out.nbytes, _copy(between, dims[-1:])]) - out.nbytes


def _copy(x: Tensor, dims: Sequence[int]) -> int:
    """Bytes of a copy in which the other dimensions, by their strides, lie as one; 0 if they do."""
    others, own = _ordered(x, dims)
    as_one = x.permute(*others, *own).reshape(-1, *(x.shape[dim] for dim in own)) if x.numel() else x
    return 0 if storage_key(as_one) == storage_key(x) else int(x.nbytes)


def _transformed(x: Tensor, dims: Sequence[int]) -> Tensor:
    """The transform as it lies in memory: the dimensions that were transformed innermost."""
    others, own = _ordered(x, dims)
    order, step, strides = [*others, *own], 1, [0] * x.dim()
    for dim in reversed(order):
        strides[dim] = step
        step *= max(1, x.shape[dim])
    return torch.empty_strided(x.shape, strides, dtype=x.dtype, device="meta")


def _ordered(x: Tensor, dims: Iterable[int]) -> tuple[list[int], list[int]]:
    """The dimensions that are left alone and those that are transformed, each from the widest stride on."""
    own = {dim % x.dim() for dim in dims}
    strides = x.stride()
    by_stride = sorted(range(x.dim()), key=lambda dim: -strides[dim])
    return [dim for dim in by_stride if dim not in own], [dim for dim in by_stride if dim in own]


BY_OP: dict[str, Callable[[Sequence[Any], Any], int]] = {
    "_fft_c2c": _complex,
    "_fft_r2c": _complex,
    "_fft_c2r": _to_real,
}
"""By op: the bytes inside."""
