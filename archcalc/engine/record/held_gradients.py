"""Activations and their gradients that are held until the backward pass ends, as LuaTorch's modules hold theirs.

PyTorch frees what autograd keeps, and the gradient of an activation, where the last node that reads it has run. In
LuaTorch each module owns the buffers of its output and of its gradient: all of them are there when backward ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

VIEWS_AND_COPIES = frozenset(
    f"{name}Backward0"
    for name in "T Transpose Permute View UnsafeView Expand Slice Select Unsqueeze Squeeze Clone ToCopy".split()
)
"""Nodes whose result, made of a parameter alone, is that parameter again: its gradient is the parameter's own."""


class HeldGradients:
    """Holds what autograd keeps, and the gradient of each tensor that forward made, until `release`.

    A gradient is held from where it is complete, and `note` is called with it. One that is a view of another holds the
    same bytes as that one.
    """

    def __init__(self, note: Callable[[Tensor], None] = lambda gradient: None) -> None:
        self.note = note
        self._held: list[Tensor] = []

    def keep(self, tensor: Tensor) -> None:
        """Hold a tensor that autograd keeps."""
        self._held.append(tensor)

    def watch(self, loss: Tensor) -> None:
        """Hold the gradients of all tensors that the loss was computed from, leaves apart."""
        for node in _nodes(loss.grad_fn):
            if not _of_a_parameter(node):
                node.register_prehook(self._hold)

    def release(self) -> None:
        """Hold none of them any more."""
        self._held.clear()

    def _hold(self, gradients: tuple[Tensor | None, ...]) -> None:
        for gradient in gradients:
            if gradient is not None:
                self._held.append(gradient)
                self.note(gradient)


def _nodes(last: Any) -> Iterator[Any]:
    """All nodes of autograd below a node, each once."""
    seen, waiting = {last}, [last]
    while waiting:
        node = waiting.pop()
        yield node
        following = {below for below, _ in node.next_functions if below is not None} - seen
        seen |= following
        waiting += following


def _of_a_parameter(node: Any) -> bool:
    """Whether a node adds up a leaf's gradient, or made a view or a copy of a leaf."""
    while node.name() in VIEWS_AND_COPIES and len(node.next_functions) == 1:
        node = node.next_functions[0][0]
        if node is None:
            return False
    return hasattr(node, "variable")
