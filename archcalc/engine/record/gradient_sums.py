"""The sums that autograd makes of the gradients of one tensor, in place where it would on real tensors.

A tensor that is used several times gets several gradients. Autograd adds each to the first, in place, if nothing else
refers to that one. Under a dispatch mode, and on tensors without data, it always makes a new tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from archcalc.engine.meta.overlap_checks import dense
from archcalc.engine.record.entries import Entries
from archcalc.engine.torch_private import called_by_autograd, least_references, node_number, references, running_node

aten = torch.ops.aten
ADD = aten.add.Tensor
IN_PLACE = {
    id(ADD): aten.add_.Tensor,
    id(aten.scatter.src): aten.scatter_.src,
    id(aten.scatter.value): aten.scatter_.value,
    id(aten.scatter_add.default): aten.scatter_add_.default,
    id(aten.index_add.default): aten.index_add_.default,
    id(aten.index_put.default): aten.index_put_.default,
    id(aten.index_fill.int_Tensor): aten.index_fill_.int_Tensor,
    id(aten.masked_scatter.default): aten.masked_scatter_.default,
    id(aten.put.default): aten.put_.default,
}
"""Ops that autograd runs in place on real tensors, by their ids: its sums, and writes into the zeros of a node."""
REFERRED = {id(aten.index_put.default): 1}
"""References to the first argument that the node itself holds beside those of the call: it gets the zeros by value."""


class GradientSums:
    """Finds the sums among the ops of a backward pass."""

    def __init__(self, entries: Entries) -> None:
        self.entries = entries
        self._node: int | None = None
        self._there = 0
        self._alone = least_references()

    def follow(self) -> None:
        """Note which tensors are there when a node of autograd begins; called before each op."""
        node = running_node()
        number = None if node is None else node_number(node)
        if number != self._node:
            self._node, self._there = number, len(self.entries.tensors)

    def in_place(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether an op of IN_PLACE writes into a tensor that nothing else refers to, called by autograd itself.

        Autograd adds between two nodes. A sum inside a node has a first argument that the node made itself, unless the
        node gives two gradients to one tensor.
        """
        if id(func) not in IN_PLACE or kwargs or torch.is_grad_enabled() or not called_by_autograd():
            return False
        first, second = args[:2]
        if func is not ADD:
            tensors, storages = self._alone
            alone = tensors + REFERRED.get(id(func), 0), storages
            return self.entries.tensor(first, "constant") >= self._there and references(first) == alone
        if len(args) != 2:
            return False
        if not isinstance(second, torch.Tensor) or first.shape != second.shape or not dense(first):
            return False
        if self.entries.tensor(first, "constant") >= self._there and not _gives_twice():
            return False
        return references(first) == self._alone


def _gives_twice() -> bool:
    """Whether the running node gives two gradients to one tensor, as that of x · x does."""
    node = running_node()
    to = [target for target in node.next_functions if target[0] is not None] if node is not None else []
    return len(set(to)) < len(to)
