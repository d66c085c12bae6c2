"""The arguments of an op call: names and defaults by its schema, the tensors in them, questions for values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.torch_private import op_name, schema


class NotDense(Exception):
    """A sparse or nested tensor: where it was met, in words."""


VALUES = frozenset((torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape))
"""Ops whose result, or its shape, is in the values of their inputs."""


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists, dicts and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from tensors_in(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from tensors_in(getattr(value, field.name))


def asks_for_values(func: Any, args: Sequence[Any]) -> bool:
    """Whether an op's result, or its shape, is in the values of its inputs; an index by numbers has a shape without."""
    if VALUES.isdisjoint(func.tags):
        return False
    if op_name(func) in ("index", "_unsafe_index"):
        return any(t.dtype in (torch.bool, torch.uint8) for t in tensors_in(args[1:]))
    return True


@cache
def signature(func: Any) -> tuple[str, tuple[tuple[str, bool, Any], ...]]:
    """An op's name, 'aten.add.Tensor', or 'aten.mm' for a default overload; its arguments, each with its default."""
    arguments = ((a.name, a.has_default_value(), a.default_value) for a in schema(func).arguments)
    return str(func).removesuffix(".default"), tuple(arguments)


def arguments(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every argument of the call by its name in the op's schema, those left out by their default."""
    for position, (name, has_default, default) in enumerate(signature(func)[1]):
        if position < len(args):
            yield name, args[position]
        elif name in kwargs:
            yield name, kwargs[name]
        elif has_default:
            yield name, default


@cache
def writes(func: Any) -> tuple[bool, ...]:
    """Whether an op writes each of its arguments; empty if it writes none."""
    if not schema(func).is_mutable:
        return ()
    return tuple(bool(a.alias_info is not None and a.alias_info.is_write) for a in schema(func).arguments)


def tensors_by_use(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors that an op writes, and those that it only reads."""
    written: list[Tensor] = []
    read: list[Tensor] = []
    for position, writing in enumerate(writes(func)):
        value = args[position] if position < len(args) else kwargs.get(schema(func).arguments[position].name)
        (written if writing else read).extend(tensors_in(value))
    return written, read


def demand_dense(tensors: Iterable[Tensor], where: str, func: Any = None) -> None:
    """NotDense for sparse and nested tensors, of which the number of elements is in their values.

    `where` says in words where they were met, such as "an argument of", with the op behind it where one is given.
    """
    for tensor in tensors:
        if tensor.layout is not torch.strided or tensor.is_nested:
            kind = "nested" if tensor.is_nested or tensor.layout is torch.jagged else "sparse"
            place = where if func is None else f"{where} {signature(func)[0]}"
            raise NotDense(f"{place} is a {kind} tensor, whose size is in its values")
