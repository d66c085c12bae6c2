"""Xception: inception taken to its end, every channel convolved alone and 1x1 convolutions between channels."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from archcalc.networks.parts import SEPARABLE_DRAWING
from archcalc.networks.spec import Network, Paper, Published, at_least, image, register
from archcalc.networks.vision.inception import INCEPTION


class SeparableConv(nn.Sequential):
    """Depthwise 3x3, pointwise 1x1, BN: N, C, H, W -> N, C', H, W; no activation between the two."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)


class Block(nn.Module):
    """ReLU and separable convolution, two or three times, around a shortcut: N, C, H, W -> N, C', H/s, W/s.

    With stride 2 a max pooling ends the residual and a 1x1 convolution with BN makes the shortcut.
    """

    def __init__(self, widths: tuple[int, ...], stride: int, first_relu: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index, (before, after) in enumerate(pairwise(widths)):
            if index or first_relu:
                layers.append(nn.ReLU(inplace=False))
            layers.append(SeparableConv(before, after))
        if stride == 2:
            layers.append(nn.MaxPool2d(3, stride=2, padding=1))
        self.residual = nn.Sequential(*layers)
        self.shortcut = (
            nn.Sequential(nn.Conv2d(widths[0], widths[-1], 1, 2, bias=False), nn.BatchNorm2d(widths[-1]))
            if stride == 2
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        F = self.residual(x)  # N, C', H/s, W/s
        return F + (x if self.shortcut is None else self.shortcut(x))


def conv(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """3x3 convolution without padding, BN, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, stride, bias=False), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)
    )


class Xception(nn.Module):
    """Figure 5: entry flow, eight times the middle flow, exit flow, global pooling, classifier."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = conv(3, 32, 2)
        self.conv2 = conv(32, 64, 1)
        self.entry = nn.Sequential(
            Block((64, 128, 128), 2, first_relu=False), Block((128, 256, 256), 2), Block((256, 728, 728), 2)
        )
        self.middle = nn.Sequential(*(Block((728, 728, 728, 728), 1) for _ in range(8)))
        self.exit = Block((728, 728, 1024), 2)
        self.conv3 = nn.Sequential(SeparableConv(1024, 1536), nn.ReLU(inplace=True))
        self.conv4 = nn.Sequential(SeparableConv(1536, 2048), nn.ReLU(inplace=True))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(2048, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2(self.conv1(x))  # N, 64, 147, 147
        x = self.entry(x)  # N, 728, 19, 19
        x = self.exit(self.middle(x))  # N, 1024, 10, 10
        x = self.conv4(self.conv3(x))  # N, 2048, 10, 10
        return self.fc(self.flatten(self.avgpool(x)))  # N, num_classes


def xception(num_classes: int = 1000) -> Xception:
    """Xception, of 36 convolutions, 34 of them separable."""
    at_least("num_classes", num_classes, 1)
    return Xception(num_classes)


register(
    Network(
        name="xception",
        diagram=SEPARABLE_DRAWING,
        family=INCEPTION,
        build=xception,
        inputs=(image(299),),
        same_as="timm:legacy_xception",
        paper=Paper(
            "Xception: Deep Learning with Depthwise Separable Convolutions", "Chollet", 2016, "arXiv:1610.02357"
        ),
        published=(
            Published("params", "22,855,952", "Xception paper, Table 3"),
            Published("macs", "8,357,403,496", "timm 1.0.31 legacy_xception"),
            Published("macs", "8.4B", "EfficientNet paper, Table 2", called="FLOPs"),
        ),
    ),
    file=__name__,
)
