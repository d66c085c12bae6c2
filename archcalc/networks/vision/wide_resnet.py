"""Wide ResNet for CIFAR: few layers, many channels, BN and ReLU before each convolution.

WRN-d-k has d = 6n + 4 layers and 16k, 32k and 64k channels.
"""

from __future__ import annotations

from torch import Tensor, nn

from archcalc.errors import BadKnob
from archcalc.networks.spec import Network, Published, at_least, image, register
from archcalc.networks.vision.resnet import RESNET, WIDE


class WideBlock(nn.Module):
    """BN, ReLU, 3x3 convolution, twice: N, C, H, W -> N, C', H/s, W/s.

    Where the shape changes, the shortcut is a 1x1 convolution of the activated input, without BN.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu2 = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.shortcut = (
            None
            if in_channels == out_channels and stride == 1
            else nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        a = self.relu1(self.bn1(x))  # N, C, H, W
        F = self.relu2(self.bn2(self.conv1(a)))  # N, C', H/s, W/s
        F = self.conv2(self.dropout(F))  # N, C', H/s, W/s
        return F + (x if self.shortcut is None else self.shortcut(a))


class WideResNet(nn.Module):
    """3x3 stem, three stages of n wide blocks, last BN and ReLU, global average pooling, classifier."""

    def __init__(self, n: int, k: int, dropout: float, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.conv2 = self._stage(n, 16, 16 * k, 1, dropout)
        self.conv3 = self._stage(n, 16 * k, 32 * k, 2, dropout)
        self.conv4 = self._stage(n, 32 * k, 64 * k, 2, dropout)
        self.bn = nn.BatchNorm2d(64 * k)
        self.relu = nn.ReLU(inplace=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(64 * k, num_classes)

    @staticmethod
    def _stage(n: int, in_channels: int, out_channels: int, stride: int, dropout: float) -> nn.Sequential:
        first = WideBlock(in_channels, out_channels, stride, dropout)
        return nn.Sequential(first, *(WideBlock(out_channels, out_channels, 1, dropout) for _ in range(n - 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)  # N, 16, H, W
        x = self.conv2(x)  # N, 16k, H, W
        x = self.conv3(x)  # N, 32k, H/2, W/2
        x = self.conv4(x)  # N, 64k, H/4, W/4
        x = self.avgpool(self.relu(self.bn(x)))  # N, 64k, 1, 1
        return self.fc(self.flatten(x))  # N, num_classes


def wide_resnet(depth: int = 28, widen_factor: int = 10, dropout: float = 0.0, num_classes: int = 10) -> WideResNet:
    """WRN-depth-widen_factor for CIFAR; `dropout` between the convolutions of a block."""
    at_least("widen_factor", widen_factor, 1)
    at_least("num_classes", num_classes, 1)
    n, rest = divmod(depth - 4, 6)
    if rest or n < 1:
        near = max(10, depth - rest)
        raise BadKnob(
            "depth", depth, "three equal stages need depth = 6·n + 4", f"the nearest are  {near} and {near + 6}"
        )
    return WideResNet(n, widen_factor, dropout, num_classes)


TABLES = "WRN paper, Tables 4 to 8"
REFERENCE = "closed form; pytorchcv 0.0.74"


def _wrn(depth: int, k: int, printed: str, exact: str, macs: str = "") -> tuple[Published, ...]:
    knobs = {"depth": depth, "widen_factor": k}
    note = f"WRN-{depth}-{k}"
    published = (
        Published("params", printed, TABLES, knobs=knobs, note=note),
        Published("params", exact, REFERENCE, knobs=knobs, note=note),
    )
    return (*published, Published("macs", macs, REFERENCE, knobs=knobs, note=note)) if macs else published


register(
    Network(
        name="wrn",
        family=RESNET,
        build=wide_resnet,
        inputs=(image(32),),
        paper=WIDE,
        about="Wide ResNet for CIFAR of any depth = 6n + 4 and any widen_factor.",
        published=(
            *_wrn(40, 1, "0.6M", "563,930"),
            *_wrn(40, 2, "2.2M", "2,243,546"),
            *_wrn(40, 8, "35.7M", "35,748,314", "5,172,024,320"),
            *_wrn(28, 12, "52.5M", "52,517,850"),
            *_wrn(22, 8, "17.2M", "17,158,106"),
            *_wrn(16, 10, "17.1M", "17,116,634", "2,412,173,568"),
            *_wrn(40, 10, "56M", "55,841,754"),
        ),
    ),
    Network(
        name="wrn-40-4",
        family=RESNET,
        build=wide_resnet,
        inputs=(image(32),),
        paper=WIDE,
        knobs={"depth": 40, "widen_factor": 4},
        about="CIFAR: 40 layers, four times as wide as ResNet's.",
        published=_wrn(40, 4, "8.9M", "8,949,210"),
    ),
    Network(
        name="wrn-28-10",
        family=RESNET,
        build=wide_resnet,
        inputs=(image(32),),
        paper=WIDE,
        knobs={"depth": 28, "widen_factor": 10},
        about="CIFAR: 28 layers, ten times as wide as ResNet's.",
        published=_wrn(28, 10, "36.5M", "36,479,194", "5,243,328,768"),
    ),
    file=__name__,
)
