"""What torch's CPU allocator does while something runs, beside our rules for a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from archcalc.engine.devices import workspaces
from archcalc.engine.meta.call_arguments import tensors_in


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
    tree = profiler.profiler.kineto_results.experimental_event_tree()  # type: ignore[union-attr]
    live = highest = 0
    for _, change in sorted(_changes(tree)):
        live += change
        highest = max(highest, live)
    return highest, out


def _changes(events: Any) -> Iterator[tuple[int, int]]:
    for event in events:
        if event.tag == torch._C._profiler._EventType.Allocation:
            yield event.start_time_ns, event.extra_fields.alloc_size
        yield from _changes(event.children)
