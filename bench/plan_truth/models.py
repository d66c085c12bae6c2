"""Small models for real ranks: a Transformer on vectors and on words, layers of one width, a convolutional network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


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


class Words(nn.Module):
    """Words to scores of the next one; the table is that of the head, too."""

    def __init__(self, words: int = 1003, width: int = 128, blocks: int = 3) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)
        self.head.weight = self.words.weight

    def forward(self, x: Tensor) -> Tensor:
        """N, T -> N, T, words."""
        x = self.words(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


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


class Funnel(nn.Module):
    """Layers of very different sizes, none of which divides by two."""

    def __init__(self, widths: tuple[int, ...] = (255, 2047, 63, 1021, 129, 1501)) -> None:
        super().__init__()
        pairs = pairwise(widths)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(a, b), nn.ReLU()) for a, b in pairs)

    def forward(self, x: Tensor) -> Tensor:
        """N, 255 -> N, 1501."""
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


@dataclass(frozen=True)
class Example:
    """A model with the shape of its batch on one rank; `whole` tells that it reads whole numbers."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    whole: bool = False

    def batch(self, device: str) -> Tensor:
        """A batch on a device."""
        return torch.zeros(self.shape, device=device, dtype=torch.long if self.whole else torch.float32)


MODELS: dict[str, Example] = {
    "former": Example(Former, (4, 128, 256)),
    "words": Example(Words, (4, 64), whole=True),
    "perceptron": Example(Perceptron, (64, 1024)),
    "funnel": Example(Funnel, (64, 255)),
    "images": Example(Images, (8, 3, 32, 32)),
}
