"""This machine as a device: its arithmetic and its memory, measured in about a second."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from functools import cache
from math import inf

import torch

from archcalc.hardware import Hardware

SIZE, ELEMENTS, SECONDS = 1024, 2**25, 0.25
"""Rows of the matrices that are multiplied, elements that are copied, seconds that each measurement may take."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@cache
def this_machine() -> Hardware:
    """The processor that archcalc runs on: the fastest of several products and copies, once a process."""
    peaks = {name: 2 * SIZE**3 / _least(_product(dtype)) for name, dtype in DTYPES.items()}
    threads = torch.get_num_threads()
    return Hardware(
        name=f"this machine ({platform.machine()}, {threads} thread{'s' * (threads > 1)})",
        aliases=("cpu",),
        kind="cpu",
        kernels="cpu",
        peaks=peaks,
        bandwidth=2 * ELEMENTS * 4 / _least(_copy()),
        capacity=None,
        sold_as="",
        reported=False,
        recalled=(),
        source=f"measured now: products of {SIZE} x {SIZE} matrices and a copy of {ELEMENTS * 4 // 2**20} MiB",
        vector=peaks["fp32"],
    )


def _product(dtype: torch.dtype) -> Callable[[], object]:
    matrix = torch.ones(SIZE, SIZE, dtype=dtype)
    return lambda: matrix @ matrix


def _copy() -> Callable[[], object]:
    source, target = torch.ones(ELEMENTS), torch.empty(ELEMENTS)
    return lambda: target.copy_(source)


def _least(action: Callable[[], object]) -> float:
    """Seconds of the fastest run, of as many as the time allows and at least two."""
    end, least = time.perf_counter() + SECONDS, inf
    for number in range(1000):
        start = time.perf_counter()
        action()
        least = min(least, time.perf_counter() - start)
        if number and time.perf_counter() > end:
            break
    return least
