"""The same step on a GPU: the highest marks of torch's caching allocator."""

from __future__ import annotations

import gc
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from bench.memory_truth.case import Case
from bench.memory_truth.measured import END, loop_of, passes_of
from bench.memory_truth.sources import Built, build, seed


@dataclass(frozen=True)
class OnCuda:
    """Peaks of allocated bytes in the first and in the steady step, and the bytes reserved in the steady step."""

    first: int
    steady: int
    reserved: int


def measured_on_cuda(case: Case, device: str = "cuda") -> OnCuda:
    """Run a case on a GPU: two training steps, or two forward passes of which the second counts.

    What was allocated before the model was built, such as workspaces of an earlier case, is not in the peaks.
    """
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    built = _moved(build(case), device)
    peaks: list[tuple[int, int]] = []

    def mark(name: str) -> None:
        if name == END:
            torch.cuda.synchronize()
            peaks.append((torch.cuda.max_memory_allocated() - before, torch.cuda.max_memory_reserved()))
            torch.cuda.reset_peak_memory_stats()

    run = (loop_of if case.training is not None else passes_of)(case, built, device, mark)
    gc.collect()
    gc.disable()
    seed()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        if case.attention == "math":
            with sdpa_kernel(SDPBackend.MATH):
                run()
        else:
            run()
    finally:
        gc.enable()
    (first, _), (steady, reserved) = peaks
    return OnCuda(first, steady, reserved)


def _moved(built: Built, device: str) -> Built:
    args, kwargs = pytree.tree_map_only(Tensor, lambda t: t.to(device), (built.args, dict(built.kwargs)))
    return Built(built.module.to(device), args, kwargs)
