"""Which experts tokens are sent to, where a program asks: balanced, as no values of the router are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

BALANCED = "balanced routing, the same number of tokens for each expert,"
"""The origin of such values."""
CHOOSING = frozenset("topk argmax sort max".split())
"""Ops whose integers say which experts were chosen."""


def balanced(
    name: str, experts: frozenset[int], tensors: Sequence[Tensor], results: Sequence[Tensor]
) -> Iterator[tuple[Tensor, Tensor]]:
    """The integers among the results of an op that chooses among experts, each with values of balanced routing.

    An op chooses among experts if it works on the last axis of a tensor that has as many places as a model has experts.

    >>> tokens = torch.empty(4, 2, dtype=torch.int64, device="meta")
    >>> router = torch.empty(4, 8, device="meta")
    >>> [values.tolist() for _, values in balanced('topk', frozenset((8,)), [router], [tokens])]
    [[[0, 1], [2, 3], [4, 5], [6, 7]]]
    """
    if not experts or name not in CHOOSING or not tensors or not tensors[0].dim():
        return
    count = tensors[0].shape[-1]
    if count not in experts:
        return
    for result in results:
        if result.dtype is not torch.int64 or result.shape[: tensors[0].dim() - 1] != tensors[0].shape[:-1]:
            continue
        if name == "sort":
            first = torch.arange(result.numel() // count)[:, None]
            yield result, ((first + torch.arange(count)) % count).reshape(result.shape)
        else:
            yield result, (torch.arange(result.numel()) % count).reshape(result.shape)
