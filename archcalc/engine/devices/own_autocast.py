"""Regions of autocast that a model enters by itself, in a run on tensors without data.

A tensor without data says that it is on the CPU, whatever device is assumed. So a region means that device, by whatever
name, unless it is a CPU: on a CPU a region of another device does nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from archcalc.engine.devices.autocast import Autocast
from archcalc.engine.meta.cuda_regions import regions_of_cuda
from archcalc.engine.torch_private import is_on

CPU = "cpu"


@contextmanager
def own_regions(autocast: Autocast, install: Callable[[], None]) -> Iterator[None]:
    """In this block the regions of torch.autocast act; `install` enters the ops of autocast when the first is met."""
    kind: Any = torch.autocast
    enters, leaves = kind.__enter__, kind.__exit__
    thread, entered = threading.get_ident(), list[tuple[Any, AbstractContextManager[None]]]()

    def enter(region: Any) -> Any:
        result = enters(region)
        if threading.get_ident() == thread and (autocast.lists != CPU or region.device == CPU):
            if is_on(region):
                install()
            inside = autocast.own_region(is_on(region), region.fast_dtype)
            inside.__enter__()
            entered.append((region, inside))
        return result

    def leave(region: Any, *raised: Any) -> Any:
        if entered and entered[-1][0] is region and threading.get_ident() == thread:
            entered.pop()[1].__exit__(None, None, None)
        return leaves(region, *raised)

    try:
        kind.__enter__, kind.__exit__ = enter, leave
        with nullcontext() if autocast.lists == CPU else regions_of_cuda():
            yield
    finally:
        kind.__enter__, kind.__exit__ = enters, leaves
