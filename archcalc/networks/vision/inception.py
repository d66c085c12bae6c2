"""GoogLeNet (Inception v1) and BN-Inception (v2): kernels of several sizes side by side over one input.

1x1 convolutions first reduce the channels, which is what makes the larger kernels affordable.
"""

from __future__ import annotations

from torch import Tensor, nn

from archcalc.networks.parts import Branches, ConvBNReLU
from archcalc.networks.spec import Family, Network, Paper, Published, at_least, image, register
from archcalc.networks.vision.senet import SENET, SEBlock

INCEPTION_MODULE_DRAWING = """
                      x
      +---------+-----+-----+---------+
      |         |           |         |
      |      1x1 reduce  1x1 reduce  max pool 3x3
     1x1       3x3         5x5       1x1 projection
      |         |           |         |
      +---------+-----+-----+---------+
              concatenate
"""


MODULES = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}
"""Table 1 of the paper: input channels, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection."""


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Convolution with bias that keeps the size (up to its stride), ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2), nn.ReLU(inplace=True)
    )


class InceptionModule(Branches):
    """1x1, 3x3, 5x5 and pooling over one input (Figure 2b): N, C, H, W -> N, n1 + n3 + n5 + pool, H, W."""

    def __init__(self, C: int, n1: int, reduce3: int, n3: int, reduce5: int, n5: int, pool: int) -> None:
        super().__init__(
            branch1x1=conv(C, n1, 1),
            branch3x3=nn.Sequential(conv(C, reduce3, 1), conv(reduce3, n3, 3)),
            branch5x5=nn.Sequential(conv(C, reduce5, 1), conv(reduce5, n5, 5)),
            branch_pool=nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), conv(C, pool, 1)),
        )


class AuxiliaryClassifier(nn.Module):
    """A classifier on the side, used in training only: N, C, 14, 14 -> N, num_classes."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(5, stride=3)
        self.conv = conv(in_channels, 128, 1)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.pool(x)).flatten(1)  # N, 2048
        return self.fc2(self.dropout(self.relu(self.fc1(x))))  # N, num_classes


class GoogLeNet(nn.Module):
    """Stem with response norm, nine inception modules, pooling, classifier; two auxiliary classifiers if asked."""

    def __init__(self, aux_heads: bool, num_classes: int) -> None:
        super().__init__()
        self.conv1 = conv(3, 64, 7, 2)
        self.norm1 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.conv2 = nn.Sequential(conv(64, 64, 1), conv(64, 192, 3))
        self.norm2 = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        for name, widths in MODULES.items():
            self.add_module(f"inception{name}", InceptionModule(*widths))
        self.aux1 = AuxiliaryClassifier(512, num_classes) if aux_heads else None
        self.aux2 = AuxiliaryClassifier(528, num_classes) if aux_heads else None
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(0.4)
        self.fc = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        x = self.norm1(self.pool(self.conv1(x)))  # N, 64, H/4, W/4
        x = self.pool(self.norm2(self.conv2(x)))  # N, 192, H/8, W/8
        extra: list[Tensor] = []
        for name in MODULES:
            x = self.get_submodule(f"inception{name}")(x)
            if name in ("3b", "4e"):
                x = self.pool(x)  # H/16, then H/32
            head = {"4a": self.aux1, "4d": self.aux2}.get(name)
            if head is not None and self.training:
                extra.append(head(x))
        x = self.fc(self.dropout(self.flatten(self.avgpool(x))))  # N, num_classes
        return (x, *extra) if extra else x


class BNInceptionModule(Branches):
    """1x1, 3x3, two 3x3 for the 5x5, and pooling: N, C, H, W -> N, n1 + n3 + d3 + pool, H, W.

    Without n1 it halves the size: stride 2 in the last convolutions, and a pooling that passes its input through.
    """

    def __init__(
        self, C: int, n1: int, reduce3: int, n3: int, reduced: int, d3: int, pool: int, pooling: str, bias: bool
    ) -> None:
        stride = 1 if n1 else 2
        pooled: nn.Module = nn.MaxPool2d(3, stride, padding=stride % 2, ceil_mode=True)
        if pooling == "avg":
            pooled = nn.AvgPool2d(3, stride, padding=1)
        branches: dict[str, nn.Module] = {"branch1x1": ConvBNReLU(C, n1, 1, bias=bias)} if n1 else {}
        branches["branch3x3"] = nn.Sequential(
            ConvBNReLU(C, reduce3, 1, bias=bias), ConvBNReLU(reduce3, n3, 3, stride, bias=bias)
        )
        branches["branch_double3x3"] = nn.Sequential(
            ConvBNReLU(C, reduced, 1, bias=bias),
            ConvBNReLU(reduced, d3, 3, bias=bias),
            ConvBNReLU(d3, d3, 3, stride, bias=bias),
        )
        branches["branch_pool"] = nn.Sequential(pooled, ConvBNReLU(C, pool, 1, bias=bias)) if pool else pooled
        super().__init__(**branches)
        self.out_channels = n1 + n3 + d3 + (pool or C)


BN_MODULES = {
    "3a": (64, 64, 64, 64, 96, 32, "avg"),
    "3b": (64, 64, 96, 64, 96, 64, "avg"),
    "3c": (0, 128, 160, 64, 96, 0, "max"),
    "4a": (224, 64, 96, 96, 128, 128, "avg"),
    "4b": (192, 96, 128, 96, 128, 128, "avg"),
    "4c": (160, 128, 160, 128, 160, 128, "avg"),
    "4d": (96, 128, 192, 160, 192, 128, "avg"),
    "4e": (0, 128, 192, 192, 256, 0, "max"),
    "5a": (352, 192, 320, 160, 224, 128, "avg"),
    "5b": (352, 192, 320, 192, 224, 128, "max"),
}
"""Figure 5 of the paper: 1x1, 3x3 reduce, 3x3, double reduce, double 3x3, projection, pooling.

The figure's own sums do not agree: 4c and 4d are printed with 576 channels and add up to 608, which is what was
released.
"""


class BNInception(nn.Module):
    """Stem, ten inception modules with BN after every convolution, global pooling, classifier."""

    def __init__(self, conv_bias: bool, reduction: int, num_classes: int) -> None:
        super().__init__()
        self.conv1 = ConvBNReLU(3, 64, 7, 2, bias=conv_bias)
        self.pool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = nn.Sequential(ConvBNReLU(64, 64, 1, bias=conv_bias), ConvBNReLU(64, 192, 3, bias=conv_bias))
        self.pool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        channels = 192
        for name, (n1, reduce3, n3, reduced, d3, pool, pooling) in BN_MODULES.items():
            module = BNInceptionModule(channels, n1, reduce3, n3, reduced, d3, pool, pooling, conv_bias)
            channels = module.out_channels
            self.add_module(f"inception{name}", module)
            if reduction:
                self.add_module(f"se{name}", SEBlock(channels, reduction, fc_bias=True))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.children():
            x = module(x)
        return x  # N, num_classes


def googlenet(aux_heads: bool = False, num_classes: int = 1000) -> GoogLeNet:
    """GoogLeNet as its paper has it: real 5x5 convolutions, biases, response norm. The heads run in training only."""
    at_least("num_classes", num_classes, 1)
    return GoogLeNet(aux_heads, num_classes)


def bn_inception(conv_bias: bool = True, num_classes: int = 1000) -> BNInception:
    """Inception v2: batch normalisation, two 3x3 for each 5x5. The released convolutions keep their biases."""
    at_least("num_classes", num_classes, 1)
    return BNInception(conv_bias, 0, num_classes)


def se_inception_v2(reduction: int = 16, conv_bias: bool = False, num_classes: int = 1000) -> BNInception:
    """BN-Inception with a squeeze-and-excitation block behind every module; as released, without convolution biases."""
    at_least("reduction", reduction, 1)
    at_least("num_classes", num_classes, 1)
    return BNInception(conv_bias, reduction, num_classes)


INCEPTION = Family(
    name="inception",
    default="googlenet",
    title="Inception",
    diagram=INCEPTION_MODULE_DRAWING,
    idea=(
        "Which kernel size is right? All of them: an inception module runs 1x1, 3x3 and larger kernels and a pooling "
        "side by side and concatenates what they find; 1x1 convolutions reduce the channels first. Later versions add "
        "batch normalisation (v2), factor large kernels into small and flat ones (v3), and add residual connections."
    ),
    paper=Paper(
        "Going Deeper with Convolutions",
        "Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich",
        2014,
        "arXiv:1409.4842",
    ),
)
BN_PAPER = Paper(
    "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
    "Ioffe, Szegedy",
    2015,
    "arXiv:1502.03167",
)
CAFFE = "BVLC/caffe bvlc_googlenet/deploy.prototxt"
TABLE1 = "GoogLeNet paper, Table 1"

register(
    Network(
        name="googlenet",
        aliases=("inception-v1",),
        family=INCEPTION,
        build=googlenet,
        inputs=(image(224),),
        about="The paper's net; torchvision's has 3x3 in place of 5x5, BN in place of biases and 6,624,904 parameters.",
        published=(
            Published("params", "6,998,552", CAFFE),
            Published("macs", "1,582,671,872", CAFFE),
            Published(
                "params", "6.8M", TABLE1, note="the table counts in units of 1,024 and its rows are up to 7 % off"
            ),
            Published(
                "macs",
                "1.5G",
                TABLE1,
                called="ops",
                note="conv1 is printed as 34 M and costs 118 M; 5a fits 48, not 32, 5x5",
            ),
        ),
    ),
    Network(
        name="inception-v2",
        aliases=("bn-inception",),
        family=INCEPTION,
        build=bn_inception,
        inputs=(image(224),),
        paper=BN_PAPER,
        about="BN-Inception: batch normalisation behind every convolution, two 3x3 convolutions in place of each 5x5.",
        published=(
            Published("params", "11,295,240", "pretrainedmodels 0.7.4"),
            Published("macs", "2,032,600,064", "pretrainedmodels 0.7.4"),
            Published("macs", "2.03G", "SENet paper, Table 2", called="FLOPs"),
            Published(
                "params",
                "13.6M",
                "BN-Inception paper, section 4.2.1",
                note="not reproducible: the paper's own table gives 11.3 M",
            ),
        ),
    ),
    Network(
        name="se-inception-v2",
        family=SENET,
        build=se_inception_v2,
        inputs=(image(224),),
        about="BN-Inception with SE blocks.",
        published=(
            Published("params", "11,931,622", "hujie-frank/SENet prototxt"),
            Published("macs", "2,033,239,424", "hujie-frank/SENet prototxt"),
            Published(
                "macs",
                "2.04G",
                "SENet paper, Table 2",
                called="FLOPs",
                note="the paper also counts squeeze and scaling",
            ),
        ),
    ),
    file=__name__,
)
