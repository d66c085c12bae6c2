"""VGG: 3x3 convolutions all the way down; two of them see 5x5, three 7x7, with fewer weights and more nonlinearity."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from archcalc.networks.spec import Family, Network, Paper, Published, at_least, image, one_of, register

VGG_DRAWING = """
image -> [3x3]..[3x3] -> pool -> [3x3]..[3x3] -> pool -> ... five times
             64                     128              256, 512, 512
      -> fc 4096 -> fc 4096 -> fc 1000
"""


CONFIGURATIONS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""Table 1 of the paper, columns A, B, D and E: convolutions between the five poolings."""
WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """Five stages of convolutions and a pooling each, then three fully connected layers; the input is 224 x 224."""

    def __init__(self, convolutions: tuple[int, ...], batch_norm: bool, num_classes: int) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = 3
        for stage, (width, count) in enumerate(zip(WIDTHS, convolutions, strict=True), start=1):
            for index in range(1, count + 1):
                layers[f"conv{stage}_{index}"] = nn.Conv2d(channels, width, 3, padding=1)
                if batch_norm:
                    layers[f"bn{stage}_{index}"] = nn.BatchNorm2d(width)
                layers[f"relu{stage}_{index}"] = nn.ReLU(inplace=True)
                channels = width
            layers[f"pool{stage}"] = nn.MaxPool2d(2, stride=2)
        self.features = nn.Sequential(layers)
        self.flatten = nn.Flatten()
        self.fc6 = nn.Linear(512 * 7 * 7, 4096)
        self.relu6 = nn.ReLU(inplace=True)
        self.drop6 = nn.Dropout(0.5)
        self.fc7 = nn.Linear(4096, 4096)
        self.relu7 = nn.ReLU(inplace=True)
        self.drop7 = nn.Dropout(0.5)
        self.fc8 = nn.Linear(4096, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # N, 512, H/32, W/32
        x = self.flatten(x)  # N, 25088
        x = self.drop6(self.relu6(self.fc6(x)))  # N, 4096
        x = self.drop7(self.relu7(self.fc7(x)))  # N, 4096
        return self.fc8(x)  # N, num_classes


def vgg(depth: int = 16, batch_norm: bool = False, num_classes: int = 1000) -> VGG:
    """A column of Table 1 by its number of weight layers, with or without batch normalisation."""
    one_of("depth", depth, CONFIGURATIONS)
    at_least("num_classes", num_classes, 1)
    return VGG(CONFIGURATIONS[depth], batch_norm, num_classes)


VGG_FAMILY = Family(
    name="vgg",
    default="vgg-16",
    title="VGG",
    diagram=VGG_DRAWING,
    idea=(
        "Depth from the smallest kernel that knows left from right: stacks of 3x3 convolutions, widths that double "
        "when the map halves, and three fully connected layers that hold nine tenths of the parameters and almost none "
        "of the multiply-adds."
    ),
    paper=Paper(
        "Very Deep Convolutional Networks for Large-Scale Image Recognition",
        "Simonyan, Zisserman",
        2014,
        "arXiv:1409.1556",
    ),
)
TABLE2 = "VGG paper, Table 2"
TORCHVISION = "torchvision 0.28.0"


def _member(depth: int, printed: str, params: str, macs: str, *more: Published) -> None:
    exact = Published("params", params, TORCHVISION), Published("macs", macs, TORCHVISION)
    register(
        Network(
            name=f"vgg-{depth}",
            family=VGG_FAMILY,
            build=vgg,
            inputs=(image(224),),
            same_as=f"torchvision:vgg{depth}",
            knobs={"depth": depth},
            published=(Published("params", printed, TABLE2), *exact, *more),
        ),
        file=__name__,
    )


_member(11, "133M", "132,863,336", "7,609,090,048")
_member(13, "133M", "133,047,848", "11,308,466,176")
_member(
    16,
    "138M",
    "138,357,544",
    "15,470,264,320",
    Published("params", "138,365,992", TORCHVISION, knobs={"batch_norm": True}),
    Published("macs", "15.47G", "SENet paper, Table 2", called="FLOPs"),
    Published(
        "macs", "15.3G", "ResNet paper", called="FLOPs", note="convolutions only: 15.35 G without the three FC layers"
    ),
)
_member(
    19,
    "144M",
    "143,667,240",
    "19,632,062,464",
    Published("macs", "19.6G", "ResNet paper", called="FLOPs"),
)
