"""Inputs: from specifications and shorthands to tensors without data, each with the word of where it came from."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from shlex import quote
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from archcalc.engine.choices import FLOATS
from archcalc.engine.load.declaration import Declaration
from archcalc.engine.load.nested import tensors_with_places
from archcalc.engine.meta.known_values import keep
from archcalc.errors import BadInput, CannotFollow, NeedsInput
from archcalc.text.units import parse_shape, shape
from archcalc.tracing import Input

if TYPE_CHECKING:
    from archcalc.engine.setup import Setup

DTYPES = (
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
    "complex64", "complex128", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
    "uint16", "uint32", "uint64",
)  # fmt: skip


@dataclass(frozen=True)
class Inputs:
    """Arguments for forward, their description in the trace; those whose values are assumed, and notes about them."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    described: tuple[Input, ...]
    notes: tuple[str, ...] = ()
    assumed: frozenset[str] = frozenset()

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The input tensors in the order they are described."""
        return tuple(t for _, t in tensors_with_places("", (*self.args, *self.kwargs.values())))

    @property
    def named(self) -> Iterator[tuple[str, Tensor]]:
        """The input tensors by the names of their descriptions."""
        return zip((given.name for given in self.described), self.tensors, strict=True)


@dataclass(frozen=True)
class Spec:
    """A parsed specification; given by `keyword`, or as the next positional argument. `values` are those assumed.

    It goes into a list, alone, where it is `listed`.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    origin: str = "option"
    keyword: bool = False
    values: Tensor | None = field(default=None, compare=False, repr=False)
    listed: bool = field(default=False, repr=False)


def dtype_named(name: str, among: Sequence[str] = DTYPES) -> torch.dtype:
    """The torch dtype of that name; BadInput lists the names."""
    if name not in among:
        raise BadInput(f"'{name}' is not a dtype.", f"choose one of  {', '.join(among)}")
    dtype = getattr(torch, name)
    assert isinstance(dtype, torch.dtype)
    return dtype


def parse_spec(text: str, default_dtype: str = "float32") -> Spec:
    """Read '[name=][dtype:]2x3x224x224'; BadInput shows the form.

    >>> parse_spec("tokens=int64:1x77")
    Spec(name='tokens', dtype='int64', shape=(1, 77), origin='option', keyword=True)
    """
    match = re.fullmatch(r"(?:([A-Za-z_]\w*)=)?(?:(\w+):)?([^:=]+)", text.strip())
    form = "write  [name=][dtype:]2x3x224x224, for example  -i tokens=int64:1x77"
    if match is None:
        raise BadInput(f"'{text}' is not an input.", form)
    name, dtype, dimensions = match.groups()
    dtype_named(dtype or default_dtype)
    try:
        return Spec(name or "", dtype or default_dtype, parse_shape(dimensions), keyword=bool(name))
    except ValueError as error:
        raise BadInput(f"{error}.", form) from None


def from_declared(declaration: Declaration, setup: Setup) -> list[Spec]:
    """The model's own inputs, with the shorthands applied to the axes that have their names."""
    declared = declaration.inputs
    values: dict[str, int | None] = {"batch": setup.batch, "seq_len": setup.seq_len}
    values["height"], values["width"] = setup.size or (None, None)
    axes = {axis for input_ in declared for axis in input_.axes} | declaration.applied
    for option, axis, given in (
        ("--batch", "batch", setup.batch),
        ("--size", "height", setup.size),
        ("--seq-len", "seq_len", setup.seq_len),
        ("--images", "images", setup.images),
    ):
        if given is not None and axis not in axes:
            shapes = ", ".join(f"{input_.name}={shape(input_.shape)}" for input_ in declared)
            hint = f"inputs  {shapes}\n{declaration.instead}".rstrip()
            raise BadInput(f"{option} does not apply: no input has such an axis.", hint)
    specs = []
    for input_ in declared:
        left = {axis: size for axis, size in values.items() if size and axis not in declaration.applied}
        sizes = [left.get(axis) or size for axis, size in zip(input_.axes, input_.shape, strict=True)]
        changed = any(left.get(axis) for axis in input_.axes)
        dtype = setup.floats if input_.dtype in FLOATS else input_.dtype
        named = declaration.by_name and bool(input_.name)
        origin = "option" if changed else declaration.origins.get(input_.name, declaration.origin)
        assumed = declaration.values.get(input_.name)
        listed = input_.name in declaration.listed
        specs.append(Spec(input_.name, dtype, tuple(sizes), origin, named, assumed, listed))
    return specs


def from_options(setup: Setup) -> list[Spec]:
    """The inputs given with -i; --batch then replaces their first axis."""
    specs = [parse_spec(text, setup.floats) for text in setup.inputs]
    if setup.size is not None or setup.seq_len is not None:
        raise BadInput("--size and --seq-len do not combine with -i.", "write the shape into  -i")
    if setup.images is not None:
        raise BadInput("--images does not combine with -i.", "write the shape of the images into  -i")
    if setup.batch is None:
        return specs
    if not all(spec.shape for spec in specs):
        raise BadInput("--batch does not apply to a scalar input.", "write the shape into  -i")
    return [replace(spec, shape=(setup.batch, *spec.shape[1:])) for spec in specs]


def build(specs: Sequence[Spec], forward: Any, reference: str) -> Inputs:
    """The tensors for `forward`: named ones by keyword where forward has the name, others in order."""
    parameters = parameters_of(forward)
    positional = iter(name for name, p in parameters.items() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    described = []
    for index, spec in enumerate(specs):
        tensor = empty(spec.shape, spec.dtype)
        if spec.values is not None:
            keep(tensor, spec.values.to(tensor.dtype))
        name = spec.name or next(positional, f"input{index}")
        if spec.keyword:
            if spec.name not in parameters and not takes_any:
                raise BadInput(f"forward has no argument '{spec.name}'.", f"its arguments are  {', '.join(parameters)}")
            if spec.name in kwargs:
                raise BadInput(f"input {spec.name} is given twice.", "give each input once")
            kwargs[spec.name] = _as_annotated(tensor, parameters.get(spec.name))
        else:
            args.append([tensor] if spec.listed else _as_annotated(tensor, parameters.get(name)))
        described.append(Input(name, spec.dtype, spec.shape, spec.origin))
    _fits(forward, args, kwargs, reference)
    assumed = frozenset(given.name for given, spec in zip(described, specs, strict=True) if spec.values is not None)
    return Inputs(tuple(args), kwargs, tuple(described), assumed=assumed)


def _as_annotated(tensor: Tensor, parameter: inspect.Parameter | None) -> Any:
    """The tensor, in a list where forward's annotation wants a list of tensors, as torchvision's detectors do."""
    wanted = str(getattr(parameter, "annotation", "")).lower().replace("torch.", "")
    return [tensor] if re.fullmatch(r"(typing\.)?(list|sequence)\[tensor\]", wanted) else tensor


def takes_nothing(forward: Any) -> bool:
    """Whether forward can be called without arguments."""
    try:
        inspect.signature(forward).bind()
    except (TypeError, ValueError):
        return False
    return True


SESSION = "inference_session"
OF_SESSION = "{} takes an inference session, an object that holds the frames of a video and what was found in them."


def needs_input(reference: str, forward: Any) -> NeedsInput | CannotFollow:
    """The error for a model whose inputs are unknown, with forward's own arguments and a line to paste.

    CannotFollow for a model that takes an object of the library instead of tensors.
    """
    parameters = parameters_of(forward)
    if SESSION in parameters:
        return CannotFollow(OF_SESSION.format(reference), "name the model of one image, without _video")
    required = [n for n, p in parameters.items() if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    signature = f"({', '.join(map(_as_written, parameters.values()))})"
    if any(_kind(parameters[name].annotation) for name in required):
        given = ", ".join(f'"{name}": {_value(parameters[name].annotation, name)}' for name in required)
        example = f"--inputs inputs.py:inputs  with  def inputs(): return {{{given}}}"
        return NeedsInput(reference, signature, example)
    names = [f"{name}=" for name in required] if len(required) > 1 else [""]
    example = " ".join(f"-i {name}{_guess(name or ''.join(required))}" for name in names)
    return NeedsInput(reference, signature, example)


PLAIN = {"int": "1", "float": "1.0", "bool": "False", "str": '"text"'}
"""Types of arguments that are no tensors, each with a value for the sake of example."""


def _kind(annotation: Any) -> str:
    """The type of an argument that is no tensor: one of PLAIN, or a dict; '' for all others.

    >>> _kind(dict[str, int]), _kind("Mapping[str, Tensor]"), _kind(int), _kind("torch.Tensor")
    ('dict', 'dict', 'int', '')
    """
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    if text in PLAIN:
        return text
    return "dict" if re.match(r"(\w+\.)*(Dict|dict|Mapping|MutableMapping)\b", text) else ""


def _as_written(parameter: inspect.Parameter) -> str:
    """An argument as forward's signature has it; an annotation only where it is no tensor."""
    kind = _kind(parameter.annotation)
    name = f"{parameter.name}: {kind}" if kind else parameter.name
    return name if parameter.default is parameter.empty else f"{name}={parameter.default!r}"


def _value(annotation: Any, name: str) -> str:
    kind = _kind(annotation)
    if kind in PLAIN:
        return PLAIN[kind]
    dtype, _, sizes = _guess(name).rpartition(":")
    options = f", dtype=torch.{dtype}" if dtype else ""
    zeros = f"torch.zeros({', '.join(sizes.split('x'))}{options})"
    return f'{{"KEY": {zeros}}}' if kind else zeros


TOKENS, MASKS = ("token", "word", "ids", "text", "indices"), ("mask",)


def _guess(name: str) -> str:
    """A specification for the sake of example: by the argument's name token numbers, a mask, or else an image."""
    if any(word in name.lower() for word in MASKS):
        return "bool:1x128"
    return "int64:1x128" if any(word in name.lower() for word in TOKENS) else "1x3x224x224"


def empty(shape_: Sequence[int], dtype: str) -> Tensor:
    """A tensor without data; BadInput where torch cannot even count its elements."""
    try:
        return torch.empty(tuple(shape_), dtype=dtype_named(dtype), device="meta")
    except (RuntimeError, OverflowError, TypeError) as error:
        raise BadInput(f"no tensor has the shape {shape(shape_)}.", "choose smaller sizes") from error


def with_inputs(reference: str, setup: Setup) -> str:
    """A model with the inputs of a setup, as they are typed behind a command."""
    made = [f"--inputs {quote(setup.inputs_from)}"] if setup.inputs_from else []
    return " ".join([quote(reference), *(f"-i {quote(given)}" for given in setup.inputs), *made])


def parameters_of(forward: Any) -> dict[str, inspect.Parameter]:
    """The parameters of forward by name; none if it has no signature."""
    try:
        return dict(inspect.signature(forward).parameters)
    except (TypeError, ValueError):
        return {}


def _fits(forward: Any, args: Sequence[Any], kwargs: Mapping[str, Any], reference: str) -> None:
    """Refuse inputs that forward cannot be called with, before it is called."""
    try:
        inspect.signature(forward).bind(*args, **kwargs)
    except ValueError:
        return
    except TypeError as error:
        hint = needs_input(reference, forward).hint
        raise BadInput(f"forward cannot take these inputs: {error}.", hint) from None
