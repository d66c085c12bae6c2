"""Where the elements of tensors lie in their storage: bytes of several tensors, elements that they share once.

A tensor covers a box of its storage: `x[1:]` and `x[:-1]` share all rows but one, `x` and `x.t()` are the same
elements, and the halves of a split share none.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise, product
from math import prod

from archcalc.tracing.records import Tensor, element_size

CELLS = 4096
"""The most cells of a grid that are looked at; beyond them the elements of the largest tensor are counted."""
Axes = tuple[tuple[int, int], ...]
"""Sizes and strides in bytes, the largest stride first, without axes that continue the next."""
View = tuple[int, Axes]
"""The byte at which a tensor begins, and its axes."""
Box = tuple[tuple[int, int], ...]
"""The first and the last but one place on each axis of a grid."""


def bytes_of_all(tensors: Sequence[Tensor]) -> int:
    """Bytes of the elements of some tensors, those that several of them hold once.

    Of tensors whose common elements cannot be told, such as windows that overlap, those of the largest count.

    >>> whole, rows = Tensor((10, 4), "float32", 0, (4, 1)), Tensor((8, 4), "float32", 0, (4, 1), 8)
    >>> turned = Tensor((4, 10), "float32", 0, (1, 4))
    >>> bytes_of_all([whole, turned]), bytes_of_all([whole, rows])  # 10·4 numbers of 4 bytes each time
    (160, 160)
    >>> half, other = Tensor((10, 2), "float32", 0, (4, 1)), Tensor((10, 2), "float32", 0, (4, 1), 2)
    >>> bytes_of_all([half, other]), bytes_of_all([half, half])
    (160, 80)
    """
    if len(tensors) == 1:
        return tensors[0].distinct_bytes
    return sum(bytes_by_storage(tensors).values())


def bytes_by_storage(tensors: Sequence[Tensor]) -> dict[int, int]:
    """The same bytes for each storage."""
    sizes = {tensor.storage: tensor.distinct_bytes for tensor in tensors}
    if len(sizes) == len(tensors):
        return sizes
    places: dict[int, dict[object, Tensor]] = defaultdict(dict)
    for tensor in tensors:
        places[tensor.storage][tensor.place] = tensor
    return {storage: _together(list(different.values())) for storage, different in places.items()}


def _together(tensors: Sequence[Tensor]) -> int:
    """Bytes of tensors that lie in one storage."""
    if len(tensors) == 1:
        return tensors[0].distinct_bytes
    if any(tensor.strides is None for tensor in tensors):
        return sum([tensor.distinct_bytes for tensor in tensors])
    views = tuple(sorted({_view(tensor) for tensor in tensors}))
    return max(_union(views), *(tensor.distinct_bytes for tensor in tensors))


def _view(tensor: Tensor) -> View:
    size = element_size(tensor.dtype)
    return tensor.offset * size, _axes(tensor.shape, tensor.strides or (), size)


@lru_cache(4096)
def _axes(shape: Sequence[int], strides: Sequence[int], size: int) -> Axes:
    if not prod(shape):
        return ((0, 1),)
    given = [(n, stride * size) for n, stride in zip(shape, strides, strict=True) if n > 1 and stride]
    axes: list[tuple[int, int]] = []
    for n, stride in sorted([*given, (size, 1)], key=lambda axis: (-axis[1], axis[0])):
        if axes and axes[-1][1] == n * stride:
            axes[-1] = axes[-1][0] * n, stride
        else:
            axes.append((n, stride))
    return tuple(axes)


@lru_cache(4096)
def _union(views: tuple[View, ...]) -> int:
    """Bytes that the views cover; 0 if they are no boxes of one grid."""
    strides = sorted({stride for _, axes in views for _, stride in axes}, reverse=True)
    if any(wide % narrow for wide, narrow in pairwise(strides)):
        return 0
    boxes = [_box(begin, axes, strides) for begin, axes in views]
    found = [box for box in boxes if box is not None]
    return _volume(found) if len(found) == len(boxes) else 0


def _box(begin: int, axes: Axes, strides: Sequence[int]) -> Box | None:
    """The places that a view covers on each axis of a grid; None if it runs over the end of an axis."""
    sizes, box = {stride: size for size, stride in axes}, []
    if len(sizes) < len(axes):
        return None
    rests = [wide // narrow for wide, narrow in pairwise(strides)]
    carried = 1  # places of the axes above that are left to fill
    for place in range(len(strides) - 1, -1, -1):
        stride = strides[place]
        room = rests[place - 1] if place else 0
        first = begin // stride % room if room else begin // stride
        size = sizes.get(stride, 1) * carried
        carried = 1
        if room and first + size > room:
            if first or size % room:
                return None
            size, carried = room, size // room
        box.append((first, first + size))
        if carried > 1 and strides[place - 1] in sizes:
            return None
    return tuple(box)


def _volume(boxes: Sequence[Box]) -> int:
    """Places in the boxes, those in several once; 0 if the grid of their borders has too many cells."""
    borders = [sorted({edge for box in boxes for edge in box[axis]}) for axis in range(len(boxes[0]))]
    if prod(len(edges) - 1 for edges in borders) > CELLS:
        return 0
    covered: set[tuple[int, ...]] = set()
    for box in boxes:
        spans = [range(bisect_left(e, low), bisect_left(e, high)) for e, (low, high) in zip(borders, box, strict=True)]
        covered |= set(product(*spans))
    lengths = [[high - low for low, high in pairwise(edges)] for edges in borders]
    return sum(prod(lengths[axis][place] for axis, place in enumerate(cell)) for cell in covered)
