"""ShuffleNet v1: grouped 1x1 convolutions made affordable, and a shuffle of channels so that the groups meet."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcalc.errors import BadKnob
from archcalc.networks.parts import ChannelShuffle
from archcalc.networks.spec import Family, Network, Paper, Published, at_least, image, one_of, register

SHUFFLE_UNIT_V1_DRAWING = """
stride 1                          stride 2
      x                                 x
      |------------+                    |------------+
  1x1 grouped      |                1x1 grouped      |
  BN, ReLU         |                BN, ReLU         |
  channel shuffle  |                channel shuffle  |
  3x3 depthwise    |                3x3 depthwise /2  average pooling 3x3 /2
  BN               |                BN               |
  1x1 grouped, BN  |                1x1 grouped, BN  |
      +<-- add ----+                    +<- concat --+
     ReLU                              ReLU
"""


CHANNELS = {1: 144, 2: 200, 3: 240, 4: 272, 8: 384}
"""Table 1 of the paper: output channels of stage 2 by the number of groups, at width 1x; stages 3 and 4 double them."""
CONV1 = {0.25: 12, 0.5: 12, 1.0: 24, 1.5: 24, 2.0: 48}
"""Channels of conv1, as released; with 8 groups 16 in place of 12, or the first unit could not be grouped."""


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3 without ReLU after it, grouped 1x1 (Figure 2b and 2c).

    Stride 1: N, C, H, W -> the same, added to the input. Stride 2: N, C, H, W -> N, C', H/2, W/2, an average-pooled
    copy of the input concatenated with C' - C new channels.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, groups: int, first_groups: int) -> None:
        super().__init__()
        bottleneck = out_channels // 4
        new = out_channels - in_channels if stride == 2 else out_channels
        self.conv1 = nn.Conv2d(in_channels, bottleneck, 1, groups=first_groups, bias=False)
        self.bn1 = nn.BatchNorm2d(bottleneck)
        self.relu = nn.ReLU(inplace=True)
        self.shuffle = ChannelShuffle(groups)
        self.conv2 = nn.Conv2d(bottleneck, bottleneck, 3, stride, padding=1, groups=bottleneck, bias=False)
        self.bn2 = nn.BatchNorm2d(bottleneck)
        self.conv3 = nn.Conv2d(bottleneck, new, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm2d(new)
        self.shortcut = nn.AvgPool2d(3, stride=2, padding=1) if stride == 2 else None

    def forward(self, x: Tensor) -> Tensor:
        F = self.relu(self.bn1(self.conv1(x)))  # N, C'/4, H, W
        F = self.bn2(self.conv2(self.shuffle(F)))  # N, C'/4, H/s, W/s
        F = self.bn3(self.conv3(F))  # N, C', H, W, or N, C' - C, H/2, W/2
        if self.shortcut is None:
            return self.relu(x + F)  # N, C', H, W
        return torch.cat([self.shortcut(x), self.relu(F)], 1)  # N, C', H/2, W/2


class ShuffleNetV1(nn.Module):
    """Stem, three stages of 4, 8 and 4 units, global pooling, classifier."""

    def __init__(self, conv1: int, channels: int, groups: int, num_classes: int, classifier_bias: bool) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, conv1, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(conv1), nn.ReLU(inplace=True)
        )
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        width = conv1
        for stage, units in ((2, 4), (3, 8), (4, 4)):
            out = channels * 2 ** (stage - 2)
            first = ShuffleUnit(width, out, 2, groups, 1 if stage == 2 else groups)  # too few channels for groups yet
            rest = (ShuffleUnit(out, out, 1, groups, groups) for _ in range(units - 1))
            self.add_module(f"stage{stage}", nn.Sequential(first, *rest))
            width = out
        self.globalpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(width, num_classes, bias=classifier_bias)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.children():
            x = module(x)
        return x  # N, num_classes


def shufflenet_v1(
    width: float = 1.0, groups: int = 3, num_classes: int = 1000, classifier_bias: bool = False
) -> ShuffleNetV1:
    """A member of Tables 1 and 2. The released classifier has no bias."""
    one_of("width", width, CONV1)
    one_of("groups", groups, CHANNELS)
    at_least("num_classes", num_classes, 1)
    conv1, channels = plan(width, groups)
    failed = failed_division(conv1, channels, groups)
    if failed:
        allowed = ", ".join(str(g) for g in CHANNELS if not failed_division(*plan(width, g), g))
        raise BadKnob("groups", groups, f"at width {width} {failed}", f"groups at this width  {allowed}")
    return ShuffleNetV1(conv1, channels, groups, num_classes, classifier_bias)


def plan(width: float, groups: int) -> tuple[int, int]:
    """Channels of conv1 and of stage 2."""
    conv1 = 16 if groups == 8 and width < 1 else CONV1[width]
    return conv1, int(CHANNELS[groups] * width)


def failed_division(conv1: int, channels: int, groups: int) -> str:
    """The division that does not come out even, in words; '' where all do."""
    if channels % 4:
        return f"{channels} channels have no quarter"
    if channels // 4 % groups:
        return f"{channels // 4} bottleneck channels do not divide into {groups} groups"
    if (channels - conv1) % groups:
        return f"{channels} - {conv1} = {channels - conv1} new channels do not divide into {groups} groups"
    return ""


SHUFFLENET_V1 = Family(
    name="shufflenet-v1",
    default="shufflenet-v1-1.0x-g3",
    title="ShuffleNet v1",
    diagram=SHUFFLE_UNIT_V1_DRAWING,
    idea=(
        "In small residual nets the 1x1 convolutions are nearly all of the cost (93.4 % of a ResNeXt unit). Grouping "
        "them saves most of it but shuts the groups off from each other; the channel shuffle, which costs nothing, "
        "lets every group of the next convolution see all groups of the one before."
    ),
    paper=Paper(
        "ShuffleNet: An Extremely Efficient Convolutional Neural Network for Mobile Devices",
        "Zhang, Zhou, Lin, Sun",
        2017,
        "arXiv:1707.01083",
    ),
)
TABLE1 = "ShuffleNet v1 paper, Table 1"
TABLE2 = "ShuffleNet v1 paper, Table 2"
PYTORCHCV = "pytorchcv 0.0.74"
RELEASED = "megvii-model ShuffleNetV1/network.py"
PRINTED = {1: "143M", 2: "140M", 3: "137M", 4: "133M", 8: "137M"}
EXACT = {
    1: ("1,531,936", "143,078,976"),
    2: ("1,733,848", "140,836,512"),
    3: ("1,865,728", "137,460,672"),
    4: ("1,968,344", "134,339,776"),
    8: ("2,434,768", "138,365,952"),
}
OFFICIAL = {
    (0.5, 3): ("717,324", "37,589,856"),
    (0.5, 8): ("1,010,448", "40,469,760"),
    (1.0, 3): ("1,864,728", "137,460,672"),
    (1.0, 8): ("2,433,768", "138,365,952"),
    (2.0, 3): ("5,449,776", "524,045,184"),
    (2.0, 8): ("6,521,232", "521,942,016"),
}
LOWER = {
    2: "140.8 M counted exactly",
    4: "134.3 M counted exactly: the paper prints 1 M less at g = 4 and 8",
    8: "138.4 M counted exactly: the paper prints 1 M less at g = 4 and 8",
}


def _published(width: float, groups: int) -> tuple[Published, ...]:
    printed: list[Published] = []
    if width == 1.0:
        params, macs = EXACT[groups]
        note = LOWER.get(groups, "")
        printed.append(Published("macs", PRINTED[groups], TABLE1, called="FLOPs", note=note))
        printed.append(Published("params", params, PYTORCHCV, knobs={"classifier_bias": True}))
        printed.append(Published("macs", macs, PYTORCHCV))
    if width == 0.25:
        note = "13.16 M at g = 1, 13.30 M at g = 3, with 12 channels in conv1; the paper prints 13 M for every g"
        printed.append(Published("macs", "13M", TABLE2, called="FLOPs", note=note))
    if (width, groups) in OFFICIAL:
        params, macs = OFFICIAL[width, groups]
        printed += [Published("params", params, RELEASED), Published("macs", macs, RELEASED)]
    return tuple(printed)


for width in CONV1:
    for groups in CHANNELS:
        if not failed_division(*plan(width, groups), groups):
            register(
                Network(
                    name=f"shufflenet-v1-{width}x-g{groups}",
                    family=SHUFFLENET_V1,
                    build=shufflenet_v1,
                    inputs=(image(224),),
                    knobs={"width": width, "groups": groups},
                    published=_published(width, groups),
                    about=f"Width {width}x, 1x1 convolutions in {groups} group{'s' * (groups > 1)}.",
                ),
                file=__name__,
            )
