"""How the elements of tensors without data lie: the layouts for which shape rules know that of the result."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def plain(*tensors: Any) -> bool:
    """Whether all are meta tensors in the usual order, or halves of such along dimension 1 (None counts as absent).

    What is computed from them is contiguous. The stride of a dimension of size 1 means nothing.
    """
    return all(t is None or (t.is_meta and (t.is_contiguous() or _rows(t))) for t in tensors)


def _rows(tensor: Tensor) -> bool:
    """Whether the elements of each entry of dimension 0 lie in the usual order, with gaps only between the entries."""
    if tensor.dim() < 2:
        return False
    usual = 1
    for size, stride in zip(reversed(tensor.shape[1:]), reversed(tensor.stride()[1:]), strict=True):
        if size > 1 and stride != usual:
            return False
        usual *= size
    return tensor.stride(0) >= usual


def repeated(tensor: Tensor) -> bool:
    """Whether it is a meta tensor in the usual order, expanded along some dimensions."""
    usual = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.stride()), strict=True):
        if size > 1 and stride not in (0, usual):
            return False
        usual *= size if stride else 1
    return tensor.is_meta


def ordered(tensor: Any) -> bool:
    """Whether it is plain, or a meta tensor with its dimensions in the usual order and gaps between the elements.

    What is computed element by element from such tensors is contiguous.
    """
    if plain(tensor):
        return True
    below = 0
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.stride()), strict=True):
        if size > 1:
            if stride <= below:
                return False
            below = stride
    return bool(tensor.is_meta)
