"""Convolutions put together: interleaved groups, and stacks with contiguous or dilated kernels."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from archcalc.networks.blocks.block_inputs import maps
from archcalc.networks.blocks.blocks import BLOCKS, divides
from archcalc.networks.parts import ChannelShuffle
from archcalc.networks.spec import Network, Paper, at_least, register

INTERLEAVED_DRAWING = """
C = L * M channels
primary:    L groups of M channels, k x k           each channel sees M of C
permute:    one channel of each group after the other
secondary:  M groups of L channels, 1x1             each channel sees all C
permute back
"""
STACK_DRAWING = """
contiguous, k = 3                 dilated by 2^l, k = 3
layer 3        . * . . . * .      layer 3   *       *       *     field 15
layer 2      . . * * * . .        layer 2     *   *   *            field 7
layer 1        * * * * *          layer 1       * * *              field 3
field 7 after 3 layers: 1 + L(k - 1)
"""


def interleaved_conv(channels: int = 64, groups: int = 8, kernel: int = 3) -> nn.Sequential:
    """L groups of M channels k x k, then M groups of L channels 1x1: C(k²M + L) weights in place of k²C²."""
    divides("groups", groups, "channels", channels)
    at_least("kernel", kernel, 1)
    L, M = groups, channels // groups
    return nn.Sequential(
        OrderedDict(
            primary=nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=L, bias=False),  # N, C, H, W
            permute=ChannelShuffle(L),  # N, C, H, W
            secondary=nn.Conv2d(channels, channels, 1, groups=M, bias=False),  # N, C, H, W
            permute_back=ChannelShuffle(M),  # N, C, H, W
        )
    )


def conv_stack(
    channels: int = 64, layers: int = 4, kernel: int = 3, dilation: int = 1, bias: bool = False
) -> nn.Sequential:
    """Convolutions one on the other, dilated by dilation^l in layer l = 0, 1, ...: field 1 + (k - 1)·sum dilation^l."""
    for knob, value in (("channels", channels), ("layers", layers), ("kernel", kernel), ("dilation", dilation)):
        at_least(knob, value, 1)
    return nn.Sequential(
        *(
            nn.Conv2d(channels, channels, kernel, padding=dilation**l * (kernel // 2), dilation=dilation**l, bias=bias)
            for l in range(layers)  # noqa: E741
        )
    )


INTERLEAVED = Paper(
    "Interleaved Group Convolutions for Deep Neural Networks", "Zhang, Qi, Xiao, Wang", 2017, "arXiv:1707.02725"
)
DILATED = Paper("Multi-Scale Context Aggregation by Dilated Convolutions", "Yu, Koltun", 2015, "arXiv:1511.07122")
register(
    *(
        Network(
            name, BLOCKS, build, maps(56, "channels"), knobs, about=str(build.__doc__), paper=paper, diagram=diagram
        )
        for name, build, knobs, paper, diagram in (
            ("interleaved-conv", interleaved_conv, {}, INTERLEAVED, INTERLEAVED_DRAWING),
            ("conv-stack", conv_stack, {}, BLOCKS.paper, STACK_DRAWING),
            ("dilated-conv-stack", conv_stack, {"dilation": 2}, DILATED, STACK_DRAWING),
        )
    ),
    file=__name__,
)
