"""Indices out of bounds, where their values are known: real kernels refuse them, kernels without data cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.meta.call_arguments import Op

ALONG = frozenset(
    "gather scatter scatter_ scatter_add scatter_add_ scatter_reduce scatter_reduce_ index_select index_add index_add_ "
    "index_copy index_copy_ index_fill index_fill_ index_reduce index_reduce_".split()
)
"""Ops of a tensor, a dimension and an index, in this order."""
BY_INDICES = ("index", "_unsafe_index", "index_put", "index_put_", "_unsafe_index_put")
PLACES = ("take", "put", "put_")
WITH_INDEX = ALONG | frozenset(("embedding", *BY_INDICES, *PLACES))
Bounds = tuple[Tensor, int, int, str]
"""An index, the least and the first too large value that it may have, and where it points."""


def refuse_out_of_bounds(op: Op, args: Sequence[Any], values_of: Callable[[Tensor], Tensor | None]) -> None:
    """IndexError for an index whose values are known and lie outside of the tensor."""
    if op.name not in WITH_INDEX:
        return
    for index, least, end, where in _bounds(op.name, args):
        values = values_of(index) if index.is_meta else index
        if values is None or not values.numel() or values.dtype in (torch.bool, torch.uint8):
            continue
        lowest, highest = int(values.min()), int(values.max())
        if lowest < least or highest >= end:
            raise IndexError(f"index {lowest if lowest < least else highest} is out of bounds for {where}")


def _bounds(name: str, args: Sequence[Any]) -> Iterator[Bounds]:
    if name in ALONG and len(args) > 2 and isinstance(args[2], Tensor):
        x, dim, index = args[:3]
        size = x.shape[dim] if x.dim() else 1
        yield index, -size if name.startswith("index_fill") else 0, size, f"dimension {dim} with size {size}"
    elif name == "embedding":
        weight, index = args[:2]
        yield index, 0, weight.shape[0], f"an embedding of {weight.shape[0]} rows"
    elif name in BY_INDICES:
        x, indices = args[:2]
        if all(index is None or index.dtype not in (torch.bool, torch.uint8) for index in indices):
            for dim, index in enumerate(indices):
                if index is not None:
                    yield index, -x.shape[dim], x.shape[dim], f"dimension {dim} with size {x.shape[dim]}"
    elif name in PLACES:
        x, index = args[:2]
        yield index, -x.numel(), x.numel(), f"a tensor of {x.numel()} elements"
