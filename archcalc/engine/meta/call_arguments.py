"""The arguments of an op call: names and defaults by its schema, the tensors in them, questions for values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.torch_private import op_name, schema
from archcalc.tracing import Value, plain


class NotDense(Exception):
    """A sparse or nested tensor: where it was met, in words."""


STRIDED = torch.strided
VALUES = frozenset((torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape))
"""Ops whose result, or its shape, is in the values of their inputs."""
UNTAGGED = frozenset(("torchvision::nms",))
"""Such ops of other libraries, which do not say so by a tag."""


NO_TENSORS = frozenset(
    (int, float, bool, str, type(None), torch.dtype, torch.device, torch.layout, torch.memory_format)
)
"""Types of arguments that hold no tensor."""


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument in an op's schema: its default, also as trace data, and whether the op writes it."""

    name: str
    has_default: bool
    default: Any
    plain_default: Value
    written: bool


@dataclass(frozen=True, slots=True)
class Op:
    """What is known of an op overload without its arguments.

    `name` is without library ("add_"), `label` as a trace has it ("aten.add_.Tensor", "aten.mm" for a default
    overload). `mutable` says that it writes an argument, `by_values` that its result is in the values of its inputs,
    `draws` that it draws at random, `marks` that it is a mark for a profiler, as optimizers leave them. `names` are
    those of all arguments, `written` those of the ones that it writes.
    """

    overload: Any
    name: str
    label: str
    arguments: tuple[Argument, ...]
    mutable: bool
    by_values: bool
    draws: bool
    marks: bool
    names: tuple[str, ...]
    written: tuple[str, ...]

    def given(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
        """Every argument of a call by its name, those left out by their default, as trace data."""
        pairs: Iterable[tuple[str, Any]] = zip(self.names, args, strict=False)
        if len(args) == len(self.names):
            return pairs
        others = self.arguments[len(args) :]
        named = [(a.name, kwargs.get(a.name, a.plain_default)) for a in others if a.has_default or a.name in kwargs]
        return [*pairs, *named]


_OPS: dict[int, Op] = {}


def op_of(func: Any) -> Op:
    """What is known of an op overload, by its id: to hash an overload takes longer than most questions."""
    known = _OPS.get(id(func))
    if known is None:
        known = _OPS[id(func)] = _learned(func)
    return known


def _learned(func: Any) -> Op:
    own, tags = schema(func), frozenset(func.tags)
    arguments = tuple(
        Argument(
            a.name,
            a.has_default_value(),
            a.default_value,
            plain(a.default_value) if a.has_default_value() else None,
            bool(a.alias_info is not None and a.alias_info.is_write),
        )
        for a in own.arguments
    )
    label, draws = str(func).removesuffix(".default"), torch.Tag.nondeterministic_seeded in tags
    by_values = not VALUES.isdisjoint(tags) or func.name() in UNTAGGED
    marks = func.namespace == "profiler"
    return Op(
        func,
        op_name(func),
        label,
        arguments,
        bool(own.is_mutable),
        by_values,
        draws,
        marks,
        tuple(a.name for a in arguments),
        tuple(a.name for a in arguments if a.written),
    )


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists, dicts and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    elif type(value) in NO_TENSORS:
        return
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif isinstance(value, list | tuple | set):
        for item in value:
            yield from tensors_in(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from tensors_in(getattr(value, field.name))


def tensors_of(values: Iterable[Any]) -> list[Tensor]:
    """The tensors in arguments or results, in order: `tensors_in` for values that are mostly no containers."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif type(value) not in NO_TENSORS:
            found.extend(tensors_in(value))
    return found


def asks_for_values(op: Op, args: Sequence[Any]) -> bool:
    """Whether an op's result, or its shape, is in the values of its inputs; an index by numbers has a shape without."""
    if op.by_values and op.name in ("index", "_unsafe_index"):
        return any(t.dtype in (torch.bool, torch.uint8) for t in tensors_in(args[1:]))
    return op.by_values


def tensors_by_use(op: Op, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Tensor], list[Tensor]]:
    """The tensors that an op writes, and those that it only reads; both empty if it writes none."""
    given = len(args)
    written: list[Tensor] = []
    read: list[Tensor] = []
    for position, argument in enumerate(op.arguments if op.mutable else ()):
        value = args[position] if position < given else kwargs.get(argument.name)
        if isinstance(value, Tensor):
            (written if argument.written else read).append(value)
        elif type(value) not in NO_TENSORS:
            (written if argument.written else read).extend(tensors_in(value))
    return written, read


def demand_dense(tensors: Iterable[Tensor], where: str, func: Any = None) -> None:
    """NotDense for sparse and nested tensors, of which the number of elements is in their values.

    `where` says in words where they were met, such as "an argument of", with the op behind it where one is given.
    """
    for tensor in tensors:
        if tensor.layout is not STRIDED or tensor.is_nested:
            kind = "nested" if tensor.is_nested or tensor.layout is torch.jagged else "sparse"
            place = where if func is None else f"{where} {op_of(func).label}"
            raise NotDense(f"{place} is a {kind} tensor, whose size is in its values")
