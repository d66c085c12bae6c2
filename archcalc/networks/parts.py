"""Parts that several papers share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SEPARABLE_DRAWING = """
C maps -> depthwise k x k: a kernel for each map -> pointwise 1x1: C -> C' maps
"""
CHANNEL_SHUFFLE_DRAWING = """
group 1: a b c        a d g         each group of the next
group 2: d e f   ->   b e h         convolution sees a part
group 3: g h i        c f i         of every group before it
"""


class ChannelShuffle(nn.Module):
    """Channel shuffle of ShuffleNet v1 (Zhang et al. 2017, section 3.1): (g, C/g) -> (C/g, g).

    N, C, H, W -> N, C, H, W. No parameters and no arithmetic: the channels of g groups change places so that the
    next grouped convolution sees all of them.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        N, C, H, W = x.shape
        g = self.groups
        x = x.view(N, g, C // g, H, W)  # N, g, C/g, H, W
        x = x.transpose(1, 2).contiguous()  # N, C/g, g, H, W
        return x.view(N, C, H, W)  # N, C, H, W

    def extra_repr(self) -> str:
        return f"groups={self.groups}"


class ConvBNReLU(nn.Sequential):
    """Convolution without bias, BN, ReLU: N, C, H, W -> N, C', H', W'. `kernel` is one size or (height, width).

    `padding` "same" keeps the size at stride 1, "valid" pads nothing.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: str = "same",
        bias: bool = False,
    ) -> None:
        h, w = (kernel, kernel) if isinstance(kernel, int) else kernel
        around = (h // 2, w // 2) if padding == "same" else (0, 0)
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, (h, w), stride, around, bias=bias)
        self.bn = nn.BatchNorm2d(out_channels, eps=1e-3)
        self.relu = nn.ReLU(inplace=True)


class Branches(nn.Module):
    """Branches over one input, concatenated: N, C, H, W -> N, sum of the branches' channels, H', W'."""

    def __init__(self, **branches: nn.Module) -> None:
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.children()], 1)
