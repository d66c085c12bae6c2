"""Bytes inside ops that read or write at places that a tensor names, and that search or order numbers, on CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.devices import processor
from archcalc.engine.meta.shape_rules import HALF

FLOAT, PLACE = 4, 8
"""Bytes of a number in which halves are added up, and of a place."""
ROW = 16
"""Numbers of a row from which rows are added up as a whole."""


def _scattered(args: Sequence[Any], out: Tensor) -> int:
    """Halves as float32 numbers: of a row for each thread where whole rows go to one place, else of the result."""
    if out.dtype not in HALF:
        return 0
    adds = len(args) > 3 and isinstance(args[3], Tensor)
    return _of_rows(args[3]) if adds and _by_rows(args, out) else FLOAT * out.numel()


def _added_by_index(args: Sequence[Any], out: Tensor) -> int:
    """As they are scattered, along the first dimension or the last; along others, and in a vector, piece by piece."""
    return _scattered(args, out) if out.dim() > 1 and args[1] % out.dim() in (0, out.dim() - 1) else 0


def _set(args: Sequence[Any], out: Tensor) -> int:
    """Halves as float32 numbers, also where they are not added up."""
    return FLOAT * out.numel() if out.dtype in HALF else 0


def _gathered(args: Sequence[Any], out: Tensor) -> int:
    """Halves as float32 numbers, unless whole rows are read."""
    x, dim, index = args[:3]
    rows = dim % max(1, x.dim()) == 0 and _names_rows(index) and x.is_contiguous()
    return 0 if rows and index.shape[1:] == x.shape[1:] else _set(args, out)


def _by_rows(args: Sequence[Any], out: Tensor) -> bool:
    """Whether rows of 16 numbers or more each go to one place, which torch does after sorting the places."""
    dim, index, source = args[1:4]
    rows = index.dim() == 1 or (_names_rows(index) and index.shape[1:] == source.shape[1:])
    wide = len(source) > 0 and source.dim() > 1 and source.numel() // len(source) >= ROW
    return rows and wide and dim % out.dim() == 0 and source.is_contiguous() and out.is_contiguous()


def _names_rows(index: Tensor) -> bool:
    """Whether a tensor of places was expanded from one for each row."""
    others = range(1, index.dim())
    repeated = all(index.stride(dim) == 0 or index.shape[dim] == 1 for dim in others)
    return index.dim() > 1 and index.stride(0) > 0 and repeated


def _of_rows(source: Tensor) -> int:
    """A row of float32 numbers for each thread."""
    return FLOAT * processor.threads() * (source.numel() // len(source))


def _scatter_reduced(args: Sequence[Any], out: Tensor) -> int:
    """As they are added up; for a mean ones like the result and like what is scattered, which are counted."""
    halves = _scattered(args, out)
    if args[4] != "mean" or _by_rows(args, out):
        return halves
    not_reached = PLACE + min(FLOAT, int(out.element_size())) + out.numel()
    return int(out.nbytes + args[3].nbytes) + max(halves, not_reached)


def _index_reduced(args: Sequence[Any], out: Tensor) -> int:
    """The same for slices; without a mean they are reduced one by one."""
    if args[4] != "mean":
        return 0
    not_reached = PLACE + min(FLOAT, int(out.element_size())) + out.numel() - int(args[3].nbytes)
    return int(out.nbytes + args[3].nbytes) + max(_scattered(args, out), not_reached)


def _chosen(args: Sequence[Any], out: Tensor) -> int:
    """The places at which a mask is true, where it is the only index."""
    masks = [(place, index) for place, index in enumerate(args[1]) if isinstance(index, Tensor)]
    if len(masks) != 1 or masks[0][1].dtype is not torch.bool:
        return 0
    place, mask = masks[0]
    return int(PLACE * mask.dim() * out.shape[place])


def _triangle(args: Sequence[Any], out: Tensor) -> int:
    """A copy of matrices that do not lie behind one another, whatever the order within them."""
    x = args[0]
    step = x.shape[-1] * x.shape[-2]
    for size, stride in reversed([*zip(x.shape[:-2], x.stride()[:-2], strict=True)]):
        if stride != step:
            return int(x.nbytes)
        step *= size
    return 0


def _smallest(args: Sequence[Any], out: Any) -> int:
    """A copy of the numbers, and the place of each."""
    return int(args[0].nbytes + PLACE * args[0].numel())


def _median(args: Sequence[Any], out: Any) -> int:
    """A copy of the numbers, where the median is of all of them."""
    return int(args[0].nbytes) if len(args) == 1 else 0


BY_OP: dict[str, Callable[[Sequence[Any], Any], int]] = {
    **dict.fromkeys(("scatter_add", "scatter_add_"), _scattered),
    **dict.fromkeys(("index_add", "index_add_"), _added_by_index),
    **dict.fromkeys(("scatter", "scatter_"), _set),
    "gather": _gathered,
    "scatter_reduce": _scatter_reduced,
    "index_reduce": _index_reduced,
    "index": _chosen,
    **dict.fromkeys(("triu", "tril"), _triangle),
    "kthvalue": _smallest,
    "median": _median,
}
"""By op: the bytes inside."""
