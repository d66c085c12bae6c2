"""One device for all tensors: code that names cuda, moves tensors or asks for NumPy runs as on a machine that has them.

Tensors without data say that they are on the CPU. A device that the code names changes nothing but a note; what a run
makes on a named device has no data, what a constructor makes is real.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from archcalc.engine.meta.call_arguments import tensors_in
from archcalc.engine.meta.empty_modules import emptied
from archcalc.engine.meta.known_values import NeedsValues
from archcalc.engine.torch_private import called_by_checkpoint, run_backward, with_tensors_changed

FACTORIES = frozenset(
    (
        torch.zeros, torch.ones, torch.full, torch.empty, torch.rand, torch.randn, torch.randint, torch.randperm,
        torch.arange, torch.linspace, torch.logspace, torch.eye,
    )
)  # fmt: skip
"""What a run makes by these has no data, wherever it is made: it may be written with what has none."""
FROM_DATA = frozenset((torch.tensor, torch.as_tensor, torch.asarray))
"""What is made of numbers keeps them."""
CPU, META = torch.device("cpu"), torch.device("meta")
OURS = ("cpu", "meta")
Ask = Callable[[Tensor, str], Tensor]
"""Gives the values of a tensor without data to a function of that name, or raises NeedsValues."""
Hide = Callable[[Tensor], Tensor]
"""Gives a tensor without data in place of a real one."""
Suppose = Callable[[Tensor, bool], None]
"""Takes a tensor of truth values as this one everywhere, where they are unknown."""


def no_values(tensor: Tensor, what: str) -> Tensor:
    """The answer of a constructor: no values are known there."""
    raise NeedsValues(what)


def nothing(answer: Tensor, value: bool) -> None:
    """What a constructor supposes: nothing."""


class OneDevice(TorchFunctionMode):
    """While it is active, tensors of this thread are on one device; `named` are the others that the code names."""

    def __init__(
        self, made_on: torch.device, ask: Ask = no_values, hide: Hide = emptied, suppose: Suppose = nothing
    ) -> None:
        super().__init__()
        self.made_on, self.ask, self.hide, self.suppose = made_on, ask, hide, suppose
        self.named: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        handler = HANDLERS.get(func)
        if handler is not None:
            return handler(self, func, args, kwargs)
        if func in FROM_DATA and args and isinstance(args[0], Tensor) and args[0].is_meta:
            changed = args[0].to(kwargs.get("dtype") or args[0].dtype)
            return changed.clone() if func is torch.tensor else changed
        if func in FROM_DATA and args and isinstance(args[0], list | tuple):
            args = (with_tensors_changed(args[0], self._number), *args[1:])
        if kwargs.get("device") is not None:
            kwargs = {**kwargs, "device": self.taken(kwargs["device"], CPU if func in FROM_DATA else self.made_on)}
        elif func in FACTORIES and self.made_on == META:
            kwargs = {**kwargs, "device": META}
        try:
            return func(*args, **kwargs)
        except RuntimeError as error:
            if "device" not in str(error) or not _mixed(args, kwargs):
                raise
        args, kwargs = with_tensors_changed((tuple(args), kwargs), self.hide)
        return func(*args, **kwargs)

    def _number(self, tensor: Tensor) -> Any:
        """A number among those that a tensor is made of, where it is in a tensor without data itself."""
        return self.ask(tensor, "torch.tensor").item() if tensor.is_meta and tensor.numel() == 1 else tensor

    def taken(self, device: Any, made_on: torch.device) -> torch.device:
        """The device in place of one that the code names; code that asks for tensors without data gets them."""
        return META if self.note(device) == META.type else made_on

    def note(self, device: Any) -> str:
        """Note a device that the code names, and return its kind; a bad name raises torch's own error."""
        kind = "cuda" if isinstance(device, int) else torch.device(device).type
        if kind not in OURS:
            self.named.add(kind)
        return kind


def _mixed(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether tensors without data meet real ones."""
    return len({tensor.is_meta for tensor in tensors_in((*args, kwargs))}) > 1


Handler = Callable[[OneDevice, Any, Sequence[Any], Mapping[str, Any]], Any]
HANDLERS: dict[Any, Handler] = {}


def handles(*functions: Any) -> Callable[[Handler], Handler]:
    """Register what happens in place of functions of torch."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(functions, handler))
        return handler

    return register


@handles(Tensor.device.__get__)
def device_of(mode: OneDevice, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A tensor without data says that it is on the CPU: autocast, generators and the like know no meta device.

    A checkpoint compares devices that it asks for with this mode on and with it off: it gets the true one.
    """
    device = func(*args, **kwargs)
    return CPU if device == META and not called_by_checkpoint() else device


@handles(Tensor.cuda, Tensor.cpu, Tensor.pin_memory, Tensor.xpu)
def moved(mode: OneDevice, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The tensor itself: it is there already."""
    if func in (Tensor.cuda, Tensor.xpu):
        mode.note("cuda" if func is Tensor.cuda else "xpu")
    return args[0]


@handles(Tensor.backward)
def backward(mode: OneDevice, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """The backward pass of a number with this mode on: it runs code of the model again, such as a checkpoint's."""
    root, *positional = args
    plain = not positional and all(value is None or value is False for value in kwargs.values())
    if not (plain and root.numel() == 1 and root.requires_grad):
        func(*args, **kwargs)
        return
    one = torch.ones_like(root, memory_format=torch.preserve_format)
    with mode:
        run_backward(root, one)


@handles(Tensor.to)
def converted(mode: OneDevice, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The tensor in the dtype that is asked for, without a move."""
    tensor, *positional = args
    others = {key: value for key, value in kwargs.items() if key not in ("device", "dtype", "other")}
    named = [value for key in ("device", "dtype", "other") if (value := kwargs.get(key)) is not None]
    dtype, device = None, None
    for value in (*positional, *named):
        if isinstance(value, torch.dtype):
            dtype = value
        elif isinstance(value, Tensor):
            dtype = value.dtype
        elif isinstance(value, str | torch.device) or (isinstance(value, int) and not isinstance(value, bool)):
            device = META if mode.note(value) == META.type else None
    copies = [value for value in positional if isinstance(value, bool)]
    if len(copies) > 1 and copies[1]:
        others["copy"] = True
    return func(tensor, device=device or tensor.device, dtype=tensor.dtype if dtype is None else dtype, **others)


@handles(Tensor.type)
def typed(mode: OneDevice, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """`x.type()` is that of a CPU tensor; `x.type(kind)` a conversion without a move."""
    tensor, *kinds = args
    kind = next(iter(kinds), kwargs.get("dtype"))
    if kind is None:
        return func(torch.empty(0, dtype=tensor.dtype))
    if isinstance(kind, torch.dtype):
        return tensor.to(kind)
    name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__name__}"
    if ".cuda." in name:
        mode.note("cuda")
    return tensor.to(func(torch.empty(0), name.replace(".cuda.", ".")).dtype)


@handles(Tensor.type_as)
def typed_as(mode: OneDevice, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The tensor in the dtype of another, without a move."""
    other = args[1] if len(args) > 1 else kwargs["other"]
    return args[0].to(other.dtype)


@handles(Tensor.tolist, Tensor.numpy, Tensor.__array__)
def in_python(mode: OneDevice, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The values as Python or NumPy objects, which a tensor without data may not have."""
    tensor, *others = args
    if tensor.is_meta and not tensor.numel():
        tensor = torch.empty(tensor.shape, dtype=tensor.dtype)
    elif tensor.is_meta:
        tensor = mode.ask(tensor, f"Tensor.{func.__name__}")
    return func(tensor, *others, **kwargs)


@handles(torch.isfinite, Tensor.isfinite, torch.isinf, Tensor.isinf, torch.isnan, Tensor.isnan)
def whether_finite(mode: OneDevice, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Unknown values are taken to be finite: code asks in order to raise an error, or to clamp what overflowed."""
    answer = func(*args, **kwargs)
    mode.suppose(answer, func in (torch.isfinite, Tensor.isfinite))
    return answer


@handles(torch.tensor_split, Tensor.tensor_split)
def split_at(mode: OneDevice, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A split at places that a tensor names needs its values."""
    told = [*args[:1], *(_told(mode, value) for value in args[1:2]), *args[2:]]
    places = kwargs.get("tensor_indices_or_sections")
    if not isinstance(places, Tensor):
        return func(*told, **kwargs)
    values = _told(mode, places)
    others = {key: value for key, value in kwargs.items() if key != "tensor_indices_or_sections"}
    return func(*told, **{"sections" if isinstance(values, int) else "indices": values}, **others)


def _told(mode: OneDevice, places: Any) -> Any:
    if not isinstance(places, Tensor):
        return places
    return (mode.ask(places, "tensor_split") if places.is_meta else places).tolist()


@handles(Tensor.new_tensor)
def made_of_numbers(mode: OneDevice, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A tensor of numbers keeps them, also if it is made like one that has no data."""
    like, *data = args
    others = {"dtype": like.dtype, **{key: value for key, value in kwargs.items() if key not in ("data", "device")}}
    return torch.tensor(*data, **others) if data else torch.tensor(kwargs["data"], **others)


@handles(Tensor.__getitem__, Tensor.__setitem__)
def indexed(mode: OneDevice, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Lists of numbers in an index keep their values: torch would make a tensor without data of them."""
    tensor, index, *others = args
    if not isinstance(tensor, Tensor) or not tensor.is_meta:
        return func(*args, **kwargs)
    parts = index if isinstance(index, tuple) else (index,)
    told = tuple(_places(mode, part) for part in parts)
    if all(new is old for new, old in zip(told, parts, strict=True)):
        return func(*args, **kwargs)
    return func(tensor, told if isinstance(index, tuple) else told[0], *others, **kwargs)


def _places(mode: OneDevice, part: Any) -> Any:
    """A list of numbers as a tensor that keeps them; any other part of an index as it is.

    A number may be a tensor itself, as in `x[rows, columns]` for lists of such, if its value is known.
    """
    if not isinstance(part, list | tuple) or not part:
        return part
    try:
        numbers = [_place(mode, number) for number in part]
    except NeedsValues:
        return part
    return torch.tensor(numbers) if all(type(number) in (int, bool) for number in numbers) else part


def _place(mode: OneDevice, number: Any) -> Any:
    if not isinstance(number, Tensor) or number.dim():
        return number
    return (mode.ask(number, "indexing") if number.is_meta else number).item()


@handles(Tensor.__format__)
def formatted(mode: OneDevice, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A number in a text, such as the name of an expert: its value where that is known."""
    if not args[0].is_meta or args[0].dim():
        return func(*args, **kwargs)
    try:
        return format(mode.ask(args[0], "Tensor.__format__").item(), *args[1:])
    except NeedsValues:
        return func(*args, **kwargs)
