"""Numbers that are not known are taken to be finite, where a program asks: it would clamp what overflowed.

A question is a comparison with an infinity, or of a tensor with itself: `torch.isfinite(x)` arrives as both. Any finite
number answers it. It is not answered for numbers among which the program itself wrote an infinity, as masks do.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isinf
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.meta.call_arguments import Op
from archcalc.engine.meta.uniform_values import Uniform
from archcalc.engine.torch_private import storage_key, version

FINITE = "numbers taken to be finite"
"""The origin of such values."""
QUESTIONS = frozenset("isinf isnan isposinf isneginf".split())
COMPARISONS = frozenset("eq ne lt le gt ge".split())
ASKED = QUESTIONS | COMPARISONS
"""Ops that ask whether numbers are finite, by some of their arguments."""
LOGIC = frozenset("mul bitwise_not logical_not bitwise_and bitwise_or logical_and logical_or all any".split())
"""Ops that make one truth value of one, or of two, however often these are repeated."""
BOUNDED = frozenset(
    """
    _softmax _safe_softmax _scaled_dot_product_efficient_attention _scaled_dot_product_flash_attention
    _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_cudnn_attention
    _scaled_dot_product_fused_attention_overrideable atan clamp clamp_max clamp_min clip exp exp2 hardsigmoid hardtanh
    logsumexp max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices nan_to_num sigmoid
    softmax tanh
    """.split()
)
"""Ops that make finite numbers of the infinities that programs write: of hidden scores, and of padding."""

Held = Callable[[Tensor], "Tensor | Uniform | None"]
"""A function that gives the known values of a tensor; None if they are unknown."""


class WrittenInfinities:
    """The storages among whose unknown numbers a program itself wrote an infinity: `scores.masked_fill(mask, -inf)`.

    What is made of them may hold one, too, except by ops that are BOUNDED.
    """

    def __init__(self) -> None:
        self._storages: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._looked_through: dict[int, tuple[weakref.ref[torch.UntypedStorage], int, bool]] = {}

    def among(self, tensors: Iterable[Tensor]) -> bool:
        """Whether one of some tensors may hold such an infinity."""
        return bool(self._storages) and any(storage_key(tensor) in self._storages for tensor in tensors)

    def follow(
        self,
        op: Op,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        tensors: Sequence[Tensor],
        results: Sequence[Tensor],
        held: Held,
    ) -> None:
        """Note the results of an op that writes an infinity, or is given one, among numbers that are unknown."""
        numbers = [result for result in results if result.is_floating_point() or result.is_complex()]
        if not numbers or op.name.removesuffix("_") in BOUNDED:
            return
        written = _infinite_number(args, kwargs) or self.among(tensors)
        if written or any(self._holds(held(tensor)) for tensor in tensors):
            for result in numbers:
                self._note(result.untyped_storage())

    def learn(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], tensors: Sequence[Tensor], value: Tensor, held: Held
    ) -> None:
        """Take it that known values hold an infinity where the op that made them was given one number that is one.

        Masks are made so, for each layer anew: they need not be looked through.
        """
        one = (tensor for tensor in tensors if tensor.dim() == 0)
        if value.is_floating_point() and (_infinite_number(args, kwargs) or any(self._holds(held(t)) for t in one)):
            self._keep(value, holds=True)

    def _holds(self, known: Tensor | Uniform | None) -> bool:
        """Whether an infinity is among known values; each storage is looked through once."""
        values = _values(known)
        if values is None or not values.is_floating_point():
            return False
        storage, key = values.untyped_storage(), storage_key(values)
        _, as_of, holds = self._looked_through.get(key, (None, None, False))
        if as_of != version(values):
            every = values.as_strided((storage.nbytes() // values.element_size(),), (1,), 0)
            holds = bool(every.isinf().any())
            self._keep(values, holds)
        return holds

    def _keep(self, values: Tensor, holds: bool) -> None:
        key = storage_key(values)
        gone = weakref.ref(values.untyped_storage(), lambda _: self._looked_through.pop(key, None))
        self._looked_through[key] = gone, version(values), holds

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage_key(storage)
        self._storages[key] = weakref.ref(storage, lambda _: self._storages.pop(key, None))


def _infinite_number(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    return any(type(value) is float and isinf(value) for value in (*args, *kwargs.values()))


def taken_finite(op: Op, args: Sequence[Any], results: Sequence[Tensor], held: Held) -> Uniform | None:
    """The truth values of an op that asks whether numbers are finite; None for any other op.

    >>> from math import inf
    >>> from archcalc.engine.meta.call_arguments import op_of
    >>> x = torch.empty(2, 3, device="meta")
    >>> taken_finite(op_of(torch.ops.aten.ne.Scalar), (x, inf), [x], lambda _: None).tensor.tolist()
    [[True, True, True], [True, True, True]]
    """
    if op.name in QUESTIONS or (op.name in COMPARISONS and len(args) > 1 and args[0] is args[1]):
        asked = [torch.zeros((), dtype=args[0].dtype)] * len(args)
    elif op.name in COMPARISONS and len(args) > 1:
        infinities = [_infinity(value, held) for value in args[:2]]
        if sum(value is None for value in infinities) != 1:
            return None
        asked = [torch.zeros((), dtype=a.dtype) if i is None else i for a, i in zip(args, infinities, strict=False)]
    else:
        return None
    return Uniform(op.overload(*asked), results[0].shape)


def combined(op: Op, args: Sequence[Any], results: Sequence[Tensor], held: Held) -> Uniform | None:
    """An op's result, if it combines truth values of which each is the same for all elements; None for anything else.

    Nothing of the tensor's size is made.
    """
    if op.name not in LOGIC or not all(isinstance(value, Tensor) and value.numel() for value in args):
        return None
    known = [held(value) for value in args]
    truths = [t for t in known if isinstance(t, Uniform) and not t.made and t.element.dtype is torch.bool]
    if len(truths) < len(known):
        return None
    return Uniform(op.overload(*[t.element for t in truths]), results[0].shape)


def _infinity(value: Any, held: Held) -> Any:
    """The infinity that a number or all elements of a tensor are; None for all other values, and unknown ones."""
    if not isinstance(value, Tensor):
        return value if type(value) is float and isinf(value) else None
    values = _values(held(value) if value.is_meta else value)
    if values is None or not values.is_floating_point() or not values.numel():
        return None
    first = values.reshape(-1)[0]
    return first if first.isinf() and bool((values == first).all()) else None


def _values(known: Tensor | Uniform | None) -> Tensor | None:
    """Known values, one element for many that are equal."""
    if not isinstance(known, Uniform):
        return known
    return known.tensor if known.made else known.element
