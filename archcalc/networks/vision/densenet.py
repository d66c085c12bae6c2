"""DenseNet: every layer sees the feature maps of all layers before it.

x_l = H_l([x_0, x_1, ..., x_{l-1}]): L layers have L(L+1)/2 connections, each layer adds k = growth_rate channels.
"""

from __future__ import annotations

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
from archcalc.networks.vision.dense_block import DENSE_BLOCK_DRAWING, DenseBlock, Transition

BLOCK_CONFIGS = {
    121: (6, 12, 24, 16),
    161: (6, 12, 36, 24),
    169: (6, 12, 32, 32),
    201: (6, 12, 48, 32),
    264: (6, 12, 64, 48),
}
"""Table 1 of the paper: layers in each of the four dense blocks. Depth = 2 per layer + 3 transitions + 2.

The blocks printed for DenseNet-264 add up to 265; we build the blocks and keep the name.
"""


class DenseNet(nn.Module):
    """Stem, dense blocks with transitions between them, last BN and ReLU, global pooling, classifier."""

    def __init__(
        self,
        stem: dict[str, nn.Module],
        channels: int,
        block_config: tuple[int, ...],
        growth_rate: int,
        *,
        bottleneck: bool,
        compression: float,
        memory_efficient: bool,
        num_classes: int,
    ) -> None:
        super().__init__()
        for name, module in stem.items():
            self.add_module(name, module)
        for index, layers in enumerate(block_config, start=1):
            block = DenseBlock(layers, channels, growth_rate, bottleneck, memory_efficient)
            self.add_module(f"denseblock{index}", block)
            channels += layers * growth_rate
            if index < len(block_config):
                compressed = int(channels * compression)
                self.add_module(f"transition{index}", Transition(channels, compressed))
                channels = compressed
        last = len(block_config) + 1
        self.add_module(f"norm{last}", nn.BatchNorm2d(channels))
        self.add_module(f"relu{last}", nn.ReLU(inplace=True))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.children():
            x = module(x)
        return x  # N, num_classes


def densenet(
    depth: int | None = None,
    growth_rate: int = 32,
    block_config: tuple[int, ...] | None = None,
    memory_efficient: bool = False,
    num_classes: int = 1000,
) -> DenseNet:
    """DenseNet-BC for ImageNet: 7x7 stem to 2k channels, four blocks, bottleneck 4k, compression 0.5."""
    if block_config is None:
        one_of("depth", depth, BLOCK_CONFIGS)
        block_config = BLOCK_CONFIGS[depth or 0]
    _check(depth, block_config, 2, growth_rate, num_classes)
    k = growth_rate
    stem = {
        "conv0": nn.Conv2d(3, 2 * k, 7, stride=2, padding=3, bias=False),  # N, 2k, H/2, W/2
        "norm0": nn.BatchNorm2d(2 * k),
        "relu0": nn.ReLU(inplace=True),
        "pool0": nn.MaxPool2d(3, stride=2, padding=1),  # N, 2k, H/4, W/4
    }
    return DenseNet(
        stem,
        2 * k,
        block_config,
        k,
        bottleneck=True,
        compression=0.5,
        memory_efficient=memory_efficient,
        num_classes=num_classes,
    )


def densenet_cifar(
    depth: int | None = None,
    growth_rate: int = 12,
    block_config: tuple[int, ...] | None = None,
    memory_efficient: bool = False,
    num_classes: int = 10,
) -> DenseNet:
    """Plain DenseNet for CIFAR: 16 channels in conv0, three blocks of 3x3 layers, transitions keep the width."""
    block_config = block_config or _equal_blocks(depth, convolutions=1)
    _check(depth, block_config, 1, growth_rate, num_classes)
    return DenseNet(
        {"conv0": nn.Conv2d(3, 16, 3, padding=1, bias=False)},  # N, 16, H, W
        16,
        block_config,
        growth_rate,
        bottleneck=False,
        compression=1.0,
        memory_efficient=memory_efficient,
        num_classes=num_classes,
    )


def densenet_bc_cifar(
    depth: int | None = None,
    growth_rate: int = 12,
    block_config: tuple[int, ...] | None = None,
    memory_efficient: bool = False,
    num_classes: int = 10,
) -> DenseNet:
    """DenseNet-BC for CIFAR: 2k channels in conv0, three blocks of bottleneck layers, compression 0.5."""
    block_config = block_config or _equal_blocks(depth, convolutions=2)
    _check(depth, block_config, 2, growth_rate, num_classes)
    return DenseNet(
        {"conv0": nn.Conv2d(3, 2 * growth_rate, 3, padding=1, bias=False)},  # N, 2k, H, W
        2 * growth_rate,
        block_config,
        growth_rate,
        bottleneck=True,
        compression=0.5,
        memory_efficient=memory_efficient,
        num_classes=num_classes,
    )


def _equal_blocks(depth: int | None, convolutions: int) -> tuple[int, int, int]:
    """Layers of three equal blocks: depth = 3 · convolutions · layers + 4 (conv0, two transitions, classifier)."""
    step = 3 * convolutions
    layers, rest = divmod((depth or 0) - 4, step)
    if rest or layers < 1:
        near = max(step + 4, (depth or 0) - rest)
        hint = f"the nearest are  {near} and {near + step}"
        raise BadKnob("depth", depth, f"three equal blocks need depth = {step}·n + 4", hint)
    return layers, layers, layers


def _check(
    depth: int | None, block_config: tuple[int, ...], convolutions: int, growth_rate: int, num_classes: int
) -> None:
    """Refuse what cannot be built: empty blocks, and a depth that the blocks do not have."""
    for layers in block_config:
        at_least("block_config", layers, 1)
    at_least("growth_rate", growth_rate, 1)
    at_least("num_classes", num_classes, 1)
    counted = convolutions * sum(block_config) + len(block_config) + 1
    if depth not in (None, counted) and BLOCK_CONFIGS.get(depth or 0) != block_config:
        hint = f"leave depth out, or  --set depth={counted}"
        raise BadKnob("block_config", block_config, f"it makes {counted} layers, not {depth}", hint)


DENSENET = Family(
    name="densenet",
    default="densenet-121",
    title="DenseNet",
    diagram=DENSE_BLOCK_DRAWING,
    idea=(
        "Each layer is fed the concatenation of all feature maps before it in its block, and adds only k (the growth "
        "rate) channels of its own. Features are reused instead of learned again, so few parameters go far; the price "
        "is memory: written naively, the concatenations kept for training grow with the square of the depth."
    ),
    paper=Paper(
        "Densely Connected Convolutional Networks",
        "Huang, Liu, van der Maaten, Weinberger",
        2016,
        "arXiv:1608.06993",
    ),
)

EXACT = "torchvision 0.28.0 and shicai/DenseNet-Caffe"
AUTHORS = "liuzhuang13/DenseNet README"
EFFICIENTNET = "EfficientNet paper, Table 2"
CIFAR_INPUT = (image(32),)


def _member(depth: int, params: str, macs: str, *more: Published, growth_rate: int = 32, about: str = "") -> Network:
    exact = (Published("params", params, EXACT), Published("macs", macs, EXACT)) if params else ()
    return Network(
        name=f"densenet-{depth}",
        family=DENSENET,
        build=densenet,
        inputs=(image(224),),
        knobs={"depth": depth, "growth_rate": growth_rate},
        either=("depth", "block_config"),
        published=(*exact, *more),
        same_as=f"torchvision:densenet{depth}" if exact else "",
        about=about,
    )


register(
    _member(121, "7,978,856", "2,834,161,664"),
    _member(161, "28,681,000", "7,727,907,072", growth_rate=48),
    _member(
        169,
        "14,149,480",
        "3,359,843,328",
        Published("params", "14M", EFFICIENTNET),
        Published(
            "macs",
            "3.5B",
            EFFICIENTNET,
            called="FLOPs",
            note="3.360 G MACs by two independent implementations; the table's origin is not stated",
        ),
    ),
    _member(201, "20,013,928", "4,291,365,888", Published("params", "20M", "DenseNet paper, text")),
    _member(
        264, "", "", about="Table 1's blocks, 6, 12, 64 and 48 layers, make 265 layers; the paper's name says 264."
    ),
    Network(
        name="densenet-cifar",
        family=DENSENET,
        build=densenet_cifar,
        inputs=CIFAR_INPUT,
        knobs={"depth": 40},
        either=("depth", "block_config"),
        about="Plain DenseNet for CIFAR: no bottleneck, no compression, 16 channels in conv0.",
        published=(
            Published("params", "1.0M", AUTHORS),
            Published("params", "7.0M", AUTHORS, note="L = 100, k = 12", knobs={"depth": 100, "growth_rate": 12}),
        ),
    ),
    Network(
        name="densenet-bc-cifar",
        family=DENSENET,
        build=densenet_bc_cifar,
        inputs=CIFAR_INPUT,
        knobs={"depth": 100},
        either=("depth", "block_config"),
        about="DenseNet-BC for CIFAR: 4k bottlenecks, transitions halve the channels, 2k channels in conv0.",
        published=(
            Published("params", "0.8M", AUTHORS),
            *(
                Published(
                    "params",
                    printed,
                    AUTHORS,
                    note=f"L = {depth}, k = {k}",
                    knobs={"depth": depth, "growth_rate": k},
                )
                for depth, k, printed in ((250, 24, "15.3M"), (40, 36, "1.5M"), (40, 60, "4.3M"))
            ),
        ),
    ),
    file=__name__,
)
