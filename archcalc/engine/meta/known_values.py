"""Values that do not come from weights or inputs: positions, masks and counts that a forward makes from numbers alone.

Such small tensors are computed for real beside the run, so that a forward may ask for them: `if mask.all():`.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.torch_private import op_name, schema, storage_key, with_tensors_changed

LIMIT = 1 << 22
"""Elements of the largest tensor that is followed."""
FILLED = frozenset("zeros_like ones_like full_like new_zeros new_ones new_full".split())
"""Factories that take a tensor for its shape and not for its values."""
UNDEFINED = frozenset("empty empty_like empty_strided new_empty new_empty_strided empty_permuted".split())


class Constants:
    """The known values by tensor; they go with it."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Tensor], Tensor]] = {}

    def of(self, tensor: Tensor) -> Tensor | None:
        """The values of a tensor without data, where they are known."""
        known = self._known.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else None

    def answer(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], tensors: Iterable[Tensor]) -> Any:
        """The result of an op that needs values, or NotImplemented if one of them is unknown.

        Tensors come back without data, their values known.
        """
        if any(t.is_meta and self.of(t) is None for t in tensors):
            return NotImplemented
        real_args, real_kwargs = with_tensors_changed((args, dict(kwargs)), self._real)
        values = func(*real_args, **real_kwargs)
        return with_tensors_changed(values, self._hidden)

    def follow(
        self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], tensors: Sequence[Tensor], out: Any
    ) -> None:
        """Note the values of an op's outputs where all of its inputs' are known; forget what it overwrites."""
        name = op_name(func)
        several = out if isinstance(out, list | tuple) else (out,)
        results = [output for output in several if isinstance(output, Tensor)]
        from_shape = name in FILLED
        if not from_shape and any(t.is_meta and self.of(t) is None for t in tensors):
            if schema(func).is_mutable:
                self._forget(args)
            return
        if not results or name in UNDEFINED or torch.Tag.nondeterministic_seeded in func.tags:
            return
        if any(not r.is_meta or r.numel() > LIMIT for r in results):
            return
        hide = _empty_like if from_shape else self._real
        with contextlib.suppress(Exception):  # a rule of a real kernel that the one without data does not have
            computed = func(
                *with_tensors_changed(args, hide), **{**with_tensors_changed(dict(kwargs), hide), **_on_cpu(kwargs)}
            )
            values = (computed,) if isinstance(computed, Tensor) else tuple(computed)
            for result, value in zip(results, values, strict=True):
                self.note(result, value)

    def _real(self, tensor: Tensor) -> Tensor:
        known = self.of(tensor)
        return tensor if known is None else known

    def _hidden(self, value: Tensor) -> Tensor:
        hidden = value.to("meta")
        self.note(hidden, value)
        return hidden

    def note(self, tensor: Tensor, value: Tensor) -> None:
        """Keep the values of a tensor without data."""
        key = id(tensor)
        if self.of(tensor) is None:
            self._known[key] = weakref.ref(tensor, lambda _: self._known.pop(key, None)), value

    def _forget(self, args: Sequence[Any]) -> None:
        """Forget the known values of an op's first argument, and of all tensors that share its storage."""
        if not args or not isinstance(args[0], Tensor):
            return
        storage = storage_key(args[0])
        for key, (reference, _) in list(self._known.items()):
            tensor = reference()
            if tensor is None or storage_key(tensor) == storage:
                self._known.pop(key, None)


def _empty_like(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype)


def _on_cpu(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {"device": "cpu"} if "device" in kwargs else {}
