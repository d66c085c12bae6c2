"""The tensors and storages of a run as they are met, and when each storage dies.

A storage is watched by a weak reference: it dies where its last reference goes, at its natural place among the ops.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.devices.device import Device
from archcalc.engine.meta.call_arguments import Op, tensors_of
from archcalc.engine.meta.overlap_checks import GEOMETRY
from archcalc.engine.torch_private import storage_key, unwrapped
from archcalc.tracing import Call, Storage, Value, plain
from archcalc.tracing import Tensor as TraceTensor
from archcalc.tracing.records import LISTS, SIMPLE

OPEN = -1
"""The last op of a module call that has not returned yet, and the time of everything that was there before the run."""


class Entries:
    """The ids of tensors and storages. `calls` are the run's op calls so far: their number is the time."""

    def __init__(self, device: Device, calls: Sequence[Call]) -> None:
        self.device, self.calls = device, calls
        self.tensors: list[TraceTensor] = []
        self.storages: list[Storage] = []
        self._ids: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self._storage_ids: dict[int, int] = {}
        self._sizes: dict[int, int] = {}
        self._deaths: dict[int, int] = {}
        self._watch: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        self._aliases: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def tensor(self, tensor: Tensor, role: str, born: int = OPEN) -> int:
        """The id of a tensor; one not seen before is entered, and its storage with it.

        A tensor whose own geometry was changed in place (`t_`, `resize_`, `set_`) is entered again as it is now; in
        place of the tensors that vmap and grad show to modules, the whole ones are entered.
        """
        known = self._ids.get(id(tensor))
        if known is None or known[0]() is not tensor:
            tensor = unwrapped(tensor)
            known = self._ids.get(id(tensor))
            known = None if known is None or known[0]() is not tensor else known
        if known is not None:
            entered = self.tensors[known[1]]
            placed = entered.shape == tensor.shape and entered.strides == tensor.stride()
            if placed and self._storage_ids.get(storage_key(tensor)) == entered.storage:
                return known[1]
        storage = self._storage(tensor, role, born)
        number = len(self.tensors)
        shape, dtype = tuple(tensor.shape), _dtype_name(tensor.dtype)
        offset = int(tensor.storage_offset())
        self.tensors.append(TraceTensor(shape, dtype, storage, tensor.stride(), offset))
        self._ids[id(tensor)] = (weakref.ref(tensor), number)
        return number

    def arguments(
        self, op: Op, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[dict[str, int | tuple[int, ...]], dict[str, Value]]:
        """An op's arguments as they are before it runs: the ids of tensors, and the values of all others."""
        inputs: dict[str, int | tuple[int, ...]] = {}
        attributes: dict[str, Value] = {}
        tensor = self.tensor
        for name, value in op.given(args, kwargs):
            if isinstance(value, Tensor):
                inputs[name] = tensor(value, "constant")
            elif type(value) in SIMPLE:
                attributes[name] = value
            elif isinstance(value, LISTS) and tensors_of(value):
                inputs[name] = tuple([tensor(v, "constant") for v in value if isinstance(v, Tensor)])
            else:
                attributes[name] = plain(value)
        return inputs, attributes

    def made(
        self, op: Op, args: Sequence[Any], inputs: Mapping[str, int | tuple[int, ...]], results: Sequence[Tensor]
    ) -> tuple[int, ...]:
        """The ids of an op's results. What it wrote in place is its first argument as that was entered."""
        if op.mutable and len(results) == 1 and args and results[0] is args[0] and op.name not in GEOMETRY:
            entered = inputs[op.names[0]]
            return entered if isinstance(entered, tuple) else (entered,)
        return tuple([self.tensor(t, "activation", len(self.calls)) for t in results])

    def name(self, second: Tensor, number: int) -> None:
        """Show another tensor of the same storage as a tensor that was entered."""
        self._ids[id(second)] = (weakref.ref(second), number)

    def alias(self, twin: Tensor, number: int) -> None:
        """Show another tensor, and its storage, as a tensor that was entered."""
        self.name(twin, number)
        storage = twin.untyped_storage()
        key = storage_key(storage)
        self._storage_ids[key], self._sizes[key] = self.tensors[number].storage, storage.nbytes()
        self._aliases[key] = weakref.ref(storage, lambda _: self._forget(key))

    def turn(self, number: int, role: str, among: Sequence[str]) -> None:
        """Give the storage of a tensor another role, if its role so far is one of some."""
        storage = self.tensors[number].storage
        if self.storages[storage].role in among:
            self.storages[storage] = replace(self.storages[storage], role=role)

    def close(self) -> None:
        """Write each storage's death, None for those alive, and stop watching them."""
        self._watch.clear()
        self._aliases.clear()
        for number, death in self._deaths.items():
            s = self.storages[number]
            self.storages[number] = Storage(s.bytes, s.role, s.birth, death)

    def results(self) -> dict[int, weakref.ref[torch.UntypedStorage]]:
        """References to the storages that ops made and that exist, by their ids."""
        there = ((number, watched()) for number, watched in self._watch.items())
        return {
            number: weakref.ref(storage)
            for number, storage in there
            if storage is not None and self.storages[number].role == "activation"
        }

    def keep(self, numbers: Iterable[int]) -> None:
        """Name constants the storages that a model keeps from a closed run for its next one."""
        for number in numbers:
            self.storages[number] = replace(self.storages[number], role="constant")

    def _storage(self, tensor: Tensor, role: str, born: int) -> int:
        """The id of a tensor's storage; one that was resized is entered again, and what it was has died."""
        storage = tensor.untyped_storage()
        key, size = storage_key(storage), storage.nbytes()
        known = self._storage_ids.get(key)
        if known is not None and self._sizes[key] == size:
            return known
        if known is not None:
            self._deaths[known] = len(self.calls)
        number = len(self.storages)
        on_host = self.device.numbers_on_host and tensor.dim() == 0 and not tensor.is_meta  # a number stays with Python
        block = self.device.block
        self.storages.append(Storage(0 if on_host else -(-size // block) * block, role, born, None))
        self._storage_ids[key], self._sizes[key] = number, size
        self._watch[number] = weakref.ref(storage, self._on_death(number, key))
        return number

    def _on_death(self, number: int, key: int) -> Callable[[Any], None]:
        def died(_: Any) -> None:
            if self._storage_ids.get(key) == number:
                self._deaths[number] = len(self.calls)
                del self._storage_ids[key], self._sizes[key]

        return died

    def _forget(self, key: int) -> None:
        del self._storage_ids[key], self._sizes[key], self._aliases[key]


@cache
def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
