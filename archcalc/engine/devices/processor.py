"""What of this machine's processor decides which kernels torch's CPU takes: its instruction set and its threads."""

from __future__ import annotations

import os
from functools import cache

import torch

from archcalc.engine.torch_private import takes_bfloat16

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


def threads() -> int:
    """The threads that an op of torch may use."""
    return torch.get_num_threads()


def in_words() -> str:
    """The instruction set and the threads, as the answer states them, and whether bfloat16 has no kernels."""
    lacking = "" if has_bfloat16() else ", no bfloat16 kernels of oneDNN"
    return f"{'AVX-512' if lanes() == 16 else 'AVX2'}, {threads()} thread{'s' * (threads() > 1)}{lacking}"
