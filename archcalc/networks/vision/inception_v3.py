"""Inception v3: large kernels factored, 5x5 into two 3x3, 7x7 into 1x7 and 7x1, 3x3 into 1x3 beside 3x1."""

from __future__ import annotations

from torch import Tensor, nn

from archcalc.networks.parts import Branches, ConvBNReLU
from archcalc.networks.spec import Network, Paper, Published, at_least, image, register
from archcalc.networks.vision.inception import INCEPTION

LOW_RANK_DRAWING = """
k x k  becomes  1 x k, then k x 1:
2k weights in place of k*k for a pair of channels
"""


def stem_v3() -> nn.Sequential:
    """The layers before the first module: N, 3, 299, 299 -> N, 192, 35, 35."""
    return nn.Sequential(
        ConvBNReLU(3, 32, 3, 2, "valid"),  # N, 32, 149, 149
        ConvBNReLU(32, 32, 3, 1, "valid"),  # N, 32, 147, 147
        ConvBNReLU(32, 64, 3),  # N, 64, 147, 147
        nn.MaxPool2d(3, stride=2),  # N, 64, 73, 73
        ConvBNReLU(64, 80, 1),  # N, 80, 73, 73
        ConvBNReLU(80, 192, 3, 1, "valid"),  # N, 192, 71, 71
        nn.MaxPool2d(3, stride=2),  # N, 192, 35, 35
    )


def average_pool(in_channels: int, out_channels: int, count_include_pad: bool = True) -> nn.Sequential:
    """3x3 average, over the padding's zeros too or over places alone, and a 1x1 projection."""
    average = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=count_include_pad)
    return nn.Sequential(average, ConvBNReLU(in_channels, out_channels, 1))


def inception_a(C: int, pool: int) -> Branches:
    """Figure 5, at 35 x 35: N, C, H, W -> N, 224 + pool, H, W."""
    return Branches(
        branch1x1=ConvBNReLU(C, 64, 1),
        branch5x5=nn.Sequential(ConvBNReLU(C, 48, 1), ConvBNReLU(48, 64, 5)),
        branch3x3=nn.Sequential(ConvBNReLU(C, 64, 1), ConvBNReLU(64, 96, 3), ConvBNReLU(96, 96, 3)),
        branch_pool=average_pool(C, pool),
    )


def reduction_a(C: int) -> Branches:
    """Figure 10, 35 x 35 to 17 x 17: N, C, H, W -> N, 480 + C, H/2, W/2."""
    return Branches(
        branch3x3=ConvBNReLU(C, 384, 3, 2, "valid"),
        branch_double=nn.Sequential(ConvBNReLU(C, 64, 1), ConvBNReLU(64, 96, 3), ConvBNReLU(96, 96, 3, 2, "valid")),
        branch_pool=nn.MaxPool2d(3, stride=2),
    )


def inception_b(C: int, c7: int) -> Branches:
    """Figure 6 with n = 7, at 17 x 17: N, C, H, W -> N, 768, H, W."""
    return Branches(
        branch1x1=ConvBNReLU(C, 192, 1),
        branch7x7=nn.Sequential(ConvBNReLU(C, c7, 1), ConvBNReLU(c7, c7, (1, 7)), ConvBNReLU(c7, 192, (7, 1))),
        branch_double=nn.Sequential(
            ConvBNReLU(C, c7, 1),
            ConvBNReLU(c7, c7, (7, 1)),
            ConvBNReLU(c7, c7, (1, 7)),
            ConvBNReLU(c7, c7, (7, 1)),
            ConvBNReLU(c7, 192, (1, 7)),
        ),
        branch_pool=average_pool(C, 192),
    )


def reduction_b(C: int) -> Branches:
    """17 x 17 to 8 x 8: N, C, H, W -> N, 512 + C, H/2, W/2."""
    return Branches(
        branch3x3=nn.Sequential(ConvBNReLU(C, 192, 1), ConvBNReLU(192, 320, 3, 2, "valid")),
        branch7x7=nn.Sequential(
            ConvBNReLU(C, 192, 1),
            ConvBNReLU(192, 192, (1, 7)),
            ConvBNReLU(192, 192, (7, 1)),
            ConvBNReLU(192, 192, 3, 2, "valid"),
        ),
        branch_pool=nn.MaxPool2d(3, stride=2),
    )


def expanded(in_channels: int, out_channels: int) -> Branches:
    """1x3 beside 3x1 (Figure 7): N, C, H, W -> N, 2 C', H, W."""
    return Branches(
        conv1x3=ConvBNReLU(in_channels, out_channels, (1, 3)), conv3x1=ConvBNReLU(in_channels, out_channels, (3, 1))
    )


def inception_c(C: int) -> Branches:
    """Figure 7, at 8 x 8: N, C, H, W -> N, 2048, H, W."""
    return Branches(
        branch1x1=ConvBNReLU(C, 320, 1),
        branch3x3=nn.Sequential(ConvBNReLU(C, 384, 1), expanded(384, 384)),
        branch_double=nn.Sequential(ConvBNReLU(C, 448, 1), ConvBNReLU(448, 384, 3), expanded(384, 384)),
        branch_pool=average_pool(C, 192),
    )


class AuxiliaryClassifier(nn.Module):
    """A classifier on the side, used in training only: N, 768, 17, 17 -> N, num_classes."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(5, stride=3)
        self.conv1 = ConvBNReLU(768, 128, 1)
        self.conv2 = ConvBNReLU(128, 768, 5, padding="valid")
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(768, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv2(self.conv1(self.pool(x)))  # N, 768, 1, 1
        return self.fc(self.avgpool(x).flatten(1))  # N, num_classes


class InceptionV3(nn.Module):
    """Stem, modules at 35 x 35, 17 x 17 and 8 x 8, global pooling, classifier; an auxiliary classifier if asked."""

    def __init__(self, aux_heads: bool, num_classes: int) -> None:
        super().__init__()
        self.stem = stem_v3()
        self.mixed5 = nn.Sequential(inception_a(192, 32), inception_a(256, 64), inception_a(288, 64))
        self.reduction6 = reduction_a(288)
        self.mixed6 = nn.Sequential(*(inception_b(768, c7) for c7 in (128, 160, 160, 192)))
        self.aux = AuxiliaryClassifier(num_classes) if aux_heads else None
        self.reduction7 = reduction_b(768)
        self.mixed7 = nn.Sequential(inception_c(1280), inception_c(2048))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(2048, num_classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.mixed5(self.stem(x))  # N, 288, 35, 35
        x = self.mixed6(self.reduction6(x))  # N, 768, 17, 17
        extra = self.aux(x) if self.aux is not None and self.training else None
        x = self.mixed7(self.reduction7(x))  # N, 2048, 8, 8
        x = self.fc(self.dropout(self.flatten(self.avgpool(x))))  # N, num_classes
        return x if extra is None else (x, extra)


def inception_v3(aux_heads: bool = False, num_classes: int = 1000) -> InceptionV3:
    """Inception v3; the auxiliary head, with BN of its own, runs in training only."""
    at_least("num_classes", num_classes, 1)
    return InceptionV3(aux_heads, num_classes)


register(
    Network(
        name="inception-v3",
        family=INCEPTION,
        build=inception_v3,
        inputs=(image(299),),
        same_as="timm:inception_v3",
        paper=Paper(
            "Rethinking the Inception Architecture for Computer Vision",
            "Szegedy, Vanhoucke, Ioffe, Shlens, Wojna",
            2015,
            "arXiv:1512.00567",
        ),
        published=(
            Published("params", "23,834,568", "torchvision 0.28.0"),
            Published("macs", "5,713,216,096", "torchvision 0.28.0"),
            Published("params", "27,161,264", "torchvision 0.28.0", knobs={"aux_heads": True}),
            Published(
                "macs", "5G", "Inception v3 paper, section 6", called="multiply-adds", note="5.71 G counted exactly"
            ),
            Published(
                "params",
                "23,626,728",
                "Xception paper, Table 3",
                note="another definition: 207,840 fewer than torchvision's",
            ),
        ),
    ),
    file=__name__,
)
