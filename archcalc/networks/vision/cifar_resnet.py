"""ResNet for CIFAR: 6n + 2 layers, 16, 32 and 64 channels, shortcuts without parameters (option A)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from archcalc.errors import BadKnob
from archcalc.networks.spec import Network, Published, at_least, image, one_of, register
from archcalc.networks.vision.resnet import RESNET, shortcut


class PaddedShortcut(nn.Module):
    """Option A: every second pixel, new channels filled with zeros: N, C, H, W -> N, C', H/2, W/2, no parameters."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.before = (out_channels - in_channels) // 2
        self.after = out_channels - in_channels - self.before

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, :, ::2, ::2]  # N, C, H/2, W/2
        return functional.pad(x, (0, 0, 0, 0, self.before, self.after))  # N, C', H/2, W/2


class BasicBlock(nn.Module):
    """Two 3x3 convolutions: N, C, H, W -> N, C', H/s, W/s."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, option: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.plain = option == "none"
        self.downsample: nn.Module | None = None if self.plain else shortcut(in_channels, out_channels, stride)
        if option == "A" and self.downsample is not None:
            self.downsample = PaddedShortcut(in_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        F = self.relu(self.bn1(self.conv1(x)))  # N, C', H/s, W/s
        F = self.bn2(self.conv2(F))  # N, C', H/s, W/s
        if not self.plain:
            F += x if self.downsample is None else self.downsample(x)  # N, C', H/s, W/s
        return self.relu(F)


class CifarResNet(nn.Module):
    """3x3 stem, three stages of n basic blocks, global average pooling, classifier."""

    def __init__(self, n: int, option: str, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = self._stage(n, 16, 16, 1, option)
        self.layer2 = self._stage(n, 16, 32, 2, option)
        self.layer3 = self._stage(n, 32, 64, 2, option)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(64, num_classes)

    @staticmethod
    def _stage(n: int, in_channels: int, out_channels: int, stride: int, option: str) -> nn.Sequential:
        first = BasicBlock(in_channels, out_channels, stride, option)
        return nn.Sequential(first, *(BasicBlock(out_channels, out_channels, 1, option) for _ in range(n - 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))  # N, 16, H, W
        x = self.layer1(x)  # N, 16, H, W
        x = self.layer2(x)  # N, 32, H/2, W/2
        x = self.layer3(x)  # N, 64, H/4, W/4
        x = self.flatten(self.avgpool(x))  # N, 64
        return self.fc(x)  # N, num_classes


def cifar_resnet(depth: int = 20, shortcut: str = "A", num_classes: int = 10) -> CifarResNet:
    """ResNet for CIFAR of any depth = 6n + 2; `shortcut` A pads with zeros, B projects by 1x1, none is plain."""
    one_of("shortcut", shortcut, ("A", "B", "none"))
    at_least("num_classes", num_classes, 1)
    n, rest = divmod(depth - 2, 6)
    if rest or n < 1:
        near = max(8, depth - rest)
        raise BadKnob(
            "depth", depth, "three equal stages need depth = 6·n + 2", f"the nearest are  {near} and {near + 6}"
        )
    return CifarResNet(n, shortcut, num_classes)


TABLE6 = "ResNet paper, Table 6"
CLOSED_FORM = "closed form: BN's scale and shift and fc's bias counted"

for depth, printed, exact in (
    (20, "0.27M", "269,722"),
    (32, "0.46M", "464,154"),
    (44, "0.66M", "658,586"),
    (56, "0.85M", "853,018"),
    (110, "1.7M", "1,727,962"),
    (1202, "19.4M", ""),
):
    register(
        Network(
            name=f"resnet-{depth}",
            family=RESNET,
            build=cifar_resnet,
            inputs=(image(32),),
            knobs={"depth": depth},
            published=(
                Published("params", printed, TABLE6),
                *((Published("params", exact, CLOSED_FORM),) if exact else ()),
            ),
            about=f"CIFAR: 6n + 2 = {depth} layers with n = {(depth - 2) // 6}, shortcuts of option A.",
        ),
        file=__name__,
    )

register(
    Network(
        name="cifar-resnet",
        family=RESNET,
        build=cifar_resnet,
        inputs=(image(32),),
        published=(
            Published("params", "269,722", CLOSED_FORM),
            Published("params", "272,474", "pytorchcv 0.0.74", note="option B", knobs={"shortcut": "B"}),
        ),
        about="ResNet for CIFAR with any depth = 6n + 2 and either shortcut.",
    ),
    file=__name__,
)
