"""What torch's CPU allocator does while something runs, beside our rules for a call."""

from __future__ import annotations

from collections.abc import Callable
from sys import maxsize
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from archcalc.engine.devices import workspaces
from archcalc.engine.meta.call_arguments import tensors_in
from bench.memory_truth.events import recording_of


def ours(func: Any, args: tuple[Any, ...]) -> int:
    """The bytes inside a call by our rules."""
    return workspaces.on_cpu(func, as_meta(args), {}, as_meta(func(*args)))


def theirs(func: Any, args: tuple[Any, ...]) -> int:
    """The bytes inside a call by the allocator's events."""
    highest, out = measured(lambda: func(*args))
    made = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors_in(out)}
    return highest - sum(made.values())


def as_meta(value: Any) -> Any:
    """The same without data; strides are kept."""
    if isinstance(value, Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    if isinstance(value, list | tuple) and any(isinstance(one, Tensor) for one in value):
        return type(value)(as_meta(one) for one in value)
    return value


def measured(run: Callable[[], Any]) -> tuple[int, Any]:
    """The most bytes that are allocated at once while it runs, and its result."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        out = run()
    return recording_of(profiler).peak(0, maxsize)[0], out
