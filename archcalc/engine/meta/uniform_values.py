"""Large tensors whose elements are one number, such as the state that an optimizer begins with: made when asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.meta.call_arguments import Op

LARGE = 1 << 12
"""Elements from which a tensor is kept as one number."""
FILLS = frozenset("zeros_like ones_like full_like".split())
SCALED = frozenset("mul mul_".split())
"""Ops that, with a number, make one number of one number."""
REDUCED = frozenset("any all".split())
"""Ops that make one truth value of all elements."""


class Uniform:
    """The values of a tensor: one element, and the shape in which it is repeated."""

    def __init__(self, element: Tensor, shape: Sequence[int]) -> None:
        self.element, self.shape = element, shape
        self._made: Tensor | None = None

    @property
    def made(self) -> bool:
        """Whether the tensor was made: its elements may differ from then on."""
        return self._made is not None

    @property
    def tensor(self) -> Tensor:
        """The tensor, the same one every time."""
        if self._made is None:
            self._made = self.element.expand(self.shape).contiguous()
        return self._made


def filled(op: Op, args: Sequence[Any], kwargs: Mapping[str, Any], result: Tensor) -> Uniform | None:
    """What a factory fills a large tensor with; None for small ones and other ops."""
    if op.name not in FILLS or result.numel() < LARGE:
        return None
    like, *others = args
    real = {**kwargs, "device": "cpu"} if "device" in kwargs else kwargs
    return Uniform(op.overload(torch.empty(1, dtype=like.dtype), *others, **real), result.shape)


def scaled(op: Op, before: Uniform, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Uniform | None:
    """A uniform tensor times a number; None for other ops, and if its elements may differ."""
    if op.name not in SCALED or before.made or kwargs or not all(type(value) in (int, float) for value in args[1:]):
        return None
    return Uniform(op.overload(before.element.clone(), *args[1:]), before.shape)


def reduced(op: Op, before: Uniform, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Uniform | None:
    """Whether any or all elements of a uniform tensor are true; None for other ops, and along single axes."""
    if op.name not in REDUCED or before.made or len(args) > 1 or kwargs:
        return None
    return Uniform(before.element.any(), ())
