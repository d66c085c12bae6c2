"""Regions of autocast for CUDA, which torch turns off when they are made without CUDA: a decorator at its import."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from archcalc.engine.torch_private import turn_on

TURNED_OFF = ("cuda",)
"""Devices whose regions torch turns off where they are not there."""


@contextmanager
def regions_of_cuda() -> Iterator[None]:
    """Regions that this thread makes in this block are on if the code says so."""
    kind: Any = torch.autocast
    torchs, thread = kind.__init__, threading.get_ident()

    def made(region: Any, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: Any = None) -> None:
        turned_on = enabled and device_type in TURNED_OFF and threading.get_ident() == thread
        torchs(region, device_type, dtype, enabled and not turned_on, cache_enabled)
        if turned_on:
            turn_on(region)

    try:
        kind.__init__ = made
        yield
    finally:
        kind.__init__ = torchs
