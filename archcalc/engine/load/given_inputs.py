"""Inputs that a caller gives in Python, or a function of theirs makes: tensors without data, at the setup's sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from archcalc.engine.load.declared_inputs import UNKNOWN, Declaration
from archcalc.engine.load.inputs import Inputs, dtype_named, empty, named_tensors, parameters_of, parse_spec
from archcalc.engine.torch_private import with_tensors_changed
from archcalc.errors import BadInput
from archcalc.text.units import shape
from archcalc.tracing import Input

if TYPE_CHECKING:
    from archcalc.engine.setup import Setup


def from_values(
    values: Any, forward: Any, setup: Setup | None = None, declared: Declaration = UNKNOWN, origin: str = "argument"
) -> Inputs:
    """Inputs that a caller or a function gives: tensors, shapes, specifications, nested lists and dicts of tensors.

    One alone, several in a tuple or list, or a dict by the names of forward's arguments. The setup's batch, size,
    seq_len and dtype replace what the values say of them; BadInput for one that no input has an axis for.
    """
    dtype = setup.dtype if setup else "float32"
    if isinstance(values, Mapping):
        kwargs = {name: _tensor(value, dtype) for name, value in values.items()}
        args: tuple[Any, ...] = ()
    else:
        alone = isinstance(values, Tensor | str) or (
            isinstance(values, tuple | list) and bool(values) and all(isinstance(v, int) for v in values)
        )
        args = tuple(_tensor(value, dtype) for value in ((values,) if alone else values))
        kwargs = {}
    if setup:
        args, kwargs = _with_setup(args, kwargs, setup, declared)
    names = [*parameters_of(forward)]
    named = [(names[i] if i < len(names) else f"input{i}", a) for i, a in enumerate(args)]
    described = tuple(
        Input(path, str(t.dtype).removeprefix("torch."), tuple(t.shape), origin)
        for name, value in (*named, *kwargs.items())
        for path, t in named_tensors(name, value)
    )
    return Inputs(args, kwargs, described)


def _with_setup(
    args: tuple[Any, ...], kwargs: dict[str, Any], setup: Setup, declared: Declaration
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The inputs with the setup's sizes on the axes that they mean, and its dtype if it is not the default."""
    height, width = setup.size or (None, None)
    wanted = {"batch": setup.batch, "seq_len": setup.seq_len, "height": height, "width": width}
    sizes_of = {axis: size for axis, size in wanted.items() if size is not None}
    by_rank = {len(input_.shape): input_.axes for input_ in declared.inputs}
    met: set[str] = set()

    def changed(tensor: Tensor) -> Tensor:
        axes = by_rank.get(tensor.dim()) or _axes(tensor)
        met.update(axes)
        sizes = [sizes_of.get(axis, size) for axis, size in zip(axes, tensor.shape, strict=True)]
        floats = tensor.is_floating_point() and setup.dtype != "float32"
        dtype = dtype_named(setup.dtype) if floats else tensor.dtype
        if tuple(sizes) == tuple(tensor.shape):
            return tensor.to(dtype)
        return torch.empty(sizes, dtype=dtype, device="meta")

    given = _shapes([*args, *kwargs.values()])
    args, kwargs = with_tensors_changed((args, kwargs), changed)
    for axis, option in (("batch", "batch"), ("seq_len", "seq_len"), ("height", "size")):
        if axis in sizes_of and axis not in met:
            raise BadInput(
                f"{option}={getattr(setup, option)} does not apply: no input has such an axis.",
                f"{given}\n{declared.instead}".rstrip(),
            )
    return args, kwargs


def _axes(tensor: Tensor) -> tuple[str, ...]:
    """Usual names of an input's axes: 4 for images, 5 for videos, 3 (or 2 of integers) for sequences."""
    rank = tensor.dim()
    if rank in (4, 5):
        return ("batch", "channels", *(["frames"] if rank == 5 else []), "height", "width")
    sequence = rank == 3 or (rank == 2 and not tensor.is_floating_point())
    names = ("batch", "seq_len") if sequence else ("batch",)
    return (*names, *(f"axis{n}" for n in range(len(names), rank)))[:rank]


def _shapes(values: Sequence[Any]) -> str:
    return f"inputs  {', '.join(shape(tensor.shape) for _, tensor in named_tensors('', values))}"


def _tensor(value: Any, dtype: str) -> Any:
    if isinstance(value, Tensor):
        return value if value.is_meta else value.detach().to("meta")
    if isinstance(value, str):
        spec = parse_spec(value, dtype)
        return empty(spec.shape, spec.dtype)
    if isinstance(value, tuple | list) and all(isinstance(v, int) for v in value):
        return empty(value, dtype)
    return _without_data(value)


def _without_data(value: Any) -> Any:
    """Nested lists and dicts with their tensors emptied; everything else as it is."""
    if isinstance(value, Tensor):
        return value if value.is_meta else value.detach().to("meta")
    if isinstance(value, Mapping):
        return {key: _without_data(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_without_data, value))
    return value
