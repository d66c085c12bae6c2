"""Copies that torch's CPU kernels make of what they add up: in the dtype of the result, or of float32 for halves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.meta.shape_rules import HALF

FLOAT = 4
APART = 2
"""Groups of dimensions, each added up along one stride, from which halves are added up as float32 numbers."""


def _sum(args: Sequence[Any], out: Tensor) -> int:
    """The numbers in the dtype of the result, or halves and their sums as float32 numbers."""
    x = args[0]
    if x.dtype is not out.dtype:
        return _converted(args, out)
    several = x.dtype in HALF and x.numel() > 0 and _groups(x, _dims(args)) >= APART
    return FLOAT * (x.numel() + out.numel()) if several else 0


def _dims(args: Sequence[Any]) -> set[int]:
    """The dimensions that are added up: all without a list of them."""
    dims = args[1] if len(args) > 1 and args[1] else range(args[0].dim())
    return {dim % max(1, args[0].dim()) for dim in dims}


def _groups(x: Tensor, dims: set[int]) -> int:
    """Into how many groups dimensions fall that lie behind one another in memory; those of one element do not count."""
    wide = sorted((x.stride(dim), x.shape[dim]) for dim in dims if x.shape[dim] > 1)
    groups, reaches = 0, None
    for stride, size in wide:
        groups += stride != reaches
        reaches = stride * size
    return groups


def _converted(args: Sequence[Any], out: Tensor) -> int:
    """The numbers in the dtype of the result."""
    x = args[0]
    return x.numel() * out.element_size() if x.dtype is not out.dtype else 0


def _tested(args: Sequence[Any], out: Tensor) -> int:
    """The numbers as truth values."""
    x = args[0]
    return 0 if x.dtype in (torch.bool, torch.uint8) else x.numel()


BY_OP: dict[str, Callable[[Sequence[Any], Any], int]] = {
    "sum": _sum,
    **dict.fromkeys(("prod", "cumsum", "cumprod", "nansum"), _converted),
    **dict.fromkeys(("any", "all"), _tested),
}
"""By op: the bytes inside."""
