"""Turns what a user's function returns, or a program passes, into a module; the error for other values says why not."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.engine.load.nested import tensors_with_places
from archcalc.errors import BadInput, BadReference, CannotFollow
from archcalc.text.units import shape

PLAIN = ("FloatFunctional", "FXFloatFunctional", "Quantize", "DeQuantize")
"""Classes of torch's quantization that hold no weights; models that are not quantized yet have them, too."""
FIXED = "other sizes are fixed: export it with dynamic_shapes, or give the model itself"
ALONE = "return the model alone"
MOST = 3
"""How deep we look for a module in what is none."""
WIDE = 100
"""How many parts of each container we look at."""


def module_of(value: Any, name: str, calls: str = "") -> nn.Module:
    """The module that a value is: itself, what torch.compile wraps, or the modules of an exported program.

    BadReference for what is no module, CannotFollow for one whose weights are packed. `calls` is the hint where
    nothing better is known.
    """
    if _is_exported(value):
        return _unflattened(value)
    if not isinstance(value, nn.Module):
        reason, hint = why_none(value)
        raise BadReference(name, reason, hint or calls)
    module = _uncompiled(value)
    packed = next(((path, m) for path, m in module.named_modules() if _is_packed(m)), None)
    if packed is not None:
        path, layer = packed
        sentence = (
            f"{name} is quantized by torch: {path or 'it'} is a {_kind(layer)}, whose weights have no shape here."
        )
        raise CannotFollow(sentence, "give the model as it is before it is quantized")
    return module


def is_graph(module: nn.Module) -> bool:
    """Whether a module, or one in it, is a program of torch.export or a script: graphs, whose layers are none."""
    export = sys.modules.get("torch.export")
    kinds = (torch.jit.ScriptModule, *([export.UnflattenedModule] if export is not None else []))
    return any(isinstance(member, kinds) for member in module.modules())


def why_none(value: Any) -> tuple[str, str]:
    """Why a value is no module, and what to give in its place ('': nothing in particular)."""
    if inspect.iscoroutine(value):
        value.close()  # Python would warn that nothing waits for it
        return "it is asynchronous, and gives no module before it is awaited", "name a function without async"
    if value is None:
        return "it gives nothing", "end the function with  return model"
    if isinstance(value, type):
        hint = f"return {value.__name__}(...), or name the class itself" if issubclass(value, nn.Module) else ""
        return f"it gives the class {value.__name__} and no torch.nn.Module", hint
    if isinstance(value, partial):
        made = getattr(value.func, "__name__", "a function")
        return f"it gives a partial of {made}, which is not called", f"return what it makes: {made}(...)"
    if isinstance(value, Mapping) and value and all(isinstance(entry, Tensor) for entry in value.values()):
        return "it gives weights without the model that they are of", "return the model"
    of_module = getattr(value, "__self__", None)
    if isinstance(of_module, nn.Module):
        return f"it gives a method of {_kind(of_module)} and not the module", "return the module itself"
    if callable(value) and not any(True for _ in _modules(value)):
        return f"it gives {_a(value)} and not a torch.nn.Module", "make it the forward of a torch.nn.Module"
    held = next(_modules(value), None)
    if held is None:
        return f"it gives {_a(value)} and not a torch.nn.Module", ""
    place, module = held
    return f"it gives {_a(value)}, with a module in it ({place}, {_a(module)})", f"{ALONE}: that {_kind(module)}"


def _modules(value: Any, place: str = "", depth: int = 0) -> Iterator[tuple[str, nn.Module]]:
    """The modules that a value holds, each with where it is: item 0, 'model', .model."""
    inside: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        inside = [(repr(key), entry) for key, entry in value.items()]
    elif isinstance(value, list | tuple):
        inside = [(f"item {number}", entry) for number, entry in enumerate(value)]
    elif isinstance(getattr(value, "__dict__", None), dict) and not isinstance(value, type):
        inside = [(f".{key}", entry) for key, entry in vars(value).items()]
    for name, entry in inside[:WIDE]:
        if isinstance(entry, nn.Module):
            yield f"{place}{name}", entry
        elif depth < MOST:
            yield from _modules(entry, f"{place}{name}, ", depth + 1)


def _is_exported(value: Any) -> bool:
    """Whether it is a program of torch.export, which the caller has imported if so."""
    export = sys.modules.get("torch.export")
    return export is not None and isinstance(value, export.ExportedProgram)


def _unflattened(program: Any) -> nn.Module:
    """The modules of an exported program, without the tensors of the export that its nodes refer to.

    Its example inputs are given as those of a Lightning module; sizes that it was not exported for are refused.
    """
    import torch.export
    import torch.fx

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module: Any = torch.export.unflatten(program)
    for member in module.modules():
        graph = getattr(member, "graph", None)
        if isinstance(graph, torch.fx.Graph):
            for node in graph.nodes:
                node.meta = {}
    module.register_forward_pre_hook(partial(_demand_sizes, _sizes(program)), with_kwargs=True)
    args, kwargs = program.example_inputs or ((), {})
    if not kwargs and all(isinstance(value, Tensor) for value in args):
        module.example_input_array = tuple(args)
    return module  # type: ignore[no-any-return]


def _sizes(program: Any) -> list[tuple[Any, ...]]:
    """The sizes of each tensor that a program receives, None where a size may change."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    tensors = (values.get(name) for name in program.graph_signature.user_inputs)
    return [tuple(n if type(n) is int else None for n in t.shape) for t in tensors if isinstance(t, Tensor)]


def _demand_sizes(sizes: Sequence[tuple[Any, ...]], module: nn.Module, args: Any, kwargs: Any) -> None:
    """BadInput for tensors of other sizes than those that a program was exported for."""
    given = [tuple(tensor.shape) for _, tensor in tensors_with_places("", (args, kwargs))]
    for has, may in zip(given, sizes, strict=False):
        if len(has) != len(may) or any(wanted not in (None, size) for size, wanted in zip(has, may, strict=True)):
            takes = "x".join("?" if size is None else str(size) for size in may)
            raise BadInput(f"the exported program takes {takes} and not {shape(has)}.", FIXED)


def _uncompiled(module: nn.Module) -> nn.Module:
    """The module that torch.compile wraps: what it makes of the ops is not of the definition."""
    kind = type(module)
    compiled = kind.__name__ == "OptimizedModule" and kind.__module__.startswith("torch.")
    return next(module.children()) if compiled else module


def _is_packed(module: nn.Module) -> bool:
    """Whether a layer holds its weights as torch's own packed objects, which have no tensors."""
    kind = type(module)
    return (
        kind.__module__.startswith("torch.ao.nn.") and ".quantized." in kind.__module__ and kind.__name__ not in PLAIN
    )


def _kind(value: Any) -> str:
    return type(value).__name__


def _a(value: Any) -> str:
    """The type of a value with its article: 'an Adam'."""
    name = _kind(value)
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"
