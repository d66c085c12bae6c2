"""Ten models as their users write them, each with its inputs and its multiply-adds derived without any counter.

Six are torchvision's, whose weights state their operations; four are written here, and counted by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))
from models import torchvision_ops

torchvision_ops()
from torchvision import models as vision  # noqa: E402

IMAGE = "1x3x224x224"


def resnet50() -> nn.Module:
    """Convolutions and additions."""
    return vision.resnet50()


def densenet121() -> nn.Module:
    """Convolutions and concatenations."""
    return vision.densenet121()


def shufflenet() -> nn.Module:
    """Grouped convolutions."""
    return vision.shufflenet_v2_x1_0()


def inception() -> nn.Module:
    """Branches; functional pooling."""
    return vision.inception_v3(init_weights=False)


def vit() -> nn.Module:
    """nn.MultiheadAttention inside."""
    return vision.vit_b_16()


def swin() -> nn.Module:
    """Attention of functions: matmul, roll, softmax."""
    return vision.swin_t()


def lstm() -> nn.Module:
    """Two layers of nn.LSTM."""
    return nn.LSTM(512, 512, 2, batch_first=True)


def encoder() -> nn.Module:
    """Six of torch's own encoder layers."""
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True), 6)


class Decoder(nn.Module):
    """GPT-2's shape: learned positions, blocks, and a head tied to the embedding."""

    def __init__(self, layers: int = 12, width: int = 768, vocabulary: int = 50257, length: int = 1024) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of each next token."""
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.norm(x), self.tokens.weight)


class Block(nn.Module):
    """Attention by torch's one function for it, then a feed-forward layer."""

    def __init__(self, width: int, heads: int = 12) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """N, L, D to the same."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, -1)
        )
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).flatten(2))
        return x + self.narrow(functional.gelu(self.wide(self.norm2(x))))


def decoder() -> nn.Module:
    """GPT-2's size, with functions for attention and for its head."""
    return Decoder()


class TwoTower(nn.Module):
    """Images and texts in one space; two inputs of two types."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(3, width, 16, stride=16), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.embedding = nn.Embedding(1000, width)
        self.text = nn.Linear(width, width)

    def forward(self, image: Tensor, tokens: Tensor) -> Tensor:
        """Similarities, N x N."""
        return self.image(image) @ self.text(self.embedding(tokens)).mean(1).T


def two_tower() -> nn.Module:
    """Two inputs, of two types; a product of two tensors at the end."""
    return TwoTower()


def attention(length: int, width: int) -> int:
    """Multiply-adds of self-attention: four projections, and two products over all pairs."""
    return 4 * length * width**2 + 2 * length**2 * width


def layer(length: int, width: int) -> int:
    """Multiply-adds of an attention and a feed-forward layer of four times the width."""
    return attention(length, width) + 8 * length * width**2


@dataclass(frozen=True)
class Model:
    """A model: how it is made, its inputs as archcalc's `-i` takes them, its multiply-adds and where they are from."""

    make: Callable[[], nn.Module]
    inputs: tuple[str, ...]
    macs: int
    source: str

    def tensors(self, device: str = "cpu") -> tuple[Tensor, ...]:
        """Inputs of zeros."""
        parts = [text.rpartition("=")[2].rpartition(":") for text in self.inputs]
        types = [torch.int64 if kind == "int64" else torch.float32 for kind, _, _ in parts]
        sizes = [[int(size) for size in shape.split("x")] for _, _, shape in parts]
        return tuple(torch.zeros(size, dtype=type_, device=device) for size, type_ in zip(sizes, types, strict=True))


def stated(weights: vision.Weights) -> int:
    """What torchvision states beside the weights, in multiply-adds; it rounds to a million."""
    return round(weights.meta["_ops"] * 1e9)


STATED = "torchvision's weights"
TEN = {
    "ResNet-50": Model(resnet50, (IMAGE,), stated(vision.ResNet50_Weights.DEFAULT), STATED),
    "DenseNet-121": Model(densenet121, (IMAGE,), stated(vision.DenseNet121_Weights.DEFAULT), STATED),
    "ShuffleNet v2": Model(shufflenet, (IMAGE,), stated(vision.ShuffleNet_V2_X1_0_Weights.DEFAULT), STATED),
    "Inception v3": Model(inception, ("1x3x299x299",), stated(vision.Inception_V3_Weights.DEFAULT), STATED),
    "ViT-B/16": Model(
        vit, (IMAGE,), 196 * 768 * 3 * 16**2 + 12 * layer(197, 768) + 768 * 1000, "patches + 12 layers + head"
    ),
    "Swin-T": Model(swin, (IMAGE,), stated(vision.Swin_T_Weights.DEFAULT), STATED),
    "LSTM": Model(lstm, ("1x35x512",), 2 * 35 * 4 * 512 * (512 + 512), "layers x steps x gates"),
    "Transformer encoder": Model(encoder, ("1x128x512",), 6 * layer(128, 512), "6 layers"),
    "GPT-2": Model(decoder, ("int64:1x1024",), 12 * layer(1024, 768) + 1024 * 768 * 50257, "12 layers + head"),
    "two inputs": Model(
        two_tower,
        ("image=8x3x224x224", "tokens=int64:8x77"),
        8 * 196 * 64 * 3 * 16**2 + 8 * 77 * 64 * 64 + 8 * 8 * 64,
        "convolution + linear + product",
    ),
}
