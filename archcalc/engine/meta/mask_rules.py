"""Shape rules for positions and masks, the first ops of a transformer, on tensors without data."""

from __future__ import annotations

from math import ceil
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.meta.shape_rules import broadcast, new, rule
from archcalc.engine.meta.strides import plain

aten = torch.ops.aten


@rule(aten.arange.default, aten.arange.start, aten.arange.start_step)
def arange(*numbers: Any, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: Any = None) -> Any:
    """The whole numbers from a start to an end, in steps."""
    whole = all(type(number) is int for number in numbers) and dtype in (None, torch.int64) and not pin_memory
    if not whole or layout not in (None, torch.strided) or device is None or torch.device(device).type != "meta":
        return NotImplemented
    start, end, step = (0, *numbers, 1) if len(numbers) == 1 else (*numbers, 1)[:3]
    if step == 0 or (end - start) * step < 0:
        return NotImplemented
    return torch.empty(ceil((end - start) / step), dtype=torch.int64, device="meta")


@rule(aten.logical_not.default)
def logical_not(x: Tensor) -> Any:
    """The same shape, of truth values."""
    return new(x, x.shape, torch.bool) if plain(x) else NotImplemented


@rule(aten.masked_fill.Scalar)
def masked_fill(x: Tensor, mask: Tensor, value: Any) -> Any:
    """The same shape; the mask broadcasts to it."""
    simple = plain(x) and x.is_floating_point() and mask.is_meta and mask.dtype is torch.bool
    if not simple or not isinstance(value, int | float) or broadcast(x.shape, mask.shape) != tuple(x.shape):
        return NotImplemented
    return new(x, x.shape)


@rule(aten.where.self)
def where(mask: Tensor, x: Tensor, other: Tensor) -> Any:
    """The shape of the one that the others broadcast to; the numbers have one dtype."""
    if mask.dtype is not torch.bool or x.dtype != other.dtype or not plain(mask, x, other):
        return NotImplemented
    both = broadcast(x.shape, other.shape)
    shape = None if both is None else broadcast(mask.shape, both)
    whole = any(shape == tuple(tensor.shape) for tensor in (mask, x, other))
    return new(x, shape) if shape is not None and whole else NotImplemented
