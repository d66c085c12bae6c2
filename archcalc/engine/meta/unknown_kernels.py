"""Ops that torch cannot run on tensors without data: what they return is learned from a run on small real tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.meta.known_values import LIMIT, NeedsValues
from archcalc.engine.meta.own_draws import SEED
from archcalc.engine.torch_private import op_name, schema, with_tensors_changed


def has_none(error: NotImplementedError) -> bool:
    """Whether torch says that an op has no kernel for tensors without data."""
    return "with Meta tensors" in str(error) or "'Meta' backend" in str(error)


def learned(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], tensors: Sequence[Tensor]) -> Any:
    """The shapes and dtypes that an op returns for random values, or for zeros if it refuses those.

    NeedsValues for ops that write, for large tensors, and for results that depend on more than shapes.
    """
    if schema(func).is_mutable or sum(tensor.numel() for tensor in tensors) > LIMIT:
        raise NeedsValues(f"aten.{op_name(func)}, which has no rule without data")
    generator = torch.Generator().manual_seed(SEED)
    try:
        return _with(lambda tensor: stand_in(tensor, generator), func, args, kwargs)
    except RuntimeError:  # values out of a range that the op wants
        return _with(lambda tensor: torch.zeros(tensor.shape, dtype=tensor.dtype), func, args, kwargs)


def _with(values: Callable[[Tensor], Tensor], func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    real_args, real_kwargs = with_tensors_changed((tuple(args), dict(kwargs)), values)
    return with_tensors_changed(func(*real_args, **real_kwargs), _hidden)


def stand_in(tensor: Tensor, generator: torch.Generator, below: int = 2) -> Tensor:
    """A real tensor of the same shape and dtype: normal floats, integers from 0 to `below` - 1, truth values."""
    if tensor.dtype.is_floating_point or tensor.dtype.is_complex:
        wide = torch.complex64 if tensor.dtype.is_complex else torch.float32
        return torch.randn(tensor.shape, generator=generator, dtype=wide).to(tensor.dtype)
    return torch.randint(0, below, tensor.shape, generator=generator).to(tensor.dtype)


def _hidden(result: Tensor) -> Tensor:
    if result.layout is not torch.strided:
        raise NeedsValues("the size of a sparse tensor")
    return result.to("meta")
