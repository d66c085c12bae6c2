"""ResNet for ImageNet, and the definition that ResNeXt and wide ResNets share: y = F(x) + x.

A block learns the residual F; where the shape changes, the shortcut is a 1x1 projection (option B). ResNeXt splits
F's 3x3 convolution into groups, wide ResNets widen it; both are the same definition with other numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from archcalc.errors import BadKnob
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

RESIDUAL_DRAWING = """
basic block            bottleneck block
      x                       x
      |-----------+           |-----------+
   conv 3x3       |        conv 1x1  C    |
   BN, ReLU       |        BN, ReLU       |
   conv 3x3    identity    conv 3x3  C  identity
   BN          or 1x1      BN, ReLU     or 1x1
      |           |        conv 1x1 4C    |
      |           |        BN             |
      +<----------+           +<----------+
     ReLU                    ReLU
"""
LAYERS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Table 1 of the paper: blocks in each of the four stages; basic blocks up to 34 layers, bottlenecks from 50."""


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """Option B: identity where the shape stays, a 1x1 projection with BN where it does not."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),  # N, C', H/s, W/s
        nn.BatchNorm2d(out_channels),
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions: N, C, H, W -> N, C', H/s, W/s."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = shortcut(in_channels, out_channels, stride)

    def residual(self, x: Tensor) -> Tensor:
        F = self.relu(self.bn1(self.conv1(x)))  # N, C', H/s, W/s
        return self.bn2(self.conv2(F))  # N, C', H/s, W/s

    def forward(self, x: Tensor) -> Tensor:
        F = self.residual(x)  # N, C', H/s, W/s
        F += x if self.downsample is None else self.downsample(x)
        return self.relu(F)


class Bottleneck(nn.Module):
    """1x1 to the inner width, 3x3 in groups, 1x1 to C' = 4 times the stage's width.

    N, C, H, W -> N, C', H/s, W/s. The stride sits in the 3x3 convolution (v1.5), or in the first 1x1 as the paper
    has it (v1).
    """

    def __init__(self, in_channels: int, width: int, out_channels: int, stride: int, groups: int, version: str) -> None:
        super().__init__()
        stride1, stride2 = (stride, 1) if version == "1" else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, width, 1, stride1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride2, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(in_channels, out_channels, stride)

    def residual(self, x: Tensor) -> Tensor:
        F = self.relu(self.bn1(self.conv1(x)))  # N, width, H, W (H/s, W/s in v1)
        F = self.relu(self.bn2(self.conv2(F)))  # N, width, H/s, W/s
        return self.bn3(self.conv3(F))  # N, C', H/s, W/s

    def forward(self, x: Tensor) -> Tensor:
        F = self.residual(x)  # N, C', H/s, W/s
        F += x if self.downsample is None else self.downsample(x)
        return self.relu(F)


class PlainBasicBlock(BasicBlock):
    """The same two convolutions without a shortcut, the plain nets of section 3.3: N, C, H, W -> N, C', H/s, W/s."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.residual(x))  # N, C', H/s, W/s


class PlainBottleneck(Bottleneck):
    """The same three convolutions without a shortcut: N, C, H, W -> N, C', H/s, W/s."""

    def __init__(self, in_channels: int, width: int, out_channels: int, stride: int, groups: int, version: str) -> None:
        super().__init__(in_channels, width, out_channels, stride, groups, version)
        self.downsample = None

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.residual(x))  # N, C', H/s, W/s


class ResNet(nn.Module):
    """7x7 stem, four stages of residual blocks, global average pooling, classifier."""

    def __init__(self, stages: list[nn.Sequential], channels: int, num_classes: int, conv1_bias: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=conv1_bias)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))  # N, 64, H/2, W/2
        x = self.maxpool(x)  # N, 64, H/4, W/4
        x = self.layer1(x)  # N, C, H/4, W/4
        x = self.layer2(x)  # N, 2C, H/8, W/8
        x = self.layer3(x)  # N, 4C, H/16, W/16
        x = self.layer4(x)  # N, 8C, H/32, W/32
        x = self.flatten(self.avgpool(x))  # N, 8C
        return self.fc(x)  # N, num_classes


def resnet(
    depth: int = 50,
    version: str = "1.5",
    groups: int = 1,
    width_per_group: int = 64,
    widen_factor: float = 1.0,
    shortcut: str = "B",
    conv1_bias: bool = False,
    num_classes: int = 1000,
) -> ResNet:
    """A member of Table 1, or of its kin.

    `version` 1 puts a bottleneck's stride in its first 1x1, 1.5 in its 3x3. `groups` and `width_per_group` are
    ResNeXt's cardinality and width. `widen_factor` widens basic blocks as a whole and bottlenecks in their 3x3
    (Zagoruyko and Komodakis 2016); conv1 keeps its 64 channels. `shortcut` none makes the plain net.
    """
    one_of("depth", depth, LAYERS)
    one_of("version", version, ("1", "1.5"))
    one_of("shortcut", shortcut, ("B", "none"))
    at_least("groups", groups, 1)
    at_least("width_per_group", width_per_group, 1)
    at_least("num_classes", num_classes, 1)
    if depth < 50 and (groups, width_per_group) != (1, 64):
        hint = "use depth 50, 101 or 152"
        raise BadKnob("groups", groups, "the basic blocks of 18 and 34 layers have no groups", hint)
    widths = [_width(width_per_group * widen_factor * 2**stage, widen_factor) for stage in range(4)]
    basic, bottleneck = (PlainBasicBlock, PlainBottleneck) if shortcut == "none" else (BasicBlock, Bottleneck)
    stages, channels = residual_stages(
        depth,
        widths,
        basic,
        lambda C, width, out, stride: bottleneck(C, width * groups, out, stride, groups, version),
    )
    return ResNet(stages, channels, num_classes, conv1_bias)


def residual_stages(
    depth: int,
    widths: Sequence[int],
    basic: Callable[[int, int, int], nn.Module],
    bottleneck: Callable[[int, int, int, int], nn.Module],
) -> tuple[list[nn.Sequential], int]:
    """The four stages of Table 1 and the channels they end with.

    `basic` makes a block from input channels, output channels and stride; `bottleneck` from input channels, inner
    width, output channels and stride.
    """
    channels = 64
    stages = []
    for stage, (layers, width) in enumerate(zip(LAYERS[depth], widths, strict=True)):
        blocks: list[nn.Module] = []
        for index in range(layers):
            stride = 2 if stage and not index else 1
            if depth < 50:
                blocks.append(basic(channels, width, stride))
                channels = width
            else:
                blocks.append(bottleneck(channels, width, 256 * 2**stage, stride))
                channels = 256 * 2**stage
        stages.append(nn.Sequential(*blocks))
    return stages, channels


def _width(exact: float, widen_factor: float) -> int:
    """A width as an integer of at least one channel."""
    if exact < 1 or exact != int(exact):
        raise BadKnob("widen_factor", widen_factor, f"a stage would be {exact:g} channels wide")
    return int(exact)


RESNET = Family(
    name="resnet",
    default="resnet-50",
    title="ResNet",
    diagram=RESIDUAL_DRAWING,
    idea=(
        "A block computes F(x) + x: the identity shortcut carries the signal and the gradient past the convolutions, "
        "so that nets of 20 to 1,202 layers train. Identity shortcuts cost nothing; only where the shape changes does "
        "a 1x1 projection (option B) or a strided copy padded with zeros (option A, CIFAR) stand in."
    ),
    paper=Paper("Deep Residual Learning for Image Recognition", "He, Zhang, Ren, Sun", 2015, "arXiv:1512.03385"),
)
WIDE = Paper("Wide Residual Networks", "Zagoruyko, Komodakis", 2016, "arXiv:1605.07146")
TORCHVISION = "torchvision 0.28.0"
TABLE1 = "ResNet paper, Table 1"
CAFFE = "KaimingHe/deep-residual-networks prototxt"
PYCLS = "facebookresearch/pycls MODEL_ZOO"
V1_ABOUT = "The paper's own: stride 2 in the first 1x1 of a stage, which skips three quarters of its inputs."
V15_ABOUT = "v1.5, what the field runs: stride 2 in the 3x3 convolution instead of the paper's first 1x1."


def exact(params: str, macs: str, where: str = TORCHVISION, **settings: bool) -> tuple[Published, Published]:
    """Exact integers of an implementation."""
    return (
        Published("params", params, where, knobs=settings),
        Published("macs", macs, where, knobs=settings),
    )


def printed(figure: str, text: str, where: str, note: str = "") -> Published:
    """A figure as a paper prints it; its "FLOPs" are MACs."""
    return Published(figure, text, where, called="FLOPs" if figure == "macs" else "", note=note)


def member(
    name: str,
    *published: Published,
    about: str = "",
    paper: Paper | None = None,
    same_as: str = "",
    diagram: str = "",
    **knobs: object,
) -> Network:
    """A member by what it sets of the definition's knobs."""
    return Network(
        name=name,
        family=RESNET,
        build=resnet,
        inputs=(image(224),),
        knobs=knobs,
        published=published,
        about=about,
        paper=paper,
        same_as=same_as,
        diagram=diagram,
    )


register(
    member(
        "resnet-18",
        *exact("11,689,512", "1,814,073,344"),
        printed("macs", "1.8G", TABLE1),
        same_as="torchvision:resnet18",
        depth=18,
    ),
    member(
        "resnet-34",
        *exact("21,797,672", "3,663,761,408"),
        printed("macs", "3.6G", TABLE1, "3.66 cut to one decimal, not rounded"),
        same_as="torchvision:resnet34",
        depth=34,
    ),
    member(
        "resnet-50",
        *exact("25,557,032", "4,089,184,256"),
        printed("params", "25.6M", "WRN paper, Table 8"),
        printed("macs", "4.1G", PYCLS),
        printed("macs", "3.8G", TABLE1, "the paper's net has the stride in the first 1x1: resnet-50-v1"),
        printed("params", "25.5M", "ResNeXt paper, Table 1", "fits a count without BN's scale and shift (25,503,912)"),
        same_as="torchvision:resnet50",
        about=V15_ABOUT,
        depth=50,
    ),
    member(
        "resnet-101",
        *exact("44,549,160", "7,801,405,440"),
        printed("params", "44.5M", "WRN paper, Table 8"),
        printed("macs", "7.8G", PYCLS),
        printed("macs", "7.6G", TABLE1, "the paper's net has the stride in the first 1x1: resnet-101-v1"),
        same_as="torchvision:resnet101",
        about=V15_ABOUT,
        depth=101,
    ),
    member(
        "resnet-152",
        *exact("60,192,808", "11,513,626,624"),
        printed("params", "60.2M", "WRN paper, Table 8"),
        printed("macs", "11.5G", PYCLS),
        printed("macs", "11.3G", TABLE1, "the paper's net has the stride in the first 1x1: resnet-152-v1"),
        same_as="torchvision:resnet152",
        about=V15_ABOUT,
        depth=152,
    ),
    member(
        "resnet-50-v1",
        *exact("25,557,096", "3,857,973,248", CAFFE, conv1_bias=True),
        printed("macs", "3.8G", TABLE1, "3.86 cut to one decimal, not rounded; SENet's Table 2 prints 3.86"),
        printed("macs", "3.86G", "SENet paper, Table 2"),
        about=V1_ABOUT + " The authors' Caffe net also has a bias in conv1: +64 (--set conv1_bias=true).",
        depth=50,
        version="1",
    ),
    member(
        "resnet-101-v1",
        *exact("44,549,160", "7,570,194,432", CAFFE),
        printed("macs", "7.6G", TABLE1),
        printed("macs", "7.58G", "SENet paper, Table 2", "7.57 by contractions alone"),
        about=V1_ABOUT,
        depth=101,
        version="1",
    ),
    member(
        "resnet-152-v1",
        *exact("60,192,808", "11,282,415,616", CAFFE),
        printed("macs", "11.3G", TABLE1),
        printed("macs", "11.30G", "SENet paper, Table 2", "11.28 by contractions alone"),
        about=V1_ABOUT,
        depth=152,
        version="1",
    ),
    member(
        "wrn-50-2",
        *exact("68,883,240", "11,398,021,120"),
        printed("params", "68.9M", "WRN paper, Table 8"),
        same_as="torchvision:wide_resnet50_2",
        about="ResNet-50 with its 3x3 convolutions twice as wide.",
        paper=WIDE,
        widen_factor=2.0,
    ),
    file=__name__,
)
