"""Modules whose parameters and buffers have shapes and no elements (torch's meta device)."""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import init
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from archcalc.engine.meta.known_values import LIMIT, keep, kept
from archcalc.engine.torch_private import is_tracing, own_buffers, own_parameters

IN_PLACE = ("uniform_", "normal_", "fill_", "zero_", "erfinv_", "mul_", "add_", "clamp_", "copy_", "bernoulli_")
INITS = (init.kaiming_uniform_, init.kaiming_normal_, init.uniform_, init.normal_, init.constant_)
FILLINGS = frozenset((*INITS, *(getattr(Tensor, name) for name in IN_PLACE)))
"""Functions that initialise a tensor; on tensors without elements they do nothing."""


FACTORIES = frozenset(
    (
        torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.randint, torch.randperm, torch.normal,
        torch.eye, torch.arange, torch.linspace, torch.logspace,
    )
)  # fmt: skip
"""Functions that make a tensor of sizes; above LIMIT elements it has no elements, as its values would be lost."""


class _Uninitialised(TorchFunctionMode):
    """New tensors of torch.empty, and large ones, have no elements from the start; filling those takes no time."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if is_tracing():  # by the program itself: torch would end the process at a module without its weights
            raise RuntimeError("torch.jit.trace runs a module on its weights")
        if func is torch.empty:
            return func(*args, **{**kwargs, "device": kwargs.get("device") or "meta"})
        if func in FILLINGS:
            filled = args[0] if args else kwargs["tensor"]
            return filled if filled.is_meta else func(*args, **kwargs)
        if func in FACTORIES and not any(isinstance(value, Tensor) for value in args):
            others = {name: value for name, value in kwargs.items() if name not in ("generator", "pin_memory")}
            empty = func(*args, **{**others, "device": "meta"})
            return empty if empty.numel() > LIMIT else func(*args, **kwargs)
        return func(*args, **kwargs)


@contextmanager
def without_data() -> Iterator[None]:
    """Modules built inside keep no weights: each parameter loses its elements when it is registered.

    So does a large buffer; small ones stay as they are, for constructors go on to fill them, until `settled`.
    Constructors still compute on real tensors where they must (`torch.linspace(...).tolist()`), so they run as written.
    Modules that other threads build meanwhile are left alone.
    """
    thread = threading.get_ident()
    emptied_before: dict[int, tuple[weakref.ref[Tensor], Tensor]] = {}

    def once(module: nn.Module, name: str, tensor: Tensor) -> Tensor:
        """The same empty tensor for the same tensor, so that what is tied stays tied."""
        if not isinstance(tensor, Tensor) or threading.get_ident() != thread:  # a buffer may be None
            return tensor
        if not isinstance(tensor, nn.Parameter) and not is_lazy(tensor) and tensor.numel() <= LIMIT:
            return tensor
        known = emptied_before.get(id(tensor))
        if known is not None and known[0]() is tensor:
            return known[1]
        empty: Tensor = emptied(tensor)
        emptied_before[id(tensor)] = weakref.ref(tensor), empty
        return empty

    on_parameter: Any = register_module_parameter_registration_hook
    on_buffer: Any = register_module_buffer_registration_hook
    hooks = [on_parameter(once), on_buffer(once)]
    try:
        with _Uninitialised():
            yield
    finally:
        for hook in hooks:
            hook.remove()


def settled(module: nn.Module) -> nn.Module:
    """The module, which is built now: its buffers lose their elements, and their values stay known beside them."""
    memo: dict[int, Tensor] = {}
    for member in module.modules():
        buffers = own_buffers(member)
        for name, buffer in list(buffers.items()):
            if buffer is not None and not buffer.is_meta:
                buffers[name] = memo.setdefault(id(buffer), emptied(buffer, known=True))
    return module


def emptied(tensor: Any, known: bool = False, limit: float = LIMIT) -> Any:
    """The same parameter or tensor on the meta device; what is there already, or is no tensor, as it is.

    With `known` it keeps its values beside it, if it has at most `limit` elements. A lazy parameter gets its shape from
    a first run, and then none of its elements.
    """
    if not isinstance(tensor, Tensor) or tensor.is_meta:
        return tensor
    if is_lazy(tensor):
        lazy: Any = type(tensor)
        return lazy(tensor.requires_grad, device="meta", dtype=tensor.dtype)
    empty: Tensor = tensor.detach().to("meta")
    if isinstance(tensor, nn.Parameter):
        empty = nn.Parameter(empty, requires_grad=tensor.requires_grad)
    if known and tensor.numel() <= limit:
        keep(empty, tensor.detach())
    return empty


def copy_without_data(module: nn.Module, data: bool = False) -> nn.Module:
    """A copy of the module without elements; the module itself is only read, and ties stay ties.

    The values of its buffers stay known; with `data` those of all parameters and buffers.
    Raises what copy.deepcopy raises on modules that hold locks, generators and the like.
    """
    memo: dict[int, Any] = {}
    for member in _reachable(module):
        for value in vars(member).values():
            if isinstance(value, Tensor) and not value.is_leaf:  # deepcopy refuses these; a weight norm leaves one
                memo[id(value)] = value.detach().clone()
        for tensor in (*own_parameters(member).values(), *own_buffers(member).values()):
            if tensor is not None and id(tensor) not in memo:
                memo[id(tensor)] = _another(tensor) if tensor.is_meta else _without(tensor, data)
    return copy.deepcopy(module, memo)


def _reachable(module: nn.Module) -> list[nn.Module]:
    """The modules of the tree, and those that its modules hold in plain lists, tuples and dicts."""
    found: dict[int, nn.Module] = {}
    waiting: list[Any] = [module]
    while waiting:
        value = waiting.pop()
        if isinstance(value, nn.Module):
            for member in value.modules():
                if id(member) not in found:
                    found[id(member)] = member
                    waiting += [held for held in vars(member).values() if type(held) in (list, tuple, dict)]
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += [item for item in value if isinstance(item, nn.Module | list | tuple | dict)]
    return list(found.values())


def _without(tensor: Tensor, data: bool) -> Tensor:
    empty: Tensor = emptied(tensor, known=data or not isinstance(tensor, nn.Parameter), limit=inf if data else LIMIT)
    return empty


def _another(tensor: Tensor) -> Tensor:
    """A second meta tensor like this one, so that changes to the copy do not reach the original."""
    if is_lazy(tensor):
        return tensor
    twin = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    twin = nn.Parameter(twin, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else twin
    values = kept(tensor)
    if values is not None:
        keep(twin, values)
    return twin


def cast(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The module with its floats in another dtype; values that are known stay known."""
    known = {name: kept(tensor) for name, tensor in registered(module).items()}
    module = module.to(dtype)
    for name, tensor in registered(module).items():
        values = known[name]
        if values is not None:
            keep(tensor, values.to(tensor.dtype))
    return module


def registered(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name, tied ones once."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}
