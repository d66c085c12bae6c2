"""Bytes inside ops that torch's CPU kernels compute by several others, one after the other.

Each function lists what the kernel allocates, in order, and what it gives back as a number below zero; `inside` adds
them up to the most that is live at once. The orders follow ATen and were compared with the allocator's events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.devices import matrix_products, processor
from archcalc.engine.devices.onednn_convolutions import highest
from archcalc.engine.meta.shape_rules import broadcast
from archcalc.engine.torch_private import storage_key

PLACE = 8
"""Bytes of the place of an element."""
SHARED = 32_768
"""Numbers from which torch shares an elementwise op among threads."""
Changes = Callable[[Sequence[Any], Any], Iterable[int]]
"""From an op's arguments and its result to the bytes allocated and given back, the result's own among them."""


def inside(name: str, args: Sequence[Any], out: Any) -> int:
    """Bytes that such an op holds at its highest beside its results; 0 where the results alone are the highest."""
    results = [out] if isinstance(out, Tensor) else [tensor for tensor in out if isinstance(tensor, Tensor)]
    return max(0, highest(BY_OP[name](args, out)) - sum(tensor.nbytes for tensor in results))


# ---- trilinear -----------------------------------------------------------------------------------


def _trilinear(args: Sequence[Any], out: Tensor) -> Iterable[int]:
    """The sum of a product of three tensors along one dimension: each part is a product of two by the third.

    Every part has the same shapes, so that the first one has the highest sum.
    """
    *expanded, summed = (tuple(value) for value in args[3:7])
    along = args[7] if len(args) > 7 else 1
    dims = args[0].dim() + len(expanded[0])
    a, b, c = (_spread(tensor, where) for tensor, where in zip(args[:3], expanded, strict=True))
    if not (a.numel() and b.numel() and c.numel()):
        return [out.nbytes]
    a, b, c = (tensor.narrow(along, 0, 1) for tensor in (a, b, c))
    only_two = [dim for dim in range(dims) if dim in summed and dim != along and dim in expanded[2]]
    with_third = [dim for dim in range(dims) if dim in summed and dim != along and dim not in expanded[2]]
    pair, of_pair = _product(a, b, only_two)
    part, of_part = _product(pair, c, with_third)
    return [out.nbytes, *of_pair, *of_part, -pair.nbytes, -part.nbytes]


def _spread(tensor: Tensor, where: Sequence[int]) -> Tensor:
    """The tensor with new dimensions of size 1."""
    for dim in sorted(where):
        tensor = tensor.unsqueeze(dim)
    return tensor


def _product(left: Tensor, right: Tensor, summed: Sequence[int]) -> tuple[Tensor, list[int]]:
    """The product of two tensors of as many dimensions, added up along some of them, and the bytes on the way.

    Without a sum it is elementwise, with one a product of matrices: a dimension is of both, of one of them, or summed.
    What is summed and has one operand alone is added up before; operands that are no matrices in memory are copied.
    """
    if not summed:
        out = _empty(left, [max(sizes) for sizes in zip(left.shape, right.shape, strict=True)])
        return out, [out.nbytes]
    first, of_first = _summed_alone(left, right, summed)
    second, of_second = _summed_alone(right, left, summed)
    kept = [dim for dim in range(left.dim()) if dim not in summed]
    both = [dim for dim in kept if first.shape[dim] != 1 and second.shape[dim] != 1]
    rows = [dim for dim in kept if first.shape[dim] != 1 and second.shape[dim] == 1]
    columns = [dim for dim in kept if first.shape[dim] == 1]
    if prod(second.shape[dim] for dim in columns) == 1:  # a single column is computed as a single row
        first, second, rows, columns = second, first, columns, rows
    operands = [_as_matrices(first, (both, rows, summed)), _as_matrices(second, (both, summed, columns))]
    copies = [matrices.nbytes for matrices, copied in operands if copied]
    out = _empty(left, [1 if d in summed else max(first.shape[d], second.shape[d]) for d in range(left.dim())])
    scratch = matrix_products.of_batches(*(matrices for matrices, _ in operands))
    given_back = -sum((*of_first, *of_second, *copies))
    return out, [*of_first, *of_second, *copies, out.nbytes, scratch, -scratch, given_back]


def _summed_alone(tensor: Tensor, other: Tensor, summed: Sequence[int]) -> tuple[Tensor, list[int]]:
    """The tensor added up along what the other has not, and the bytes of that, dimension by dimension."""
    sizes, made = list(tensor.shape), []
    for dim in summed:
        if tensor.shape[dim] != 1 and other.shape[dim] == 1:
            sizes[dim] = 1
            made.append(prod(sizes) * tensor.element_size())
    changes = [change for before, now in zip([0, *made], made, strict=False) for change in (now, -before)]
    return (_empty(tensor, sizes) if made else tensor), changes


def _as_matrices(tensor: Tensor, groups: Sequence[Sequence[int]]) -> tuple[Tensor, bool]:
    """The tensor as batches of matrices whose three dimensions are groups of its own, and whether that is a copy."""
    dims = [dim for group in groups for dim in group]
    rest = [dim for dim in range(tensor.dim()) if dim not in dims]
    matrices = tensor.permute(*dims, *rest).reshape([prod(tensor.shape[dim] for dim in group) for group in groups])
    return matrices, storage_key(matrices.untyped_storage()) != storage_key(tensor.untyped_storage())


def _empty(like: Tensor, shape: Sequence[int]) -> Tensor:
    return torch.empty(tuple(shape), dtype=like.dtype, device="meta")


# ---- indices -------------------------------------------------------------------------------------


def _masked_index(args: Sequence[Any], out: Tensor) -> Iterable[int]:
    """The indices held within bounds, what they choose, the inverse mask, and the result."""
    return [*_bounded(args), out.nbytes, args[1].numel(), out.nbytes]


def _masked_put(args: Sequence[Any], out: Tensor) -> Iterable[int]:
    """The indices held within bounds, the inverse mask, which goes before the result comes, the masked values."""
    mask, values = args[1].numel(), args[3].nbytes
    return [*_bounded(args), mask, values, -mask, out.nbytes]


def _bounded(args: Sequence[Any]) -> Iterable[int]:
    return [index.nbytes for index in args[2] if isinstance(index, Tensor)]


def _unique(args: Sequence[Any], out: Sequence[Tensor]) -> Iterable[int]:
    """The sorted values and their places, the places of the sort alone, and the results.

    Where counts are asked for, the beginnings of the equal values and one end are held beside them.
    """
    x, (values, inverse, *counts) = args[0], out
    places = PLACE * x.numel()
    begins = [PLACE * (count.numel() + 1) for count in counts if count.numel()]
    results = [values.nbytes, inverse.nbytes, *(count.nbytes for count in counts)]
    return [x.nbytes, places, places, -places, *results, *begins]


def _unique_dim(args: Sequence[Any], out: Sequence[Tensor]) -> Iterable[int]:
    """The slices in their order, and the results."""
    return [args[0].nbytes, *(result.nbytes for result in out)]


def _masked_select(args: Sequence[Any], out: Tensor) -> Iterable[int]:
    """The count of what is chosen, for which the mask is added up as whole numbers; then the result.

    Several threads need the mask and the place of each number beside it, and so does a mask that is expanded.
    """
    x, mask = args[:2]
    places = PLACE * prod(broadcast(x.shape, mask.shape) or ())
    alone = x.shape == mask.shape and (x.numel() < SHARED or processor.threads() == 1)
    return [PLACE, places, -places - PLACE, out.nbytes, *([] if alone else [2 * places])]


BY_OP: dict[str, Changes] = {
    "_trilinear": _trilinear,
    "_unsafe_masked_index": _masked_index,
    "_unsafe_masked_index_put_accumulate": _masked_put,
    "_unique": _unique,
    "_unique2": _unique,
    "unique_dim": _unique_dim,
    "masked_select": _masked_select,
}
