"""Small models trained by two processes under DDP, FSDP2, ZeRO 1 and tensor parallelism; each measures its own peak."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from typing import Any

import torch
from torch import nn

from bench.plan_truth.models import MODELS

WORLD = 2
WARM, MEASURED = 2, 2
"""Steps before the measured ones, in which optimizers make their state and DDP its buckets anew, and these."""
WAYS = {"ddp": ("dp", 0), "zero1": ("dp", 1), "fsdp": ("dp", 3), "tp": ("tp", 0)}
"""What each way divides: the degree and ZeRO's stage, as the plan's options have them."""


@dataclass(frozen=True)
class Case:
    """A way to train a model: the optimizer, whether each block is computed again, and what is not trained."""

    way: str
    model: str
    optimizer: str = "adamw"
    again: bool = False
    frozen: str = ""

    @property
    def words(self) -> str:
        """The case in a few words.

        >>> Case("ddp", "former", again=True).words
        'ddp former adamw, blocks computed again'
        """
        more = [*(["blocks computed again"] if self.again else []), *([f"{self.frozen} frozen"] if self.frozen else [])]
        return ", ".join([f"{self.way} {self.model} {self.optimizer}", *more])


CASES = (
    *(Case(way, model) for way in ("ddp", "zero1", "fsdp") for model in MODELS),
    Case("tp", "former"),
    *(Case(way, "former", again=True) for way in WAYS),
    *(Case(way, model, "sgd") for way, model in (("ddp", "words"), ("fsdp", "perceptron"), ("tp", "former"))),
    *(Case(way, "former", frozen="blocks.[01]") for way in ("ddp", "fsdp")),
    *(Case(way, "words", frozen="words") for way in ("ddp", "fsdp")),
    Case("fsdp", "images", again=True),
)


def peaks(cases: Sequence[Case]) -> dict[Case, list[int]]:
    """The highest sum of live bytes in a step, of each rank and measured step.

    Buffers that a GPU does without are left out. RuntimeError if a rank fails.
    """
    context = get_context("spawn")
    queue = context.Queue()
    found: dict[Case, list[int]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as folder:
        store = os.path.join(folder, "store")
        started = [context.Process(target=_rank, args=(rank, cases, store, queue)) for rank in range(WORLD)]
        for process in started:
            process.start()
        try:
            for _ in range(WORLD * len(cases)):
                case, measured = queue.get(timeout=120)
                if isinstance(measured, str):
                    raise RuntimeError(f"{case.words}: {measured}")
                found[case] += measured
            for process in started:
                process.join()
        finally:
            for process in started:
                process.kill()
    return found


def _rank(rank: int, cases: Sequence[Case], store: str, queue: Any) -> None:
    import torch.distributed as dist

    from bench.plan_truth.finished import NAME, register

    torch.set_num_threads(1)
    register()
    dist.init_process_group(NAME, init_method=f"file://{store}", rank=rank, world_size=WORLD)
    for case in cases:
        try:
            queue.put((case, measured(case)))
        except Exception as error:  # the other rank waits: tell of it there
            queue.put((case, f"{type(error).__name__}: {error}"))
            raise
        gc.collect()
    dist.barrier()
    dist.destroy_process_group()


def alone(case: Case, world: int) -> int:
    """The peak of the first of some ranks in this process: torch's fake group exchanges nothing. Not for DDP."""
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=world)
    try:
        return max(measured(case))
    finally:
        dist.destroy_process_group()


def made(case: Case) -> nn.Module:
    """The model of a case as one rank trains it."""
    module = MODELS[case.model].make()
    for path, layer in module.named_modules():
        if case.frozen and fnmatchcase(path, case.frozen):
            layer.requires_grad_(False)
    return _spread(case.way, module, case.again)


def _spread(way: str, module: nn.Module, again: bool) -> nn.Module:
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
    from torch.utils.checkpoint import checkpoint

    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    plan = dict.fromkeys(("attention.q", "attention.k", "attention.v", "up"), ColwiseParallel())
    plan |= dict.fromkeys(("attention.o", "down"), RowwiseParallel())
    for block in module.blocks:
        if way == "tp":
            parallelize_module(block, mesh, plan)
        if again:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        if way == "fsdp":
            fully_shard(block, mesh=mesh)
    if way == "fsdp":
        fully_shard(module, mesh=mesh)
    if way in ("ddp", "zero1"):
        return nn.parallel.DistributedDataParallel(module, gradient_as_bucket_view=way == "zero1")
    return module


def _optimizer(case: Case, module: nn.Module) -> torch.optim.Optimizer:
    kind, options = {"adamw": (torch.optim.AdamW, {}), "sgd": (torch.optim.SGD, {"lr": 0.01})}[case.optimizer]
    trained = [p for p in module.parameters() if p.requires_grad]
    if case.way == "zero1":
        from torch.distributed.optim import ZeroRedundancyOptimizer

        return ZeroRedundancyOptimizer(trained, kind, foreach=False, **options)
    return kind(trained, foreach=False, **options)


def _of_the_cpu(roots: list[Any]) -> set[int]:
    """When buffers were made that a GPU does without.

    Such are gloo's own, by which it does a reduce-scatter, and the rows that the CPU's kernel of _chunk_cat pads.
    """
    from bench.plan_truth.finished import INSIDE

    found, pending = set(), [(root, False) for root in roots]
    while pending:
        node, inside = pending.pop()
        if inside and node.name == "[memory]":
            found.add(node.start_time_ns)
        inside = inside or node.name in (INSIDE, "aten::_chunk_cat")
        pending += [(child, inside) for child in node.children]
    return found


def recorded(case: Case) -> Any:
    """The recording of a case's training, with a mark before each measured step and after the last."""
    from torch.profiler import ProfilerActivity, profile, record_function

    from bench.memory_truth.events import MARK, recording_of

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        torch.manual_seed(0)
        module, x = made(case), MODELS[case.model].batch("cpu")
        optimizer = _optimizer(case, module)
        for step in range(WARM + MEASURED):
            if step >= WARM:
                with record_function(f"{MARK}{step}"):
                    pass
            optimizer.zero_grad(set_to_none=True)
            out = module(x)
            loss = out.sum()
            loss.backward()
            optimizer.step()
        with record_function(f"{MARK}end"):
            pass
    recording = recording_of(profiler)
    own = _of_the_cpu(recording.roots)
    recording.blocks = [block for block in recording.blocks if block.birth not in own]
    return recording


def measured(case: Case) -> list[int]:
    """The peak of each measured step."""
    recording = recorded(case)
    times = dict(recording.marks)
    starts = [*(times[str(step)] for step in range(WARM, WARM + MEASURED)), times["end"]]
    return [recording.peak(start, end)[0] for start, end in pairwise(starts)]
