"""What of this machine's processor decides which kernels torch's CPU takes: its instruction set and its threads."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

from archcalc.engine.torch_private import has_products, has_tiles, takes_bfloat16

NARROW = ("AVX2", "AVX", "SSE41")
"""The values of ONEDNN_MAX_CPU_ISA below AVX-512."""


@cache
def lanes() -> int:
    """Float32 numbers in a register of the instruction set: 16 with AVX-512, 8 with AVX2 and others.

    oneDNN blocks channels by it. Its own limit, the environment's ONEDNN_MAX_CPU_ISA, is followed.
    """
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper()
    wide = "AVX512" in torch.backends.cpu.get_cpu_capability()
    return 16 if wide and not limit.startswith(NARROW) else 8


@cache
def has_bfloat16() -> bool:
    """Whether oneDNN has kernels for bfloat16 here; torch falls back to plain ones without."""
    return lanes() == 16 and takes_bfloat16()


@cache
def multiplies_bfloat16() -> bool:
    """Whether AVX-512 itself multiplies numbers of bfloat16 here, without AMX, which has other kernels."""
    return has_bfloat16() and has_products() and not has_tiles()


@cache
def second_cache() -> int:
    """Bytes of the second cache of a core, as Linux tells them; 1 MiB where it does not."""
    try:
        said = Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text(encoding="ascii")
        return int(said.strip().removesuffix("K")) * 1024
    except (OSError, ValueError):
        return 1 << 20


_before: list[int] = []
"""The threads that torch had when a block of `one_thread` began."""


def threads() -> int:
    """The threads that an op of torch may use, those of the machine also in a block of `one_thread`."""
    return _before[0] if _before else torch.get_num_threads()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread in this block: constructors and masks are small ops, whose other threads only wait.

    A process with several threads of Python is left as it is, as they share the setting.
    """
    if _before or threading.active_count() > 1:
        yield
        return
    _before.append(torch.get_num_threads())
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(_before.pop())


def in_words() -> str:
    """The instruction set and the threads, as the answer states them, and whether bfloat16 has no kernels."""
    lacking = "" if has_bfloat16() else ", no bfloat16 kernels of oneDNN"
    return f"{'AVX-512' if lanes() == 16 else 'AVX2'}, {threads()} thread{'s' * (threads() > 1)}{lacking}"
