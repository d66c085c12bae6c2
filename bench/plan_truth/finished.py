"""Gloo whose exchanges are finished when they are begun: the peak of a rank is then the same in every run.

Gloo works in threads of its own, which hold tensors until they get their turn; on a busy machine a tensor that the
model has long let go is still there when the next one is made. On a GPU, streams order what is freed: nothing waits for
a thread. So each exchange here is done by gloo, between the processes, and the step goes on when its threads have let
all tensors go.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.profiler import record_function
from torch.utils import _pytree as pytree

NAME = "finished_gloo"
INSIDE = "exchange by gloo"
"""The mark in a profile of what gloo does; its own buffers are made inside."""
EXCHANGES = {
    "all_gather_single": "_allgather_base",
    "reduce_scatter_single": "_reduce_scatter_base",
    **{name: name for name in ("allreduce", "allreduce_coalesced", "broadcast", "allgather", "scatter", "barrier")},
}
"""The exchanges of a process group, and gloo's names for them."""
PATIENCE = 10.0
"""Seconds that a thread of gloo may take to let tensors go."""


class FinishedGloo(dist.ProcessGroup):
    """A process group that hands each exchange to gloo and waits for it."""

    def __init__(self, store: Any, rank: int, size: int, timeout: Any) -> None:
        super().__init__(rank, size)
        self._gloo = dist.ProcessGroupGloo(store, rank, size, timeout)

    @property
    def group_name(self) -> str:
        """The name that torch gave the group."""
        return str(dist.distributed_c10d._world.pg_names[self])

    def getBackendName(self) -> str:
        """The name by which torch asks for it."""
        return NAME

    def _finish(self, name: str, *arguments: Any) -> Any:
        tensors = [leaf for leaf in pytree.tree_leaves(arguments) if isinstance(leaf, Tensor)]
        before = [_users(tensor) for tensor in tensors]
        with record_function(INSIDE):
            aliases = pytree.tree_map_only(Tensor, lambda tensor: tensor.detach(), arguments)
            getattr(self._gloo, name)(*aliases).wait()
            del aliases
        until = time.monotonic() + PATIENCE
        while any(_users(tensor) > users for tensor, users in zip(tensors, before, strict=True)):
            if time.monotonic() > until:
                raise TimeoutError(f"gloo holds a tensor of {name}")
            time.sleep(0.0002)
        done: Any = torch.futures.Future()
        done.set_result(arguments[0] if tensors else None)
        return torch._C._distributed_c10d._create_work_from_future(done)


def _users(tensor: Tensor) -> int:
    """How many tensors share a tensor's storage."""
    return torch._C._storage_Use_Count(tensor.untyped_storage()._cdata)  # type: ignore[attr-defined]


def _method(name: str) -> Callable[..., Any]:
    return lambda self, *arguments, **options: self._finish(name, *arguments, *options.values())


for ours, theirs in EXCHANGES.items():
    setattr(FinishedGloo, ours, _method(theirs))


def register() -> None:
    """Make the group known to torch under its name."""
    dist.Backend.register_backend(NAME, FinishedGloo, devices=["cpu"])
