"""ShuffleNet v2: split the channels, convolve one half, concatenate, shuffle.

Four guidelines shape the unit: equal channel widths (G1), no grouped 1x1 (G2), few branches (G3), few elementwise
ops (G4).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from archcalc.networks.parts import ChannelShuffle
from archcalc.networks.spec import (
    Family,
    Network,
    Paper,
    Published,
    at_least,
    image,
    one_of,
    register,
)

SHUFFLE_UNIT_V2_DRAWING = """
stride 1                          stride 2
   channel split                        x
  +------+-------+               +------+------+
  |   1x1, BN, ReLU       3x3 depthwise /2, BN   1x1, BN, ReLU
  |   3x3 depthwise, BN   1x1, BN, ReLU          3x3 depthwise /2, BN
  |   1x1, BN, ReLU              |               1x1, BN, ReLU
  +------+-------+               +------+------+
   concatenate                     concatenate
   channel shuffle                 channel shuffle
"""


WIDTHS = {
    0.5: (24, 48, 96, 192, 1024),
    1.0: (24, 116, 232, 464, 1024),
    1.5: (24, 176, 352, 704, 1024),
    2.0: (24, 244, 488, 976, 2048),
}
"""Table 5 of the paper: channels of conv1, of stages 2 to 4, and of conv5."""


def conv_bn(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution that keeps the size (up to its stride), and BN."""
    padding = kernel // 2
    return [
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
    ]


class ShuffleUnit(nn.Module):
    """The basic unit (Figure 3c): N, C, H, W -> N, C, H, W. Half of the channels pass untouched."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels // 2
        self.branch2 = nn.Sequential(
            *conv_bn(c, c, 1),
            nn.ReLU(inplace=True),
            *conv_bn(c, c, 3, groups=c),
            *conv_bn(c, c, 1),
            nn.ReLU(inplace=True),
        )
        self.shuffle = ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        x1, x2 = x.chunk(2, dim=1)  # N, C/2, H, W each
        x = torch.cat([x1, self.branch2(x2)], 1)  # N, C, H, W
        return self.shuffle(x)


class DownsamplingUnit(nn.Module):
    """The unit for spatial down-sampling (Figure 3d): N, C, H, W -> N, C', H/2, W/2, without a split.

    As published, the main branch adds the C' - C channels that the other branch lacks; where C' = 2C both have C.
    Stride 1 opens the first stage of ShuffleNet v2-50, which changes the width but not the size.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        C, c = in_channels, out_channels // 2
        self.branch1 = nn.Sequential(
            *conv_bn(C, C, 3, stride, groups=C),
            *conv_bn(C, C, 1),
            nn.ReLU(inplace=True),
        )
        self.branch2 = nn.Sequential(
            *conv_bn(C, c, 1),
            nn.ReLU(inplace=True),
            *conv_bn(c, c, 3, stride, groups=c),
            *conv_bn(c, out_channels - C, 1),
            nn.ReLU(inplace=True),
        )
        self.shuffle = ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.branch1(x), self.branch2(x)], 1)  # N, C', H/2, W/2
        return self.shuffle(x)


class ShuffleNetV2(nn.Module):
    """Stem, stages of shuffle units, 1x1 convolution, global pooling, classifier."""

    def __init__(
        self,
        widths: tuple[int, ...],
        repeats: tuple[int, ...],
        first_stride: int,
        num_classes: int,
        classifier_bias: bool,
    ) -> None:
        super().__init__()
        channels, *stages, last = widths
        self.conv1 = nn.Sequential(*conv_bn(3, channels, 3, 2), nn.ReLU(inplace=True))
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        for index, (width, units) in enumerate(zip(stages, repeats, strict=True)):
            first = DownsamplingUnit(channels, width, 2 if index else first_stride)
            rest = (ShuffleUnit(width) for _ in range(units - 1))
            self.add_module(f"stage{index + 2}", nn.Sequential(first, *rest))
            channels = width
        self.conv5 = nn.Sequential(*conv_bn(channels, last, 1), nn.ReLU(inplace=True))
        self.globalpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(last, num_classes, bias=classifier_bias)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.children():
            x = module(x)
        return x  # N, num_classes


def shufflenet_v2(width: float = 1.0, num_classes: int = 1000, classifier_bias: bool = False) -> ShuffleNetV2:
    """A member of Table 5: 4, 8 and 4 units in stages 2 to 4. The released classifier has no bias."""
    one_of("width", width, WIDTHS)
    at_least("num_classes", num_classes, 1)
    return ShuffleNetV2(WIDTHS[width], (4, 8, 4), 2, num_classes, classifier_bias)


def shufflenet_v2_50(num_classes: int = 1000, classifier_bias: bool = True) -> ShuffleNetV2:
    """The large net of the paper's appendix, with ResNet-50's stages of 3, 4, 6 and 3 units."""
    at_least("num_classes", num_classes, 1)
    widths = (64, 244, 488, 976, 1952, 2048)
    return ShuffleNetV2(widths, (3, 4, 6, 3), 1, num_classes, classifier_bias)


SHUFFLENET_V2 = Family(
    name="shufflenet-v2",
    default="shufflenet-v2-1.0x",
    title="ShuffleNet v2",
    diagram=SHUFFLE_UNIT_V2_DRAWING,
    idea=(
        "Designed by measured speed instead of MACs alone. Half of the channels of a unit pass untouched (feature "
        "reuse, as in DenseNet but thinning with distance), the other half sees three convolutions of one constant "
        "width; the concatenation replaces ResNet's addition and the shuffle lets the halves mix in the next unit."
    ),
    paper=Paper(
        "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design",
        "Ma, Zhang, Zheng, Sun",
        2018,
        "arXiv:1807.11164",
    ),
    aliases=("shufflenet",),
)
TABLE5 = "ShuffleNet v2 paper, Table 5"
APPENDIX = "closed form from the appendix's table, with a bias in the classifier"
RELEASED = "megvii-model ShuffleNetV2/network.py"
HALVES = "torchvision halves the outputs of the stride-2 unit instead of giving the main branch C' - C channels"


def _member(width: float, *published: Published) -> Network:
    return Network(
        name=f"shufflenet-v2-{width}x",
        family=SHUFFLENET_V2,
        build=shufflenet_v2,
        inputs=(image(224),),
        knobs={"width": width},
        published=published,
    )


def _table5(params: str, macs: str, note: str = "") -> tuple[Published, Published]:
    return (
        Published("params", params, TABLE5),
        Published("macs", macs, TABLE5, called="FLOPs", note=note),
    )


def _released(params: str, macs: str) -> tuple[Published, Published]:
    return Published("params", params, RELEASED), Published("macs", macs, RELEASED)


def _torchvision(params: str, macs: str, note: str = HALVES, **knobs: bool) -> tuple[Published, Published]:
    return (
        Published("params", params, "torchvision 0.28.0", note=note, knobs=knobs),
        Published("macs", macs, "torchvision 0.28.0", note=note, knobs=knobs),
    )


register(
    _member(
        0.5,
        *_table5("1.4M", "41M", "40.48 M rounded up"),
        *_released("1,365,792", "40,476,448"),
        *_torchvision("1,366,792", "40,476,448", "with a bias in the classifier", classifier_bias=True),
    ),
    _member(
        1.0,
        *_table5("2.3M", "146M"),
        *_released("2,278,760", "145,814,296"),
        *_torchvision("2,278,604", "144,907,992"),
    ),
    _member(1.5, *_table5("3.5M", "299M")),
    _member(
        2.0,
        *_table5("7.4M", "591M"),
        *_released("7,402,600", "590,783,000"),
        *_torchvision("7,393,996", "583,253,464"),
    ),
    Network(
        name="shufflenet-v2-50",
        family=SHUFFLENET_V2,
        build=shufflenet_v2_50,
        inputs=(image(224),),
        about="The large net of the appendix: first stage at stride 1, four stages of 3, 4, 6 and 3 units.",
        published=(
            Published("macs", "2.3G", "ShuffleNet v2 paper, Table 6", called="FLOPs"),
            Published("params", "16,576,898", APPENDIX),
            Published("macs", "2,314,702,176", APPENDIX),
        ),
    ),
    file=__name__,
)
