"""Small models trained by two processes under DDP, FSDP2 and tensor parallelism; each measures its own peak."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from itertools import pairwise
from multiprocessing import get_context
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

WORLD = 2
WARM, MEASURED = 2, 5
"""Steps before the measured ones, and these: gloo's threads hold buffers for a while, so their median is taken."""


class Attention(nn.Module):
    """Heads of 32 features, written so that a rank with half of the projections has half of the heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """N, T, width -> N, T, width."""
        n, t, _ = x.shape
        q, k, v = (part(x).view(n, t, -1, 32).transpose(1, 2) for part in (self.q, self.k, self.v))
        scores = q @ k.transpose(-2, -1) / 32**0.5
        return self.o((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, -1))


class Block(nn.Module):
    """Attention and a feed-forward part, each behind its norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """N, T, width -> N, T, width."""
        x = x + self.attention(self.norm1(x))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Former(nn.Module):
    """Blocks on vectors."""

    def __init__(self, width: int = 256, blocks: int = 4) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        """N, T, width -> N, T, width."""
        for block in self.blocks:
            x = block(x)
        return x


class Perceptron(nn.Module):
    """Layers of one width, far more parameters than activations."""

    def __init__(self, width: int = 1024, blocks: int = 6) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(width, width), nn.ReLU()) for _ in range(blocks))

    def forward(self, x: Tensor) -> Tensor:
        """N, width -> N, width."""
        for block in self.blocks:
            x = block(x)
        return x


class Images(nn.Module):
    """A small convolutional network with batch norm."""

    def __init__(self, channels: int = 64, blocks: int = 4) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU())
            for _ in range(blocks)
        )
        self.head = nn.Linear(channels, 100)

    def forward(self, x: Tensor) -> Tensor:
        """N, 3, H, W -> N, 100."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "former": (Former, (4, 128, 256)),
    "perceptron": (Perceptron, (64, 1024)),
    "images": (Images, (8, 3, 32, 32)),
}
"""Each model with the shape of its batch on one rank."""
WAYS = ("ddp", "fsdp", "tp")


def peaks(cases: list[tuple[str, str]]) -> dict[tuple[str, str], list[int]]:
    """The highest sum of live bytes in a step, of each rank; cases are of a way and a model.

    Buffers that gloo makes for itself are left out.
    """
    context = get_context("spawn")
    queue = context.Queue()
    started = [context.Process(target=_rank, args=(rank, cases, _port(), queue)) for rank in range(WORLD)]
    for process in started:
        process.start()
    found: dict[tuple[str, str], list[int]] = {}
    for _ in range(WORLD * len(cases)):
        case, peak = queue.get(timeout=120)
        found.setdefault(case, []).append(peak)
    for process in started:
        process.join()
    return found


def _port() -> str:
    return os.path.join("/tmp", f"archcalc-ranks-{os.getpid()}")


def _rank(rank: int, cases: list[tuple[str, str]], store: str, queue: Any) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=WORLD)
    for case in cases:
        queue.put((case, _peak(*case)))
        gc.collect()
    dist.barrier()
    dist.destroy_process_group()


def _wrapped(way: str, module: nn.Module) -> nn.Module:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

    mesh = init_device_mesh("cpu", (WORLD,))
    if way == "ddp":
        return nn.parallel.DistributedDataParallel(module)
    if way == "fsdp":
        for block in module.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(module, mesh=mesh)
        return module
    plan = dict.fromkeys(("attention.q", "attention.k", "attention.v", "up"), ColwiseParallel())
    plan |= dict.fromkeys(("attention.o", "down"), RowwiseParallel())
    for block in module.blocks:
        parallelize_module(block, mesh, plan)
    return module


def _flush() -> None:
    """Small exchanges, after which gloo's threads no longer hold the buffers of the last large ones."""
    import torch.distributed as dist

    for _ in range(8):
        dist.all_reduce(torch.zeros(1))


def _of_gloo(roots: list[Any]) -> set[int]:
    """When gloo made buffers of its own, such as the copy by which it does a reduce-scatter: NCCL makes none."""
    found, pending = set(), [(root, False) for root in roots]
    while pending:
        node, inside = pending.pop()
        if inside and node.name == "[memory]":
            found.add(node.start_time_ns)
        inside = inside or node.name.startswith("c10d::")
        pending += [(child, inside) for child in node.children]
    return found


def _peak(way: str, name: str) -> int:
    from torch.profiler import ProfilerActivity, profile, record_function

    from bench.memory_truth.events import MARK, recording_of

    make, shape = MODELS[name]
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        torch.manual_seed(0)
        module = _wrapped(way, make())
        x = torch.randn(shape)
        optimizer = torch.optim.AdamW(module.parameters(), foreach=False)
        for step in range(WARM + MEASURED):
            if step >= WARM:
                _flush()
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
    own = _of_gloo(recording.roots)
    recording.blocks = [block for block in recording.blocks if block.birth not in own]
    times = dict(recording.marks)
    starts = [*(times[str(step)] for step in range(WARM, WARM + MEASURED)), times["end"]]
    return int(median(recording.peak(start, end)[0] for start, end in pairwise(starts)))
