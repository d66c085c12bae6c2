"""AlexNet: five convolutions, three fully connected layers; as of 2012 in two towers, as run today in one."""

from __future__ import annotations

from torch import Tensor, nn

from archcalc.networks.spec import Family, Network, Paper, Published, at_least, image, register

ALEXNET_DRAWING = """
image -> [conv 11x11/4] -> pool -> [conv 5x5] -> pool ->
           96 (2 x 48)             256 (2 x 128)
         [conv 3x3] x3 -> pool -> fc -> fc -> fc
          384 384 256            4096  4096  1000
"""


def response_norm() -> nn.LocalResponseNorm:
    """B = a / (k + α Σ a²)^β over n = 5 neighbouring channels; torch divides α by n, so it is given n·α."""
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)


class Classifier(nn.Module):
    """Two fully connected layers of 4,096 with dropout, and the output."""

    def __init__(self, features: int, num_classes: int) -> None:
        super().__init__()
        self.drop6 = nn.Dropout(0.5)
        self.fc6 = nn.Linear(features, 4096)
        self.relu6 = nn.ReLU(inplace=True)
        self.drop7 = nn.Dropout(0.5)
        self.fc7 = nn.Linear(4096, 4096)
        self.relu7 = nn.ReLU(inplace=True)
        self.fc8 = nn.Linear(4096, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu6(self.fc6(self.drop6(x)))  # N, 4096
        x = self.relu7(self.fc7(self.drop7(x)))  # N, 4096
        return self.fc8(x)  # N, num_classes


class AlexNet2012(nn.Module):
    """The net of 2012: convolutions 2, 4 and 5 see half of the channels; response norm, overlapping pools."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 11, stride=4)
        self.norm1 = response_norm()
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=2)
        self.norm2 = response_norm()
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=2)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=2)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, stride=2)
        self.flatten = nn.Flatten()
        self.classifier = Classifier(256 * 6 * 6, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.norm1(self.relu(self.conv1(x))))  # N, 96, 27, 27
        x = self.pool(self.norm2(self.relu(self.conv2(x))))  # N, 256, 13, 13
        x = self.relu(self.conv3(x))  # N, 384, 13, 13
        x = self.relu(self.conv4(x))  # N, 384, 13, 13
        x = self.pool(self.relu(self.conv5(x)))  # N, 256, 6, 6
        return self.classifier(self.flatten(x))  # N, num_classes


class AlexNet(nn.Module):
    """The single tower of 2014 without response norm, as everyone runs it."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 11, stride=4, padding=2)
        self.conv2 = nn.Conv2d(64, 192, 5, padding=2)
        self.conv3 = nn.Conv2d(192, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 256, 3, padding=1)
        self.conv5 = nn.Conv2d(256, 256, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.MaxPool2d(3, stride=2)
        self.flatten = nn.Flatten()
        self.classifier = Classifier(256 * 6 * 6, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x)))  # N, 64, 27, 27
        x = self.pool(self.relu(self.conv2(x)))  # N, 192, 13, 13
        x = self.relu(self.conv3(x))  # N, 384, 13, 13
        x = self.relu(self.conv4(x))  # N, 256, 13, 13
        x = self.pool(self.relu(self.conv5(x)))  # N, 256, 6, 6
        return self.classifier(self.flatten(x))  # N, num_classes


def alexnet(num_classes: int = 1000) -> AlexNet:
    """AlexNet in one tower."""
    at_least("num_classes", num_classes, 1)
    return AlexNet(num_classes)


def alexnet_2012(num_classes: int = 1000) -> AlexNet2012:
    """AlexNet in the two towers of its paper."""
    at_least("num_classes", num_classes, 1)
    return AlexNet2012(num_classes)


ALEXNET = Family(
    name="alexnet",
    default="alexnet",
    title="AlexNet",
    diagram=ALEXNET_DRAWING,
    idea=(
        "The network that made GPUs and ReLU the way to go: five convolutions with shrinking kernels, then three fully "
        "connected layers with dropout that hold 58 of its 61 million parameters. Two GPUs of 3 GB each made the first "
        "version a pair of towers that talk in one layer, which is what grouped convolution comes from."
    ),
    paper=Paper(
        "ImageNet Classification with Deep Convolutional Neural Networks",
        "Krizhevsky, Sutskever, Hinton",
        2012,
        "NIPS 2012",
    ),
)
WEIRD_TRICK = Paper(
    "One weird trick for parallelizing convolutional neural networks", "Krizhevsky", 2014, "arXiv:1404.5997"
)
TORCHVISION = "torchvision 0.28.0"
CAFFE = "BVLC/caffe bvlc_alexnet/deploy.prototxt"

register(
    Network(
        name="alexnet",
        family=ALEXNET,
        build=alexnet,
        inputs=(image(224),),
        same_as="torchvision:alexnet",
        paper=WEIRD_TRICK,
        about="One tower of 64, 192, 384, 256 and 256 channels; the input is 224 x 224.",
        published=(
            Published("params", "61,100,840", TORCHVISION),
            Published("macs", "714,188,480", TORCHVISION),
            Published(
                "params",
                "62,378,344",
                "pytorchcv 0.0.74",
                note="the widths of 2012 (96, 256, 384, 384, 256) without groups",
            ),
        ),
    ),
    Network(
        name="alexnet-2012",
        family=ALEXNET,
        build=alexnet_2012,
        inputs=(image(227),),
        about="Two towers (groups = 2). The paper says 224 x 224; its sizes only work out with 227.",
        published=(
            Published("params", "60,965,224", CAFFE),
            Published("macs", "724,406,816", CAFFE),
            Published("params", "60M", "AlexNet paper, abstract", note="60.97 M cut, not rounded"),
            Published("macs", "720M", "ShuffleNet v1 paper, Tables 6 and 8", called="FLOPs", note="724 M at 227"),
        ),
    ),
    file=__name__,
)
