"""Values that are known of a part of a tensor: of one joined from known and unknown ones, until the part is cut out.

A program packs a mask beside unknown numbers, cuts it out again and asks for its values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.meta.call_arguments import Op, tensors_of
from archcalc.engine.torch_private import version, with_tensors_changed

JOINS = frozenset(("cat",))
CUTS = frozenset("slice select split split_with_sizes unbind unsqueeze squeeze transpose permute".split())
"""Ops whose results hold elements of their first argument, whatever these are."""
IN_PARTS = JOINS | CUTS
LARGEST = 1 << 22
"""Elements of the largest joined tensor that is followed."""
ATTRIBUTE = "archcalc_parts"
"""The attribute of a tensor without data that holds the values of its known part, a mask of it, and its version."""


def parts_known(
    op: Op, args: Sequence[Any], kwargs: Mapping[str, Any], results: Sequence[Tensor], of: Callable[[Tensor], Any]
) -> Iterator[tuple[Tensor, Tensor]]:
    """The results of a join or a cut that are known as a whole, each with its values; `of` gives those of a tensor.

    Results that are known in part keep this with them.
    """
    if op.name in JOINS:
        if results[0].numel() > LARGEST or all(of(piece) is None and _part(piece) is None for piece in args[0]):
            return
        values, known = _applied(op, args, kwargs, lambda piece: _whole(piece, of(piece)))
    elif op.name in CUTS and (part := _part(args[0])) is not None:
        values, known = _applied(op, args, kwargs, lambda _: part)
    else:
        return
    for result, value, mask in zip(results, values, known, strict=True):
        if bool(mask.all()):
            yield result, value
        elif bool(mask.any()):
            setattr(result, ATTRIBUTE, (value, mask, version(result)))


def _applied(
    op: Op, args: Sequence[Any], kwargs: Mapping[str, Any], of: Callable[[Tensor], tuple[Tensor, Tensor]]
) -> tuple[list[Tensor], list[Tensor]]:
    """The results of an op on values, and those on masks of what is known of them."""
    given = (tuple(args), dict(kwargs))
    value_args, value_kwargs = with_tensors_changed(given, lambda tensor: of(tensor)[0])
    mask_args, mask_kwargs = with_tensors_changed(given, lambda tensor: of(tensor)[1])
    values, masks = op.overload(*value_args, **value_kwargs), op.overload(*mask_args, **mask_kwargs)
    return list(tensors_of((values,))), list(tensors_of((masks,)))


def _whole(piece: Tensor, values: Tensor | None) -> tuple[Tensor, Tensor]:
    """The values of a tensor and the mask of its known part; zeros for values that are unknown."""
    part = _part(piece) if values is None else None
    if part is not None:
        return part
    known = torch.full(piece.shape, values is not None)
    return torch.zeros(piece.shape, dtype=piece.dtype) if values is None else values, known


def _part(tensor: Tensor) -> tuple[Tensor, Tensor] | None:
    """The values of a tensor's known part and its mask; None if no part is known, or if an op wrote to it since."""
    kept: tuple[Tensor, Tensor, int] | None = getattr(tensor, ATTRIBUTE, None)
    return kept[:2] if kept is not None and kept[2] == version(tensor) else None
