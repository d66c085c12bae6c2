"""SENet: each channel of a block's output is scaled by what the block sees as a whole.

Squeeze: global average pooling, H x W -> 1. Excitation: C -> C/r -> C with ReLU and sigmoid. Scale: times x.
"""

from __future__ import annotations

from torch import Tensor, nn

from archcalc.networks.spec import Family, Network, Paper, Published, at_least, image, one_of, register
from archcalc.networks.vision.resnet import LAYERS, BasicBlock, Bottleneck, ResNet, residual_stages

SE_BLOCK_DRAWING = """
 u: C x H x W
 |----------------------+
 |           squeeze: global average pooling   C x 1 x 1
 |           fc  C -> C/r, ReLU
 |           fc  C/r -> C, sigmoid             one gate a channel
 |                      |
 +<------ multiply -----+
 |
 C x H x W
"""


class SEBlock(nn.Module):
    """Squeeze and excitation (Figure 1 and equation 3): N, C, H, W -> N, C, H, W; 2C²/r weights."""

    def __init__(self, channels: int, reduction: int, fc_bias: bool) -> None:
        super().__init__()
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Linear(channels, channels // reduction, bias=fc_bias)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Linear(channels // reduction, channels, bias=fc_bias)
        self.sigmoid = nn.Sigmoid()

    def forward(self, u: Tensor) -> Tensor:
        N, C, _, _ = u.shape
        z = self.squeeze(u).view(N, C)  # N, C
        s = self.sigmoid(self.fc2(self.relu(self.fc1(z))))  # N, C
        return u * s.view(N, C, 1, 1)  # N, C, H, W


class SEBasicBlock(BasicBlock):
    """A basic residual block whose F is recalibrated before the addition."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, reduction: int, fc_bias: bool) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.se = SEBlock(out_channels, reduction, fc_bias)

    def residual(self, x: Tensor) -> Tensor:
        return self.se(super().residual(x))  # N, C', H/s, W/s


class SEBottleneck(Bottleneck):
    """A bottleneck whose F is recalibrated before the addition."""

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        stride: int,
        groups: int,
        version: str,
        reduction: int,
        fc_bias: bool,
    ) -> None:
        super().__init__(in_channels, width, out_channels, stride, groups, version)
        self.se = SEBlock(out_channels, reduction, fc_bias)

    def residual(self, x: Tensor) -> Tensor:
        return self.se(super().residual(x))  # N, C', H/s, W/s


class SE154Bottleneck(nn.Module):
    """The block of SENet-154: half as wide again as ResNeXt's, and 3x3 projections where the shape changes."""

    def __init__(self, in_channels: int, width: int, stride: int, reduction: int, projection: int) -> None:
        super().__init__()
        out = 4 * width
        self.conv1 = nn.Conv2d(in_channels, 2 * width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(2 * width)
        self.conv2 = nn.Conv2d(2 * width, out, 3, stride, padding=1, groups=64, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.conv3 = nn.Conv2d(out, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.se = SEBlock(out, reduction, fc_bias=True)
        self.downsample = (
            nn.Sequential(
                nn.Conv2d(in_channels, out, projection, stride, padding=projection // 2, bias=False),
                nn.BatchNorm2d(out),
            )
            if projection
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        F = self.relu(self.bn1(self.conv1(x)))  # N, 2 width, H, W
        F = self.relu(self.bn2(self.conv2(F)))  # N, 4 width, H/s, W/s
        F = self.se(self.bn3(self.conv3(F)))  # N, 4 width, H/s, W/s
        F += x if self.downsample is None else self.downsample(x)
        return self.relu(F)


class SENet154(nn.Module):
    """Three 3x3 convolutions in place of the 7x7; stages of 3, 8, 36 and 3 blocks; dropout before the classifier."""

    def __init__(self, reduction: int, num_classes: int) -> None:
        super().__init__()
        stem: list[nn.Module] = []
        for in_channels, out_channels, stride in ((3, 64, 2), (64, 64, 1), (64, 128, 1)):
            conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
            stem += [conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)]
        self.stem = nn.Sequential(*stem)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 128
        for stage, layers in enumerate((3, 8, 36, 3)):
            width = 64 * 2**stage
            first = SE154Bottleneck(channels, width, 2 if stage else 1, reduction, 3 if stage else 1)
            rest = (SE154Bottleneck(4 * width, width, 1, reduction, 0) for _ in range(layers - 1))
            self.add_module(f"layer{stage + 1}", nn.Sequential(first, *rest))
            channels = 4 * width
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.children():
            x = module(x)
        return x  # N, num_classes


def se_resnet(
    depth: int = 50,
    version: str = "1",
    groups: int = 1,
    width_per_group: int = 64,
    reduction: int = 16,
    fc_bias: bool = True,
    num_classes: int = 1000,
) -> ResNet:
    """ResNet or ResNeXt with a squeeze-and-excitation block in every residual; v1 stride and FC biases as released."""
    one_of("depth", depth, LAYERS)
    one_of("version", version, ("1", "1.5"))
    at_least("reduction", reduction, 1)
    at_least("groups", groups, 1)
    at_least("width_per_group", width_per_group, 1)
    at_least("num_classes", num_classes, 1)
    stages, channels = residual_stages(
        depth,
        [width_per_group * 2**stage for stage in range(4)],
        lambda C, out, stride: SEBasicBlock(C, out, stride, reduction, fc_bias),
        lambda C, width, out, stride: SEBottleneck(C, width * groups, out, stride, groups, version, reduction, fc_bias),
    )
    return ResNet(stages, channels, num_classes, conv1_bias=False)


def senet_154(reduction: int = 16, num_classes: int = 1000) -> SENet154:
    """The ensemble's largest net of ILSVRC 2017."""
    at_least("reduction", reduction, 1)
    at_least("num_classes", num_classes, 1)
    return SENet154(reduction, num_classes)


SENET = Family(
    name="senet",
    default="se-resnet-50",
    title="SENet",
    diagram=SE_BLOCK_DRAWING,
    idea=(
        "A convolution mixes channels within its window only. The SE block lets each block look at its whole map: one "
        "number a channel (squeeze), two small fully connected layers (excitation, C -> C/r -> C), and a gate between "
        "0 and 1 for each channel. It goes into any host: 10 % more parameters on ResNet-50, 0.07 % more multiply-adds."
    ),
    paper=Paper("Squeeze-and-Excitation Networks", "Hu, Shen, Albanie, Sun, Wu", 2017, "arXiv:1709.01507"),
)
RELEASED = "hujie-frank/SENet prototxt, timm legacy_*"
TABLE2 = "SENet paper, Table 2"
TABLE10 = "SENet paper, Table 10"
SQUEEZE_NOTE = "the paper also counts the squeeze's sums and the scaling"
BN_NOTE = "the paper appears to count BN's running statistics as parameters"


def _member(name: str, *published: Published, **knobs: object) -> None:
    register(
        Network(
            name=name,
            family=SENET,
            build=se_resnet,
            inputs=(image(224),),
            knobs=knobs,
            published=published,
            same_as=f"timm:legacy_{name.replace('-', '', 2).replace('-', '_')}",
        ),
        file=__name__,
    )


def _exact(params: str, macs: str) -> tuple[Published, Published]:
    return Published("params", params, RELEASED), Published("macs", macs, RELEASED)


def _printed(macs: str, note: str = SQUEEZE_NOTE) -> Published:
    return Published("macs", macs, TABLE2, called="FLOPs", note=note)


_member("se-resnet-18", depth=18)
_member("se-resnet-34", depth=34)
_member(
    "se-resnet-50",
    *_exact("28,088,024", "3,860,488,192"),
    _printed("3.87G"),
    Published("params", "28.1M", TABLE10),
    *(
        Published("params", printed, TABLE10, note=BN_NOTE, knobs={"reduction": r, "fc_bias": False})
        for r, printed in ((2, "45.7M"), (4, "35.7M"), (32, "26.9M"))
    ),
)
_member(
    "se-resnet-101",
    *_exact("49,326,872", "7,574,937,600"),
    _printed("7.60G", "the paper's own ResNet-101 is 7.58 where contractions give 7.57, and " + SQUEEZE_NOTE),
    depth=101,
)
_member("se-resnet-152", depth=152)
_member(
    "se-resnext-50-32x4d",
    *_exact("27,559,896", "4,232,994,816"),
    _printed("4.25G"),
    version="1.5",
    groups=32,
    width_per_group=4,
)
_member("se-resnext-101-32x4d", depth=101, version="1.5", groups=32, width_per_group=4)
register(
    Network(
        name="senet-154",
        family=SENET,
        build=senet_154,
        inputs=(image(224),),
        same_as="timm:legacy_senet154",
        about="SE blocks in a wider ResNeXt-152 of 64 groups, with a stem of three 3x3 convolutions.",
    ),
    file=__name__,
)
