"""Inception v4, and Inception-ResNet v2: the same kinds of modules without and with residual connections."""

from __future__ import annotations

from torch import Tensor, nn

from archcalc.networks.parts import Branches, ConvBNReLU
from archcalc.networks.spec import Network, Paper, Published, at_least, image, register
from archcalc.networks.vision.inception import INCEPTION
from archcalc.networks.vision.inception_v3 import average_pool, expanded, stem_v3


def stem_v4() -> nn.Sequential:
    """Figure 3: N, 3, 299, 299 -> N, 384, 35, 35."""
    return nn.Sequential(
        ConvBNReLU(3, 32, 3, 2, "valid"),  # N, 32, 149, 149
        ConvBNReLU(32, 32, 3, 1, "valid"),  # N, 32, 147, 147
        ConvBNReLU(32, 64, 3),  # N, 64, 147, 147
        Branches(pool=nn.MaxPool2d(3, stride=2), conv=ConvBNReLU(64, 96, 3, 2, "valid")),  # N, 160, 73, 73
        Branches(
            short=nn.Sequential(ConvBNReLU(160, 64, 1), ConvBNReLU(64, 96, 3, 1, "valid")),
            long=nn.Sequential(
                ConvBNReLU(160, 64, 1),
                ConvBNReLU(64, 64, (1, 7)),
                ConvBNReLU(64, 64, (7, 1)),
                ConvBNReLU(64, 96, 3, 1, "valid"),
            ),
        ),  # N, 192, 71, 71
        Branches(conv=ConvBNReLU(192, 192, 3, 2, "valid"), pool=nn.MaxPool2d(3, stride=2)),  # N, 384, 35, 35
    )


def inception_a() -> Branches:
    """Figure 4: N, 384, 35, 35 -> the same."""
    return Branches(
        branch1x1=ConvBNReLU(384, 96, 1),
        branch3x3=nn.Sequential(ConvBNReLU(384, 64, 1), ConvBNReLU(64, 96, 3)),
        branch_double=nn.Sequential(ConvBNReLU(384, 64, 1), ConvBNReLU(64, 96, 3), ConvBNReLU(96, 96, 3)),
        branch_pool=average_pool(384, 96, count_include_pad=False),
    )


def reduction_a(C: int, k: int, l: int, m: int, n: int) -> Branches:  # noqa: E741
    """Figure 7, in its letters: N, C, 35, 35 -> N, n + m + C, 17, 17."""
    return Branches(
        branch3x3=ConvBNReLU(C, n, 3, 2, "valid"),
        branch_double=nn.Sequential(ConvBNReLU(C, k, 1), ConvBNReLU(k, l, 3), ConvBNReLU(l, m, 3, 2, "valid")),
        branch_pool=nn.MaxPool2d(3, stride=2),
    )


def inception_b() -> Branches:
    """Figure 5: N, 1024, 17, 17 -> the same."""
    return Branches(
        branch1x1=ConvBNReLU(1024, 384, 1),
        branch7x7=nn.Sequential(ConvBNReLU(1024, 192, 1), ConvBNReLU(192, 224, (1, 7)), ConvBNReLU(224, 256, (7, 1))),
        branch_double=nn.Sequential(
            ConvBNReLU(1024, 192, 1),
            ConvBNReLU(192, 192, (1, 7)),
            ConvBNReLU(192, 224, (7, 1)),
            ConvBNReLU(224, 224, (1, 7)),
            ConvBNReLU(224, 256, (7, 1)),
        ),
        branch_pool=average_pool(1024, 128, count_include_pad=False),
    )


def reduction_b() -> Branches:
    """Figure 8: N, 1024, 17, 17 -> N, 1536, 8, 8."""
    return Branches(
        branch3x3=nn.Sequential(ConvBNReLU(1024, 192, 1), ConvBNReLU(192, 192, 3, 2, "valid")),
        branch7x7=nn.Sequential(
            ConvBNReLU(1024, 256, 1),
            ConvBNReLU(256, 256, (1, 7)),
            ConvBNReLU(256, 320, (7, 1)),
            ConvBNReLU(320, 320, 3, 2, "valid"),
        ),
        branch_pool=nn.MaxPool2d(3, stride=2),
    )


def inception_c() -> Branches:
    """Figure 6: N, 1536, 8, 8 -> the same."""
    return Branches(
        branch1x1=ConvBNReLU(1536, 256, 1),
        branch3x3=nn.Sequential(ConvBNReLU(1536, 384, 1), expanded(384, 256)),
        branch_double=nn.Sequential(
            ConvBNReLU(1536, 384, 1), ConvBNReLU(384, 448, (1, 3)), ConvBNReLU(448, 512, (3, 1)), expanded(512, 256)
        ),
        branch_pool=average_pool(1536, 256, count_include_pad=False),
    )


class InceptionV4(nn.Module):
    """Figure 9: stem, 4 modules A, 7 modules B, 3 modules C with reductions between, pooling, dropout, classifier."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = stem_v4()
        self.inception_a = nn.Sequential(*(inception_a() for _ in range(4)))
        self.reduction_a = reduction_a(384, 192, 224, 256, 384)
        self.inception_b = nn.Sequential(*(inception_b() for _ in range(7)))
        self.reduction_b = reduction_b()
        self.inception_c = nn.Sequential(*(inception_c() for _ in range(3)))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(1536, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.children():
            x = module(x)
        return x  # N, num_classes


class InceptionResidual(nn.Module):
    """x + scale · F(x), F of branches and a linear 1x1 convolution (Figures 16, 17 and 19): N, C, H, W -> the same."""

    def __init__(self, branches: Branches, width: int, channels: int, scale: float, relu: bool = True) -> None:
        super().__init__()
        self.branches = branches
        self.conv = nn.Conv2d(width, channels, 1)
        self.relu = nn.ReLU(inplace=True) if relu else None
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.scale * self.conv(self.branches(x))  # N, C, H, W
        return x if self.relu is None else self.relu(x)


def block_35() -> InceptionResidual:
    """Inception-ResNet-A, at 35 x 35."""
    branches = Branches(
        branch1x1=ConvBNReLU(320, 32, 1),
        branch3x3=nn.Sequential(ConvBNReLU(320, 32, 1), ConvBNReLU(32, 32, 3)),
        branch_double=nn.Sequential(ConvBNReLU(320, 32, 1), ConvBNReLU(32, 48, 3), ConvBNReLU(48, 64, 3)),
    )
    return InceptionResidual(branches, 128, 320, 0.17)


def block_17() -> InceptionResidual:
    """Inception-ResNet-B, at 17 x 17."""
    branches = Branches(
        branch1x1=ConvBNReLU(1088, 192, 1),
        branch7x7=nn.Sequential(ConvBNReLU(1088, 128, 1), ConvBNReLU(128, 160, (1, 7)), ConvBNReLU(160, 192, (7, 1))),
    )
    return InceptionResidual(branches, 384, 1088, 0.10)


def block_8(last: bool) -> InceptionResidual:
    """Inception-ResNet-C, at 8 x 8; the last one is neither scaled nor followed by ReLU."""
    branches = Branches(
        branch1x1=ConvBNReLU(2080, 192, 1),
        branch3x3=nn.Sequential(ConvBNReLU(2080, 192, 1), ConvBNReLU(192, 224, (1, 3)), ConvBNReLU(224, 256, (3, 1))),
    )
    return InceptionResidual(branches, 448, 2080, 1.0 if last else 0.20, relu=not last)


class InceptionResNetV2(nn.Module):
    """As released: Inception v3's stem, 10, 20 and 10 residual modules, a last 1x1 convolution to 1536."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = stem_v3()
        self.mixed5 = Branches(
            branch1x1=ConvBNReLU(192, 96, 1),
            branch5x5=nn.Sequential(ConvBNReLU(192, 48, 1), ConvBNReLU(48, 64, 5)),
            branch3x3=nn.Sequential(ConvBNReLU(192, 64, 1), ConvBNReLU(64, 96, 3), ConvBNReLU(96, 96, 3)),
            branch_pool=average_pool(192, 64, count_include_pad=False),
        )  # N, 320, 35, 35
        self.blocks35 = nn.Sequential(*(block_35() for _ in range(10)))
        self.reduction_a = reduction_a(320, 256, 256, 384, 384)  # N, 1088, 17, 17
        self.blocks17 = nn.Sequential(*(block_17() for _ in range(20)))
        self.reduction_b = Branches(
            branch1=nn.Sequential(ConvBNReLU(1088, 256, 1), ConvBNReLU(256, 384, 3, 2, "valid")),
            branch2=nn.Sequential(ConvBNReLU(1088, 256, 1), ConvBNReLU(256, 288, 3, 2, "valid")),
            branch3=nn.Sequential(
                ConvBNReLU(1088, 256, 1), ConvBNReLU(256, 288, 3), ConvBNReLU(288, 320, 3, 2, "valid")
            ),
            branch_pool=nn.MaxPool2d(3, stride=2),
        )  # N, 2080, 8, 8
        self.blocks8 = nn.Sequential(*(block_8(last=index == 9) for index in range(10)))
        self.conv = ConvBNReLU(2080, 1536, 1)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(1536, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.children():
            x = module(x)
        return x  # N, num_classes


def inception_v4(num_classes: int = 1000) -> InceptionV4:
    """Inception v4, without residual connections."""
    at_least("num_classes", num_classes, 1)
    return InceptionV4(num_classes)


def inception_resnet_v2(num_classes: int = 1000) -> InceptionResNetV2:
    """Inception-ResNet v2, as its authors released it."""
    at_least("num_classes", num_classes, 1)
    return InceptionResNetV2(num_classes)


PAPER = Paper(
    "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
    "Szegedy, Ioffe, Vanhoucke, Alemi",
    2016,
    "arXiv:1602.07261",
)
TIMM = "timm 1.0.31"

register(
    Network(
        name="inception-v4",
        family=INCEPTION,
        build=inception_v4,
        inputs=(image(299),),
        same_as="timm:inception_v4",
        paper=PAPER,
    ),
    Network(
        name="inception-resnet-v2",
        family=INCEPTION,
        build=inception_resnet_v2,
        inputs=(image(299),),
        same_as="timm:inception_resnet_v2",
        paper=PAPER,
        published=(
            Published("params", "55,843,464", TIMM),
            Published("macs", "13,155,794,016", TIMM),
            Published("params", "56M", "EfficientNet paper, Table 2"),
            Published("macs", "13B", "EfficientNet paper, Table 2", called="FLOPs"),
            Published(
                "macs",
                "11.75G",
                "SENet paper, Table 2",
                called="FLOPs",
                note="their re-implementation, 12 % below the public one",
            ),
        ),
    ),
    file=__name__,
)
