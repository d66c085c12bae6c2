"""Parts that several papers share."""

from __future__ import annotations

from torch import Tensor, nn


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
