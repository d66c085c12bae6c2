"""ResNeXt: a bottleneck's 3x3 convolution in groups, whose number (cardinality) stands beside depth and width."""

from __future__ import annotations

from archcalc.networks.spec import Paper, Published, register
from archcalc.networks.vision.resnet import TORCHVISION, exact, member, printed

RESNEXT = Paper(
    "Aggregated Residual Transformations for Deep Neural Networks",
    "Xie, Girshick, Dollár, Tu, He",
    2016,
    "arXiv:1611.05431",
)

register(
    member(
        "resnext-50-32x4d",
        *exact("25,028,904", "4,230,479,872"),
        printed("params", "25.0M", "ResNeXt paper, Table 1"),
        printed("macs", "4.2G", "ResNeXt paper, Table 1"),
        printed("macs", "4.24G", "SENet paper, Table 2", "4.23 by contractions alone"),
        same_as="torchvision:resnext50_32x4d",
        about="Cardinality 32: the 3x3 convolution in 32 groups of 4 channels.",
        paper=RESNEXT,
        groups=32,
        width_per_group=4,
    ),
    member(
        "resnext-101-32x4d",
        *exact("44,177,704", "7,969,996,800", "timm 1.0.31"),
        printed("macs", "7.99G", "SENet paper, Table 2", "7.97 by contractions alone"),
        same_as="timm:resnext101_32x4d",
        about="Cardinality 32: the 3x3 convolution in 32 groups of 4 channels.",
        paper=RESNEXT,
        depth=101,
        groups=32,
        width_per_group=4,
    ),
    member(
        "resnext-101-64x4d",
        Published("params", "83,455,272", TORCHVISION),
        printed("params", "84M", "EfficientNet paper, Table 2", "83.46 M rounded up"),
        printed("macs", "32B", "EfficientNet paper, Table 2", "at 320x320 (31.55 G with --size 320)"),
        same_as="torchvision:resnext101_64x4d",
        about="Cardinality 64: the 3x3 convolution in 64 groups of 4 channels.",
        paper=RESNEXT,
        depth=101,
        groups=64,
        width_per_group=4,
    ),
    file=__name__,
)
