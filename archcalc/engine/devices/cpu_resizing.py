"""Bytes inside resized images, and inside ops that move their channels, on CPU.

Read off the allocator's events, each op by itself, with torch 2.13.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import ceil, prod
from typing import Any

from torch import Tensor

from archcalc.engine.devices.convolution_layout import FORMS

PLACE = 8
"""Bytes of the place of an element."""
SMALL_IMAGE = 128
"""Height and width together up to which an image is resized in channels-last order."""
FEW_CHANNELS = 3
"""Channels up to which a large image in channels-last order is resized as one in the usual order."""
OF_A_WINDOW = 4
"""Numbers that place a window: where it begins, its size, its stride and its weights."""
Bytes = Callable[[Sequence[Any], Any], int]


def _resized(places: int) -> Bytes:
    """For results whose elements are each made of so many places along each dimension."""

    def bytes_(args: Sequence[Any], out: Tensor) -> int:
        """A small image and its result in channels-last order; else a table of the places and of their weights."""
        x = args[0]
        if out.dim() == 4 and sum(out.shape[2:]) <= SMALL_IMAGE:
            return 0 if _last(x) else int(x.nbytes + (0 if _last(out) else out.nbytes))
        return 0 if _last(x) and x.shape[1] > FEW_CHANNELS else _tables(places, out)

    return bytes_


def _last(image: Tensor) -> bool:
    """Whether it lies in channels-last order, which for one channel is the usual one; a row does in none."""
    return image.dim() in FORMS and image.is_contiguous(memory_format=FORMS[image.dim()])


def _tables(places: int, out: Tensor) -> int:
    """A place and its weight for each element along each dimension."""
    return places * sum(out.shape[2:]) * (PLACE + out.element_size())


def _cubic(args: Sequence[Any], out: Tensor) -> int:
    """Four places for each element, in any order."""
    return _tables(4, out)


def _antialiased(reach: int) -> Bytes:
    """For windows that reach so far, in elements of the image or of the result, whichever are larger."""

    def bytes_(args: Sequence[Any], out: Tensor) -> int:
        """The image resized in width, and a table of one dimension's windows; a dimension that stays has none."""
        x, _, corners, *scales = args
        sizes = [*zip(x.shape[2:], out.shape[2:], [*scales, None, None][:2], strict=True)]
        high, wide = (
            _windows(reach, *size, bool(corners)) * out.element_size() + size[1] * OF_A_WINDOW * PLACE
            if size[0] != size[1]
            else 0
            for size in sizes
        )
        between = prod((*x.shape[:3], out.shape[3])) * out.element_size() if high and wide else 0
        return between + max(high, wide)

    return bytes_


def _windows(reach: int, before: int, after: int, scale: float | None, corners: bool) -> int:
    """The weights of all windows along a dimension."""
    step = before / after if scale is None or corners else 1 / scale
    if corners:
        step = (before - 1) / (after - 1) if after > 1 else 0.0
    return after * (ceil(reach * max(1.0, step)) * 2 + 1)


def _repeated(args: Sequence[Any], out: Tensor) -> int:
    """The numbers of the dimensions, those of the repeated ones, and both in the order of the result; none if empty."""
    return max(PLACE, 4 * PLACE * len(args[1])) if out.numel() else 0


BY_OP: dict[str, Bytes] = {
    "upsample_linear1d": _resized(2),
    "upsample_bilinear2d": _resized(2),
    "upsample_trilinear3d": _resized(2),
    **dict.fromkeys((f"upsample_nearest{dims}d" for dims in (1, 2, 3)), _resized(1)),
    **dict.fromkeys((f"_upsample_nearest_exact{dims}d" for dims in (1, 2, 3)), _resized(1)),
    "upsample_bicubic2d": _cubic,
    "_upsample_bilinear2d_aa": _antialiased(1),
    "_upsample_bicubic2d_aa": _antialiased(2),
    "repeat": _repeated,
}
"""By op: the bytes inside."""
