"""The parts of DenseNet: layers that read the concatenation of all maps before them, blocks of them, transitions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

DENSE_LAYER_DRAWING = """
[x0, x1, ..., xl]          all maps before it, concatenated
   BN, ReLU, conv 1x1      to 4k maps (bottleneck)
   BN, ReLU, conv 3x3      to k maps, the growth rate
x(l+1)
"""
DENSE_BLOCK_DRAWING = """
x0 ------+-----------+-----------+------------>  concatenated: k0 + L * k maps
         |           |           |
      layer 1 -> x1 -+-----------+------------>  each layer reads all maps
                  layer 2 -> x2 -+------------>  before it and adds k
                              layer 3 -> x3 -->  of its own
"""
TRANSITION_DRAWING = """
BN, ReLU -> conv 1x1 (C -> C/2) -> average pooling 2x2
"""


def run(function: Callable[..., Tensor], maps: list[Tensor], memory_efficient: bool) -> Tensor:
    """The function of the maps, computed again in backward where memory is to be saved."""
    if memory_efficient and torch.is_grad_enabled():
        again: Tensor = checkpoint(function, *maps, use_reentrant=False)
        return again
    return function(*maps)


class DenseLayer(nn.Module):
    """H_l of plain DenseNet: BN, ReLU, 3x3 convolution to k channels, on the concatenation of all maps before.

    With `memory_efficient` nothing inside is kept for the backward pass; it is computed again (Pleiss et al. 2017).
    """

    def __init__(self, in_channels: int, growth_rate: int, memory_efficient: bool) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, growth_rate, 3, padding=1, bias=False)
        self.memory_efficient = memory_efficient

    def composite(self, *maps: Tensor) -> Tensor:
        x = torch.cat(maps, 1)  # N, C, H, W with C = k0 + (l - 1) k
        return self.conv1(self.relu1(self.norm1(x)))  # N, k, H, W

    def forward(self, maps: list[Tensor]) -> Tensor:
        return run(self.composite, maps, self.memory_efficient)  # N, k, H, W


class BottleneckDenseLayer(nn.Module):
    """H_l of DenseNet-B: BN, ReLU, 1x1 convolution to 4k channels, then BN, ReLU, 3x3 convolution to k.

    With `memory_efficient` the concatenation, the first BN and its ReLU are not kept for the backward pass but
    computed again (Pleiss et al. 2017), which makes what is kept linear in the number of layers instead of
    quadratic.
    """

    def __init__(self, in_channels: int, growth_rate: int, memory_efficient: bool) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, 4 * growth_rate, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth_rate)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(4 * growth_rate, growth_rate, 3, padding=1, bias=False)
        self.memory_efficient = memory_efficient

    def bottleneck(self, *maps: Tensor) -> Tensor:
        x = torch.cat(maps, 1)  # N, C, H, W with C = k0 + (l - 1) k
        return self.conv1(self.relu1(self.norm1(x)))  # N, 4k, H, W

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = run(self.bottleneck, maps, self.memory_efficient)  # N, 4k, H, W
        return self.conv2(self.relu2(self.norm2(x)))  # N, k, H, W


class DenseBlock(nn.Module):
    """L dense layers at one resolution: N, k0, H, W -> N, k0 + L k, H, W."""

    def __init__(
        self, layers: int, in_channels: int, growth_rate: int, bottleneck: bool, memory_efficient: bool
    ) -> None:
        super().__init__()
        for index in range(layers):
            width = in_channels + index * growth_rate
            kind = BottleneckDenseLayer if bottleneck else DenseLayer
            layer = kind(width, growth_rate, memory_efficient)
            self.add_module(f"denselayer{index + 1}", layer)

    def forward(self, x: Tensor) -> Tensor:
        maps = [x]
        for layer in self.children():
            maps.append(layer(maps))  # N, k, H, W
        return torch.cat(maps, 1)  # N, k0 + L k, H, W


class Transition(nn.Module):
    """Between blocks: BN, ReLU, 1x1 convolution, 2x2 average pooling: N, C, H, W -> N, C', H/2, W/2."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.pool = nn.AvgPool2d(2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.relu(self.norm(x)))  # N, C', H, W
        return self.pool(x)  # N, C', H/2, W/2
