"""Modules whose forward is more than layers: recomputation, functions with their own gradient, work in place, loops."""

# ruff: noqa: D102, forward reads as its user wrote it

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from bench.memory_truth.users.given import Program, both, floats


class Block(nn.Module):
    """A residual feed-forward block."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.norm, self.wide, self.narrow = (
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(F.gelu(self.wide(self.norm(x))))


class Recomputed(nn.Module):
    """Calls checkpoint in its own forward, in either of torch's ways."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.first = nn.Linear(64, 128)
        self.blocks = nn.ModuleList(Block() for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=self.reentrant)
        return x


class InSegments(nn.Module):
    """checkpoint_sequential over a stack."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 128)
        self.stack = nn.Sequential(*(Block() for _ in range(6)))

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint_sequential(self.stack, 3, self.first(x), use_reentrant=False)


class Reverse(torch.autograd.Function):
    """The identity, whose gradient is turned round."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.neg() * ctx.scale, None


class Domain(nn.Module):
    """Domain-adversarial training: two heads, one behind a reversed gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 128), nn.ReLU())
        self.label, self.domain = nn.Linear(128, 10), nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 2))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.features(x.repeat(32, 1))
        return self.label(x), self.domain(Reverse.apply(x, 0.5))


class Swish(torch.autograd.Function):
    """x·sigmoid(x), which keeps x alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return grad * (s * (1 + x * (1 - s)))


class MemorySaving(nn.Module):
    """Convolutions with a hand-written activation."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 if n == 0 else 24, 24, 3, padding=1) for n in range(4))

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = Swish.apply(conv(x))
        return x


class InPlace(nn.Module):
    """Works in place wherever it can: add_, relu_, mul_, masked_fill_, index writes."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(96, 192), nn.Linear(192, 192), nn.Linear(192, 96)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).relu_()
        z = self.b(y)
        z.add_(0.1).mul_(2.0)
        z = F.dropout(z, 0.1, self.training, inplace=True)
        out = x.new_zeros(x.shape[0], x.shape[1] + 2, 96)
        out[:, 1:-1] = self.c(z)
        out[:, 0] += 1.0
        return out


class Adaptive(nn.Module):
    """One block applied again and again, its outputs averaged with learned weights."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Block(96)
        self.shares = nn.Parameter(torch.zeros(6))

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for _ in range(6):
            x = self.block(x)
            outputs.append(x)
        return (torch.stack(outputs) * self.shares.softmax(0).view(-1, 1, 1, 1)).sum(0)


class Output(NamedTuple):
    """What several heads return."""

    boxes: Tensor
    classes: list[Tensor]
    extra: dict[str, Tensor]


class Heads(nn.Module):
    """A feature pyramid with several heads; nested outputs, some of which need no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU())
        self.down = nn.ModuleList(nn.Conv2d(32, 32, 3, 2, 1) for _ in range(3))
        self.lateral = nn.ModuleList(nn.Conv2d(32, 32, 1) for _ in range(3))
        self.boxes, self.classes = nn.Conv2d(32, 4, 3, padding=1), nn.Conv2d(32, 20, 3, padding=1)

    def forward(self, x: Tensor) -> Output:
        x, levels = self.stem(x), []
        for down in self.down:
            x = F.relu(down(x))
            levels.append(x)
        top = self.lateral[2](levels[2])
        pyramid = [top]
        for n in (1, 0):
            top = self.lateral[n](levels[n]) + F.interpolate(top, scale_factor=2.0, mode="nearest")
            pyramid.append(top)
        boxes = torch.cat([self.boxes(p).flatten(2) for p in pyramid], 2).exp()
        classes = [self.classes(p) for p in pyramid]
        with torch.no_grad():
            best = torch.cat([c.flatten(2) for c in classes], 2).sigmoid().amax(1)
        return Output(boxes, classes, {"best": best})


class GraphNet(nn.Module):
    """Messages over edges by index_select and index_add."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.edges, self.nodes = nn.Linear(2 * width, width), nn.GRUCell(width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(0, 1)
        n = x.shape[0]
        sources = torch.arange(n, device=x.device).repeat(4)
        targets = (sources * 7 + 3) % n
        for _ in range(2):
            messages = F.relu(self.edges(torch.cat([x[sources], x[targets]], 1)))
            total = torch.zeros_like(x).index_add(0, targets, messages)
            x = self.nodes(total, x)
        return x


class Memory(nn.Module):
    """Keeps an average of what it saw in a buffer, and a codebook as VQ-VAEs do."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(64, 32)
        self.codes = nn.Embedding(256, 32)
        self.register_buffer("mean", torch.zeros(32))
        self.back = nn.Linear(32, 64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.project(x)
        self.mean = 0.9 * self.mean + 0.1 * z.detach().mean(dim=(0, 1))
        distances = torch.cdist(z, self.codes.weight.unsqueeze(0).expand(z.shape[0], -1, -1))
        codes = self.codes(distances.argmin(-1))
        loss = F.mse_loss(codes, z.detach()) + 0.25 * F.mse_loss(z, codes.detach())
        return self.back(z + (codes - z).detach()), loss


class Hyper(nn.Module):
    """Weights of one layer are made by another; bilinear and outer products."""

    def __init__(self) -> None:
        super().__init__()
        self.make = nn.Linear(16, 64 * 32)
        self.mix = nn.Bilinear(32, 32, 24)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        weights = self.make(context).view(-1, 64, 32)
        y = torch.bmm(x, weights).tanh()
        return self.mix(y, y.flip(1))


class Guided(nn.Module):
    """Attention by torch's own kernel with a float mask, and a penalty on the gradient's norm kept apart."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.bias = nn.Parameter(torch.zeros(1, 4, 96, 96))
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = (p.view(b, t, 4, d // 4).transpose(1, 2) for p in self.qkv(x).chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias.expand(b, -1, -1, -1).to(q.dtype))
        return y.transpose(1, 2).flatten(2) * self.scale + x.roll(1, dims=1)


class Stochastic(nn.Module):
    """Noise, dropout of whole paths, label smoothing by where: what is random but seeded."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(96) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.01 * torch.randn_like(x) if self.training else x
        for block in self.blocks:
            keep = torch.bernoulli(torch.full((x.shape[0], 1, 1), 0.9, device=x.device, dtype=x.dtype))
            x = torch.where(keep > 0, block(x), x)
        return F.alpha_dropout(x, 0.1, self.training).logsumexp(-1)


class Pooling(nn.Module):
    """All the poolings, with indices and back again."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 8, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.softplus(self.first(F.pad(x, (1, 1, 1, 1), mode="reflect")))
        small, where = F.max_pool2d(x, 2, return_indices=True)
        smooth = F.avg_pool2d(small, 3, 1, 1) + F.lp_pool2d(F.pad(small, (1, 1, 1, 1)), 2.0, 3, 1)
        return self.last(F.max_unpool2d(smooth, where, 2))


PROGRAMS: dict[str, Program] = {
    "checkpoint reentrant": (lambda: Recomputed(True), floats(128, 64)),
    "checkpoint": (lambda: Recomputed(False), floats(128, 64)),
    "checkpoint in segments": (InSegments, floats(128, 64)),
    "gradient reversal": (Domain, floats(256)),
    "own autograd function": (MemorySaving, floats(3, 64, 64)),
    "in place": (InPlace, floats(64, 96)),
    "shared block in a loop": (Adaptive, floats(64, 96)),
    "pyramid with nested outputs": (Heads, floats(3, 128, 128)),
    "graph network": (GraphNet, floats(200, 64)),
    "codebook and moving buffer": (Memory, floats(256, 64)),
    "weights made by a layer": (Hyper, both(floats(48, 64), floats(16))),
    "attention with a learned bias": (Guided, floats(96, 96)),
    "random paths": (Stochastic, floats(64, 96)),
    "poolings": (Pooling, floats(3, 64, 64)),
}
