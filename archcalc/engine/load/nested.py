"""Tensors inside arguments, each with its place: in lists, tuples, dicts, dataclasses, objects of the user's."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import fields, is_dataclass
from types import ModuleType
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

WHOLE = (str, bytes, int, float, complex, bool, type, ModuleType, nn.Module, PackedSequence)
"""Values that are no containers, or whose tensors stay as they are: the lengths in a packed batch are numbers."""


def parts(value: Any) -> Mapping[Any, Any]:
    """The items of a container, the fields of a dataclass, the attributes of an object; nothing for plain values."""
    if value is None or isinstance(value, (Tensor, *WHOLE)) or (callable(value) and not is_dataclass(value)):
        return {}
    if isinstance(value, Mapping):
        return value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return dict(zip(value._fields, value, strict=True))
    if isinstance(value, list | tuple):
        return dict(enumerate(value))
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value) if hasattr(value, field.name)}
    slots = [name for kind in type(value).__mro__ for name in _slots(kind)]
    return {name: getattr(value, name) for name in slots if hasattr(value, name)} | getattr(value, "__dict__", {})


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def tensors_with_places(name: str, value: Any, above: tuple[int, ...] = ()) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in a value, with its place: images.0, batch.tokens. An object inside itself is not entered again."""
    if isinstance(value, Tensor):
        yield name, value
        return
    if id(value) in above:
        return
    for key, item in parts(value).items():
        yield from tensors_with_places(f"{name}.{key}" if name else str(key), item, (*above, id(value)))


def with_tensors(value: Any, change: Callable[[Tensor], Any], done: dict[int, Any] | None = None) -> Any:
    """The value with a function applied to every tensor in it; what holds a tensor is copied, the rest is shared."""
    done = {} if done is None else done
    if isinstance(value, Tensor):
        return change(value)
    if id(value) in done:
        return done[id(value)]
    if not any(True for _ in tensors_with_places("", value)):
        return value
    if isinstance(value, list | tuple):
        made: Any = [with_tensors(item, change, done) for item in value]
        return made if type(value) is list else _like(value, made)
    if isinstance(value, Mapping) and not isinstance(value, MutableMapping):
        value = dict(value)
    other = done[id(value)] = copy.copy(value)
    for key, item in parts(value).items():
        changed = with_tensors(item, change, done)
        if changed is item:
            continue
        if isinstance(value, Mapping):
            other[key] = changed
        else:
            object.__setattr__(other, key, changed)
    return other


def _like(value: Any, items: list[Any]) -> Any:
    """Items as a tuple, a named tuple or a list of the user's class."""
    if hasattr(value, "_fields"):
        return type(value)(*items)
    return type(value)(items)
