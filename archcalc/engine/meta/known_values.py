"""Values that are known beside a run on tensors without data, so that a forward may ask for them: `if mask.all():`.

Known are small tensors that a forward or a constructor makes from numbers alone: positions, masks, counts; integers
that a caller gives as inputs; small draws, which are seeded. With data (`--data`) weights and inputs have values too,
and every op is computed on them beside the run. The record does not depend on any of it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.meta.balanced_routing import BALANCED, balanced
from archcalc.engine.meta.call_arguments import Op, demand_dense, op_of, tensors_in, tensors_of
from archcalc.engine.meta.finite_values import ASKED, FINITE, WrittenInfinities, combined, taken_finite
from archcalc.engine.meta.joined_values import IN_PARTS, parts_known
from archcalc.engine.meta.own_draws import SEED, drawn
from archcalc.engine.meta.uniform_values import SCALED, Uniform, filled, scaled
from archcalc.engine.torch_private import storage_key, version, with_tensors_changed
from archcalc.engine.watch import Watch, unwatched
from archcalc.errors import DataLimit

LIMIT = 1 << 22
"""Elements of the largest tensor that is followed without data."""
DRAWN_LIMIT = 1 << 12
"""Elements of the largest draw that is followed without data."""
FILLED = frozenset("zeros_like ones_like full_like new_zeros new_ones new_full".split())
"""Factories that take a tensor for its shape and not for its values."""
UNDEFINED = frozenset("empty empty_like empty_strided new_empty new_empty_strided empty_permuted".split())
BY_PLACES = frozenset("masked_select index _unsafe_index".split())
"""Ops whose shape is in the values of the places that they pick, and not in those of what they pick from."""
ATTRIBUTE = "archcalc_values"
"""Where a tensor without data keeps the values that it had when it lost them, and its version then."""
DRAW = "a draw at random"
"""The origin of values that were drawn."""
NOT_ON_CPU = ("not implemented for", "Could not run", "could not run", "attempted to run this operator")
"""What torch says of an op that has no CPU kernel for these tensors."""


def keep(empty: Tensor, values: Tensor) -> None:
    """Leave values with a tensor that lost its elements."""
    setattr(empty, ATTRIBUTE, (values, version(empty)))


def kept(tensor: Tensor) -> Tensor | None:
    """The values that were left with a tensor; None if there are none or the tensor was written to since."""
    values, as_of = getattr(tensor, ATTRIBUTE, (None, 0))
    return values if values is not None and version(tensor) == as_of else None


class NeedsValues(Exception):
    """An op needs values of a tensor that has none; its argument is the op's name."""


@dataclass(frozen=True, slots=True)
class Values:
    """The values of a tensor without data, and what they come from where that is not the program alone."""

    held: Tensor | Uniform
    origins: frozenset[str] = frozenset()

    @property
    def tensor(self) -> Tensor:
        """The values; uniform ones are made here."""
        return self.held.tensor if isinstance(self.held, Uniform) else self.held


class KnownValues:
    """The known values by tensor; they go with it.

    With `data` every op is followed, up to `limit` bytes, and `watch` is called for each. Among `experts`, where the
    model has some, a choice by unknown values is taken as balanced.
    """

    def __init__(self, data: bool = False, seed: int = SEED, limit: int = 1 << 33, watch: Watch = unwatched) -> None:
        self.data, self.limit, self.watch = data, limit, watch
        self.generator = torch.Generator().manual_seed(seed)
        self.experts: frozenset[int] = frozenset()
        self.decided: set[str] = set()
        self.lost: dict[str, None] = {}
        self.held = 0
        self._infinities = WrittenInfinities()
        self._known: dict[int, tuple[weakref.ref[Tensor], Values]] = {}
        self._sharing: dict[int, set[int]] = {}
        self._storages: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._real: dict[int, tuple[weakref.ref[Tensor], frozenset[str]]] = {}

    def of(self, tensor: Tensor) -> Tensor | None:
        """The values of a tensor without data, where they are known."""
        known = self._known.get(id(tensor))
        return known[1].tensor if known is not None and known[0]() is tensor else None

    def _held(self, tensor: Tensor) -> Tensor | Uniform | None:
        return self._known[id(tensor)][1].held if self._knows(tensor) else None

    def _knows(self, tensor: Tensor) -> bool:
        known = self._known.get(id(tensor))
        return known is not None and known[0]() is tensor

    def _unknown(self, tensor: Tensor) -> bool:
        return tensor.is_meta and not self._knows(tensor)

    def _any_unknown(self, tensors: Iterable[Tensor]) -> bool:
        known = self._known
        for tensor in tensors:
            if tensor.is_meta:
                values = known.get(id(tensor))
                if values is None or values[0]() is not tensor:
                    return True
        return False

    def _origins(self, tensors: Iterable[Tensor]) -> frozenset[str]:
        """What the values of some tensors come from, tensors without data and real ones."""
        found: frozenset[str] = frozenset()
        for tensor in tensors:
            known = self._known.get(id(tensor))
            if known is not None and known[0]() is tensor:
                found |= known[1].origins
            real = self._real.get(id(tensor))
            if real is not None and real[0]() is tensor:
                found |= real[1]
        return found

    def answer(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], tensors: Sequence[Tensor]) -> Any:
        """The result of an op that needs values, or NotImplemented if one of them is unknown.

        Tensors come back without data, their values known.
        """
        deciding = tensors
        if op_of(func).name in BY_PLACES:  # the shape is in the places alone
            deciding = list(tensors_in(args[1:]))
        if self._any_unknown(deciding):
            return NotImplemented
        self.asked(deciding)
        if self._any_unknown(tensors):
            real_args, real_kwargs = with_tensors_changed((args, dict(kwargs)), self._with_values_or_zeros)
            return with_tensors_changed(func(*real_args, **real_kwargs), _hide)
        real_args, real_kwargs = with_tensors_changed((args, dict(kwargs)), self._with_values)
        values = func(*real_args, **real_kwargs)
        return with_tensors_changed(values, partial(self._hidden, origins=self._origins(deciding)))

    def asked(self, tensors: Sequence[Tensor]) -> None:
        """Note that the values of some tensors were asked for: what they come from decided."""
        self.decided |= self._origins(tensors)

    def told(self, tensor: Tensor, operation: str) -> Tensor:
        """The values of a tensor, for an operation that is no op of ATen; NeedsValues if they are unknown."""
        values = self.of(tensor)
        if values is None:
            raise NeedsValues(operation)
        self.asked([tensor])
        return values

    def follow(
        self,
        op: Op,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        tensors: Sequence[Tensor],
        results: Sequence[Tensor],
        written: Sequence[Tensor],
    ) -> None:
        """Note the values of an op's outputs where all of its inputs' are known; forget what it overwrites."""
        name, draws = op.name, op.draws
        if results and True not in [result.is_meta for result in results]:
            self._follow_real(tensors, results, draws)
            return
        if results and not op.mutable and all(map(self._knows, results)):
            return  # `answer` made it
        if name not in FILLED and self._any_unknown(tensors):
            self._forget(written)
            self._follow_unknown(op, args, kwargs, tensors, results)
            return
        truth = combined(op, args, results, self._held) if results else None
        if truth is not None:
            self.note(results[0], truth, self._origins(tensors))
            return
        if not results or not self._followed(name, draws, results):
            self._infinities.follow(op, args, kwargs, tensors, results, self._held)
            return
        origins = self._origins(tensors) | ({DRAW} if draws and not self.data else set())
        uniform = None if self.data else self._uniform(op, args, kwargs, results[0])
        if uniform is not None:
            self.note(results[0], uniform, origins)
            return
        computed = self._computed(op, args, kwargs)
        if computed is None:
            self._forget(written)
            return
        for result, value in zip(results, tensors_of((computed,)), strict=False):
            self.note(result, value, origins)
            self._infinities.learn(args, kwargs, tensors, value, self._held)

    def _follow_unknown(
        self,
        op: Op,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        tensors: Sequence[Tensor],
        results: Sequence[Tensor],
    ) -> None:
        """Note what is known, or assumed, of an op's outputs where some of its inputs are unknown."""
        for result, chosen in balanced(op.name, self.experts, tensors, results) if self.experts else ():
            self.note(result, chosen, {BALANCED})
        self._infinities.follow(op, args, kwargs, tensors, results, self._held)
        asked = op.name in ASKED and not self._infinities.among(tensors)
        finite = taken_finite(op, args, results, self._held) if asked else None
        if finite is not None:
            self.note(results[0], finite, {FINITE})
        for result, values in parts_known(op, args, kwargs, results, self.of) if op.name in IN_PARTS else ():
            self.note(result, values, self._origins(tensors))

    def _uniform(self, op: Op, args: Sequence[Any], kwargs: Mapping[str, Any], result: Tensor) -> Uniform | None:
        """The result of an op that fills a large tensor with one number, or scales such a one; None for others."""
        if op.name in SCALED and isinstance(args[0], Tensor) and self._knows(args[0]):
            before = self._known[id(args[0])][1].held
            return scaled(op, before, args, kwargs) if isinstance(before, Uniform) else None
        return filled(op, args, kwargs, result)

    def _followed(self, name: str, draws: bool, results: Sequence[Tensor]) -> bool:
        """Whether an op on known values is computed: without data it must be small, and its result defined."""
        if self.data:
            self.watch()
            need = sum(result.numel() * result.element_size() for result in results)
            if self.held + need > self.limit:
                raise DataLimit(self.held + need, self.limit)
            return True
        largest = DRAWN_LIMIT if draws else LIMIT
        if name in UNDEFINED and any(r.is_floating_point() or r.is_complex() for r in results):
            return False  # integers become what a program fills in, such as the sizes of maps
        return not any(_elements(r) > largest or not r.is_meta for r in results)

    def _computed(self, op: Op, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The op on real tensors; None if it cannot be computed on a CPU, or fails where no data were asked for."""
        hide = _empty_like if op.name in FILLED else self._with_values
        real_args, real_kwargs = with_tensors_changed((tuple(args), dict(kwargs)), hide)
        if "device" in real_kwargs:
            real_kwargs["device"] = "cpu"
        try:
            computed = drawn(op, real_args, real_kwargs, self.generator)
        except Exception as error:
            if not self.data:  # a rule of a real kernel that the one without data does not have
                return None
            if isinstance(error, NotImplementedError) or any(words in str(error) for words in NOT_ON_CPU):
                self.lost[op.name] = None
                return None
            raise
        if op.name in UNDEFINED:
            computed.zero_()
        return computed

    def _follow_real(self, tensors: Sequence[Tensor], results: Sequence[Tensor], draws: bool) -> None:
        """Note which real tensors were drawn, or computed from such."""
        origins = self._origins(tensors) | ({DRAW} if draws else set())
        for result in results if origins else ():
            self._real[id(result)] = weakref.ref(result, partial(self._gone, id(result))), origins

    def _gone(self, key: int, _: Any) -> None:
        self._real.pop(key, None)

    def _with_values(self, tensor: Tensor) -> Tensor:
        known = self.of(tensor)
        return tensor if known is None else known

    def _with_values_or_zeros(self, tensor: Tensor) -> Tensor:
        return torch.zeros(tensor.shape, dtype=tensor.dtype) if self._unknown(tensor) else self._with_values(tensor)

    def _hidden(self, value: Tensor, origins: frozenset[str]) -> Tensor:
        demand_dense([value], "a result")
        hidden = value.to("meta")
        self.note(hidden, value, origins)
        return hidden

    def note(self, tensor: Tensor, value: Tensor | Uniform, origins: Iterable[str] = ()) -> None:
        """Keep the values of a tensor without data."""
        key, storage = id(tensor), storage_key(tensor)
        if self._knows(tensor):  # it was written in place
            reference, before = self._known[key]
            self._known[key] = reference, Values(value, before.origins.union(origins))
            return

        def gone(_: Any) -> None:
            self._known.pop(key, None)
            sharing = self._sharing.get(storage, set())
            sharing.discard(key)
            if not sharing:
                self._sharing.pop(storage, None)

        self._known[key] = weakref.ref(tensor, gone), Values(value, frozenset(origins))
        self._sharing.setdefault(storage, set()).add(key)
        if self.data and isinstance(value, Tensor):
            self._hold(value)

    def _hold(self, value: Tensor) -> None:
        """Count the bytes of a value as held until its storage dies."""
        storage = value.untyped_storage()
        key, size = storage_key(storage), storage.nbytes()
        if key in self._storages:
            return

        def freed(_: Any) -> None:
            self.held -= size
            del self._storages[key]

        self.held += size
        self._storages[key] = weakref.ref(storage, freed)

    def _forget(self, written: Sequence[Tensor]) -> None:
        """Forget the known values of what an op writes, and of all tensors that share its storage."""
        for tensor in written if self._sharing else ():
            for key in self._sharing.pop(storage_key(tensor), ()):
                self._known.pop(key, None)


def _elements(tensor: Tensor) -> int:
    """The elements of a tensor that take memory: an expanded one has fewer than its shape tells."""
    return min(tensor.numel(), tensor.untyped_storage().nbytes() // tensor.element_size())


def _hide(value: Tensor) -> Tensor:
    return value.to("meta")


def _empty_like(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype)


def values_of(tensor: Tensor) -> Tensor | None:
    """A copy of the values that were left with a tensor, for a run that may change them."""
    values = kept(tensor)
    return None if values is None else values.clone()
