"""Calls of alike layers with arguments of the same shapes: one of them runs, the others return what it returned.

The shapes of what a tower of 32 layers returns are then known as fast as those of one with a layer. Nothing is assumed
of what the layers do to a shape: another shape, an attribute that differs, even by the layer's own number, or other
values where values are known, and the layer runs. What a layer reads beside itself and its arguments is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.engine.meta.known_values import KnownValues, kept
from archcalc.engine.torch_private import (
    has_hooks,
    own_buffers,
    own_parameters,
    version,
    with_tensors_changed,
    without_function_modes,
)

FEWEST = 3
"""Shorter lists run as they are."""
LARGEST = 1 << 16
"""Elements of the largest buffer whose values are compared."""
PLAIN = (int, float, str, bool, type(None), torch.dtype)
OF_MODULES = frozenset((*vars(nn.Module()), "forward")) - {"training"}
"""Attributes that every module has; its parameters, buffers and modules are compared by themselves."""


class _Unlike(Exception):
    """Something that a layer has, gets or returns has no form to be compared by."""


@contextmanager
def alike_calls(module: nn.Module, known: KnownValues) -> Iterator[None]:
    """In this block a layer of a list runs once for arguments of the same shapes; the module is put back at its end.

    With data nothing changes: there a shape may depend on any value.
    """
    calls = _Calls(known)
    changed = [] if known.data else [layer for layer in _candidates(module) if "forward" not in vars(layer)]
    for layer in changed:
        vars(layer)["forward"] = calls.once(layer)
    try:
        yield
    finally:
        for layer in changed:
            del vars(layer)["forward"]


def _candidates(module: nn.Module) -> list[nn.Module]:
    """The layers of all lists, and the parts of each, where they have parts themselves; each once."""
    found: dict[int, nn.Module] = {}
    for member in module.modules():
        if not isinstance(member, nn.ModuleList | nn.Sequential) or len(member) < FEWEST:
            continue
        for layer in member.children():
            found |= {id(part): part for part in (layer, *layer.children())}
    return [m for m in found.values() if any(m.children()) and not isinstance(m, torch.jit.ScriptModule)]


class _Calls:
    """Results of calls that ran, under the kind of the layer and the form of its arguments."""

    def __init__(self, known: KnownValues) -> None:
        self.known = known
        self.returned: dict[Any, Any] = {}
        self.compared: list[Tensor] = []  # kept alive: tensors with values are compared by identity

    def once(self, layer: nn.Module) -> Callable[..., Any]:
        """The forward of a layer that returns what an alike call returned, if there was one."""
        forward = layer.forward

        @wraps(forward)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                key = self._kind(layer), self._form((args, kwargs))
            except _Unlike:
                return forward(*args, **kwargs)
            if key in self.returned:
                return with_tensors_changed(self.returned[key], Tensor.detach)  # tensors of their own
            out = forward(*args, **kwargs)
            if self._lasts(layer, key[0], out):
                self.returned[key] = out
            return out

        return call

    def _lasts(self, layer: nn.Module, kind: Any, out: Any) -> bool:
        """Whether a call changed nothing of its layer, and returned tensors without values alone."""
        try:
            values = len(self.compared)
            self._form(out)
            return len(self.compared) == values and self._kind(layer) == kind
        except _Unlike:
            return False

    def _form(self, value: Any) -> Any:
        """A key for a value: a layer makes the same shapes of two values whose keys are equal."""
        if isinstance(value, Tensor):
            if not value.is_meta or self.known.of(value) is not None:
                self.compared.append(value)
                return id(value), version(value)
            return tuple(value.shape), value.stride(), value.dtype
        if isinstance(value, PLAIN):
            return type(value), value
        if type(value) in (list, tuple):
            return type(value), tuple([self._form(item) for item in value])
        if type(value) is dict:
            return tuple([(key, self._form(item)) for key, item in value.items()])
        raise _Unlike

    def _kind(self, layer: nn.Module) -> Any:
        """A key for a layer, by classes, attributes, shapes and values of buffers: alike layers have equal keys."""
        parts = list(layer.named_modules())
        if layer.training or any(has_hooks(part) for _, part in parts[1:]):
            raise _Unlike
        return tuple([(path, type(part), _settings(part), _tensors(part)) for path, part in parts])


def _settings(part: nn.Module) -> Any:
    return tuple([(name, _attribute(value)) for name, value in vars(part).items() if name not in OF_MODULES])


def _tensors(part: nn.Module) -> Any:
    own = {**own_parameters(part), **own_buffers(part)}
    return tuple([(name, _held(tensor)) for name, tensor in own.items()])


def _attribute(value: Any) -> Any:
    """A plain attribute by its value, a function with some arguments by these, any other by its identity."""
    if type(value) is partial:
        return id(value.func), _attribute(value.args), _attribute(value.keywords)
    return repr(value) if _is_plain(value) else id(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(item) for pair in value.items() for item in pair)
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(_is_plain, value))
    return isinstance(value, PLAIN)


def _held(tensor: Tensor | None) -> Any:
    """The shape of a parameter or a buffer, with its values where they are known."""
    if tensor is None:
        return None
    values = kept(tensor) if tensor.is_meta else tensor
    if values is not None and values.numel() > LARGEST:
        return id(tensor)
    with without_function_modes():
        return tuple(tensor.shape), tensor.dtype, None if values is None else repr(values.tolist())
