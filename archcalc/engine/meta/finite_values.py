"""Numbers that are not known are taken to be finite, where a program asks: it would clamp what overflowed.

`torch.isfinite(x)` arrives as two comparisons, with itself and with infinity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.meta.call_arguments import Op
from archcalc.engine.meta.uniform_values import Uniform

FINITE = "numbers taken to be finite"
"""The origin of such values."""
NOT_FINITE = frozenset("isinf isnan".split())
COMPARED = {"eq": True, "ne": False}
"""The answer where a finite number is compared with itself. Compared with infinity, it gets the opposite answer."""
ASKED = NOT_FINITE | COMPARED.keys()
"""Ops that ask whether numbers are finite, by some of their arguments."""
LOGIC = frozenset("mul bitwise_not logical_not bitwise_and bitwise_or logical_and logical_or all any".split())
"""Ops that make one truth value of one, or of two, however often these are repeated."""


def taken_finite(op: Op, args: Sequence[Any], results: Sequence[Tensor]) -> Uniform | None:
    """The truth values of an op that asks whether numbers are finite; None for any other op.

    >>> from archcalc.engine.meta.call_arguments import op_of
    >>> x = torch.empty(2, 3, device="meta")
    >>> taken_finite(op_of(torch.ops.aten.ne.Scalar), (x, inf), [x]).tensor.tolist()
    [[True, True, True], [True, True, True]]
    """
    truth = _truth(op.name, args)
    return None if truth is None else Uniform(torch.tensor(truth), results[0].shape)


def combined(op: Op, args: Sequence[Any], results: Sequence[Tensor], held: Callable[[Tensor], Any]) -> Uniform | None:
    """An op's result, if it combines truth values of which each is the same for all elements; None for anything else.

    `held` gives what is known of a tensor. Nothing of the tensor's size is made.
    """
    if op.name not in LOGIC or not all(isinstance(value, Tensor) and value.numel() for value in args):
        return None
    truths = [held(value) for value in args]
    if not all(isinstance(t, Uniform) and not t.made and t.element.dtype is torch.bool for t in truths):
        return None
    return Uniform(op.overload(*[t.element for t in truths]), results[0].shape)


def _truth(name: str, args: Sequence[Any]) -> bool | None:
    if name in NOT_FINITE:
        return False
    if name in COMPARED and len(args) > 1 and args[0].is_floating_point():
        if args[1] is args[0]:
            return COMPARED[name]
        if type(args[1]) is float and args[1] == inf:
            return not COMPARED[name]
    return None
