"""Inputs that a caller gives in Python, or a function of theirs makes: tensors without data, at the setup's sizes."""

from __future__ import annotations

import inspect
from collections.abc import Coroutine, Iterator, Mapping, Sequence, Set
from math import inf
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import Module

from archcalc.engine.load.declaration import UNKNOWN, Declaration
from archcalc.engine.load.inputs import Inputs, dtype_named, empty, parameters_of, parse_spec
from archcalc.engine.load.nested import tensors_with_places, with_tensors
from archcalc.engine.meta.empty_modules import emptied
from archcalc.errors import BadInput
from archcalc.text.units import number, shape
from archcalc.text.visible import shortened
from archcalc.tracing import Input

if TYPE_CHECKING:
    from archcalc.engine.setup import Setup


def from_values(
    values: Any, forward: Any, setup: Setup | None = None, declared: Declaration = UNKNOWN, origin: str = "argument"
) -> Inputs:
    """Inputs that a caller gives: tensors, shapes, specifications, nested lists and dicts of tensors, objects.

    One alone, several in a tuple or list, or a dict by the names of forward's arguments. The setup's batch, size,
    seq_len and dtype replace what the values say of them; BadInput for one that no input has an axis for.
    """
    dtype = setup.floats if setup else "float32"
    if isinstance(values, str) or (isinstance(values, tuple | list) and values and all(map(_is_size, values))):
        values = (values,)
    if setup and setup.images is not None:
        raise BadInput("images does not combine with inputs.", "leave it out: the inputs say how many there are")
    args, kwargs = _received(values, forward, "inputs")
    args, kwargs = tuple(_given(value, dtype) for value in args), {k: _given(v, dtype) for k, v in kwargs.items()}
    if setup:
        args, kwargs = _with_setup(args, kwargs, setup, declared)
    return _described(args, kwargs, forward, origin)


def from_function(values: Any, forward: Any, function: str) -> Inputs:
    """Inputs that a function of the user's returned, each value as it is: texts stay texts, numbers stay numbers.

    A tensor, a dataclass or another object alone, several values in a tuple or list, or a dict by the names of
    forward's arguments; BadInput for what can be none of these.
    """
    args, kwargs = _received(values, forward, f"--inputs {function}")
    misfit = _misfit(forward, *args, **kwargs)
    if misfit:
        hint = f"its arguments are  {', '.join(parameters_of(forward))}"
        raise BadInput(f"forward cannot take what --inputs {function} gave: {misfit}.", hint)
    args, kwargs = with_tensors((args, kwargs), _emptied)
    return _described(args, kwargs, forward, f"--inputs {function}")


Arguments = tuple[tuple[Any, ...], dict[str, Any]]
NOT_INPUTS = (
    type(None),
    int,
    float,
    complex,
    Set,
    Iterator,
    Coroutine,
    type,
    FunctionType,
    BuiltinFunctionType,
    ModuleType,
    Module,
)
"""Types of values that are no inputs by themselves, though forward may receive some of them beside others."""
FORM = "forward receives a tensor or an object, several in a tuple, or a dict by the names of its arguments"


def _received(values: Any, forward: Any, giver: str) -> Arguments:
    """What forward receives, by position and by name; BadInput names who gave what cannot be received."""
    if isinstance(values, NOT_INPUTS):
        raise BadInput(f"{giver} gave {_in_words(values)}, which is no input.", FORM)
    if isinstance(values, Mapping):
        names = [name for name in values if not isinstance(name, str)]
        if names:
            raise BadInput(f"{giver} gave a dict with the key {shortened(repr(names[0]))}, which is no name.", FORM)
        return (), dict(values)
    several = isinstance(values, tuple | list) and not (hasattr(values, "_fields") and _misfit(forward, *values))
    return tuple(values) if several else (values,), {}


def _in_words(value: Any) -> str:
    """A value as a sentence names it.

    >>> _in_words(None), _in_words(3), _in_words({1})
    ('None', '3, an int', 'a set')
    """
    if value is None:
        return "None"
    kind = type(value).__name__
    noun = f"{'an' if kind[:1] in 'aeiouAEIOU' else 'a'} {kind}"
    return (
        f"{shortened(repr(value))}, {noun}"
        if isinstance(value, float | complex | bool)
        else (f"{number(value)}, {noun}" if isinstance(value, int) else noun)
    )


def _misfit(forward: Any, /, *args: Any, **kwargs: Any) -> str:
    """Why forward cannot be called with some arguments; '' if it can, or if it has no signature."""
    try:
        inspect.signature(forward).bind(*args, **kwargs)
    except TypeError as error:
        return str(error)
    except ValueError:
        return ""
    return ""


def _described(args: tuple[Any, ...], kwargs: dict[str, Any], forward: Any, origin: str) -> Inputs:
    """The inputs with the name, place, dtype and shape of every tensor in them."""
    names = [*parameters_of(forward)]
    named = [(names[i] if i < len(names) else f"input{i}", a) for i, a in enumerate(args)]
    described = tuple(
        Input(path, str(t.dtype).removeprefix("torch."), tuple(t.shape), origin)
        for name, value in (*named, *kwargs.items())
        for path, t in tensors_with_places(name, value)
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
        floats = tensor.is_floating_point() and setup.floats != "float32"
        dtype = dtype_named(setup.floats) if floats else tensor.dtype
        if tuple(sizes) == tuple(tensor.shape):
            return tensor.to(dtype)
        return torch.empty(sizes, dtype=dtype, device="meta")

    given = _shapes([*args, *kwargs.values()])
    args, kwargs = with_tensors((args, kwargs), changed)
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
    return f"inputs  {', '.join(shape(tensor.shape) for _, tensor in tensors_with_places('', values))}"


def _given(value: Any, dtype: str) -> Any:
    """One input as a caller may give it: a specification or a shape becomes a tensor without data."""
    if isinstance(value, str):
        spec = parse_spec(value, dtype)
        return empty(spec.shape, spec.dtype)
    if isinstance(value, tuple | list) and value != [] and all(map(_is_size, value)):
        return empty(value, dtype)
    return with_tensors(value, _emptied)


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _emptied(tensor: Tensor) -> Tensor:
    """The tensor without data; its values stay known beside it."""
    empty: Tensor = emptied(tensor.detach(), known=True, limit=inf)
    return empty
