"""Values that are known of a part of a tensor: of one joined from known and unknown ones, until the part is cut out.

A program packs a mask beside unknown numbers, cuts it out again and asks for its values. Most joins are never cut so:
values are computed when a cut holds known ones alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.meta.call_arguments import Op, tensors_of
from archcalc.engine.torch_private import version

JOINS = frozenset(("cat",))
CUTS = frozenset("slice select split split_with_sizes unbind unsqueeze squeeze transpose permute".split())
"""Ops whose results hold elements of their first argument, whatever these are."""
IN_PARTS = JOINS | CUTS
LARGEST = 1 << 22
"""Elements of the largest joined tensor that is followed."""
ATTRIBUTE = "archcalc_parts"
"""The attribute of a tensor without data that holds what is known of its part, and its version then."""
DEEPEST = 32
"""Joins and cuts behind one another whose values wait: those of longer chains are computed at once."""


@dataclass(frozen=True)
class _Part:
    """The known values of a tensor, computed when they are asked for, and a mask of the elements that are known.

    The mask is expanded where it does not change along an axis. No tensor of the run is held.
    """

    values: Callable[[], Tensor]
    mask: Tensor
    depth: int = 0

    @classmethod
    def of(cls, values: Callable[[], Tensor], mask: Tensor, depth: int) -> _Part:
        """A part behind a chain of so many others; its values are computed once."""
        values, deep = cache(values), depth >= DEEPEST
        if deep:
            values()
        return cls(values, mask, 0 if deep else depth)


def parts_known(
    op: Op, args: Sequence[Any], kwargs: Mapping[str, Any], results: Sequence[Tensor], of: Callable[[Tensor], Any]
) -> Iterator[tuple[Tensor, Tensor]]:
    """The results of a join or a cut that are known as a whole, each with its values; `of` gives those of a tensor.

    Results that are known in part keep this with them.
    """
    if op.name in JOINS:
        if results[0].numel() > LARGEST or not any(_tells(piece, of(piece)) for piece in args[0]):
            return
        made = [_joined(op, [_whole(piece, of(piece)) for piece in args[0]], args[1:], kwargs, results[0].dim())]
    elif op.name in CUTS and (part := _part(args[0])) is not None:
        made = list(_cut(op, part, args[1:], kwargs))
    else:
        return
    for result, part in zip(results, made, strict=True):
        known = _slim(part.mask)
        if bool(known.all()):
            yield result, part.values()
        elif bool(known.any()):
            setattr(result, ATTRIBUTE, (part, version(result)))


def _joined(op: Op, pieces: list[_Part], rest: Sequence[Any], kwargs: Mapping[str, Any], rank: int) -> _Part:
    """The parts of the pieces of a join, one behind the other."""
    along = (rest[0] if rest else kwargs.get("dim", 0)) % rank
    masks = [piece.mask for piece in pieces if piece.mask.dim() == rank]  # cat takes an empty list of any rank
    slim = [_slim(mask, along) for mask in masks]
    sides = [max(mask.shape[axis] for mask in slim) for axis in range(rank)]
    wide = [mask.expand([*sides[:along], mask.shape[along], *sides[along + 1 :]]) for mask in slim]
    joined = torch.cat(wide, along)
    shape = [*masks[0].shape[:along], joined.shape[along], *masks[0].shape[along + 1 :]]
    depth = 1 + max(piece.depth for piece in pieces)
    return _Part.of(
        lambda: op.overload([piece.values() for piece in pieces], *rest, **kwargs), joined.expand(shape), depth
    )


def _cut(op: Op, part: _Part, rest: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[_Part]:
    """The parts of each result of a cut."""

    def values(place: int) -> Tensor:
        return list(tensors_of((op.overload(part.values(), *rest, **kwargs),)))[place]

    for place, mask in enumerate(tensors_of((op.overload(part.mask, *rest, **kwargs),))):
        yield _Part.of(partial(values, place), mask, part.depth + 1)


def _slim(mask: Tensor, along: int = -1) -> Tensor:
    """A mask without the repetitions of its expanded axes, but for one that is wanted as it is."""
    for axis, stride in enumerate(mask.stride()):
        if not stride and axis != along:
            mask = mask.narrow(axis, 0, min(1, mask.shape[axis]))
    return mask


def _tells(piece: Tensor, values: Tensor | None) -> bool:
    """Whether something is known of a piece; a cache begins as one without elements, of which nothing is."""
    return piece.numel() > 0 and (values is not None or _part(piece) is not None)


def _whole(piece: Tensor, values: Tensor | None) -> _Part:
    """A piece of a join as a part: all of it is known, a part is, or nothing; zeros stand for unknown elements."""
    if values is None and (part := _part(piece)) is not None:
        return part
    mask = torch.full((1,) * piece.dim(), values is not None).expand(piece.shape)
    if values is not None:
        told = values.clone()  # a program may write to them before they are asked for
        return _Part(lambda: told, mask)
    shape, dtype = piece.shape, piece.dtype
    return _Part(lambda: torch.zeros(shape, dtype=dtype), mask)


def _part(tensor: Tensor) -> _Part | None:
    """The known part of a tensor; None if nothing is known, or if an op wrote to the tensor since."""
    kept: tuple[_Part, int] | None = getattr(tensor, ATTRIBUTE, None)
    return kept[0] if kept is not None and kept[1] == version(tensor) else None
