"""MACs of the same model and inputs by independent counters: torch's FlopCounterMode and fvcore.

Both run the model themselves, on tensors without data where they can; their numbers owe nothing to the tracer's.
"""

from __future__ import annotations

import inspect
import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.engine.load.build import Loaded
from archcalc.engine.load.inputs import Inputs
from archcalc.engine.meta.own_draws import own_draws
from archcalc.engine.record.run import prepared
from archcalc.engine.setup import Setup
from archcalc.engine.torch_private import DispatchMode
from archcalc.errors import one_line
from archcalc.tracing import Counted

Counts = Mapping[str, Mapping[str, int]]
MOST_WEIGHTS = 500_000_000
"""A model with more parameters is not given real weights for the sake of a check: 2 GB in float32."""


def counts(loaded: Loaded, setup: Setup, values: Any = None) -> tuple[Counted, ...]:
    """The counters' findings; one that fails on the model says so in place of numbers."""
    module, inputs = prepared(loaded, setup, values)
    with torch.no_grad(), own_draws(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _torch(module, inputs), _fvcore(module, inputs)


def _torch(module: nn.Module, inputs: Inputs) -> Counted:
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    seen = _OpsWithoutFormula(counter)
    name = "torch FlopCounterMode"
    try:
        with seen, counter:
            module(*inputs.args, **inputs.kwargs)
    except Exception as error:
        return Counted(name, {}, (), one_line(error))
    root = type(module).__name__
    inclusive: dict[str, dict[str, int]] = {}
    for where, ops in counter.get_flop_counts().items():
        path = "" if where == "Global" else where.removeprefix(root).removeprefix(".")
        inclusive[path] = {str(op).removeprefix("aten."): flops // 2 for op, flops in ops.items()}
    return Counted(name, _own(inclusive), tuple(sorted(seen.names)))


class _OpsWithoutFormula(DispatchMode):  # type: ignore[no-untyped-call]
    """The names of the ops that torch's counter saw and had no formula for."""

    def __init__(self, counter: Any) -> None:
        super().__init__()
        self.known = counter.flop_registry
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket not in self.known:
            self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def _fvcore(module: nn.Module, inputs: Inputs) -> Counted:
    import fvcore
    from fvcore.nn import FlopCountAnalysis

    name = f"fvcore {fvcore.__version__}"
    bound = inspect.signature(module.forward).bind(*inputs.args, **inputs.kwargs)
    if bound.kwargs:
        return Counted(name, {}, (), f"takes inputs by position only, and {next(iter(bound.kwargs))} is given by name")

    def count(model: nn.Module, args: tuple[Any, ...]) -> Counted:
        analysis = FlopCountAnalysis(model, args)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
        inclusive = {path: dict(ops) for path, ops in analysis.by_module_and_operator().items()}
        unknown = tuple(sorted(op.partition("::")[2] for op in analysis.unsupported_ops()))
        return Counted(name, _own(inclusive), unknown)

    try:
        return count(module, bound.args)
    except Exception as error:  # a jit trace of some shape rules needs real tensors
        if sum(p.numel() for p in module.parameters()) > MOST_WEIGHTS:
            return Counted(name, {}, (), one_line(error))
    try:
        return count(_with_zeros(module), tuple(_zeros(value) for value in bound.args))
    except Exception as error:
        return Counted(name, {}, (), one_line(error))


def _with_zeros(module: nn.Module) -> nn.Module:
    """The module with weights of zero on CPU: its shapes are the same."""
    module = module.to_empty(device="cpu")
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.zero_()
    return module


def _zeros(value: Any) -> Any:
    return torch.zeros(value.shape, dtype=value.dtype) if isinstance(value, Tensor) else value


def _own(inclusive: Counts) -> dict[str, dict[str, int]]:
    """Counts of each module's own ops, from those that take in everything below it."""
    own = {path: Counter(ops) for path, ops in inclusive.items()}
    for path, ops in inclusive.items():
        above = path
        while above:
            above = above.rpartition(".")[0]
            if above in own:
                own[above].subtract(ops)
                break
    return {path: {op: count for op, count in ops.items() if count} for path, ops in own.items()}
