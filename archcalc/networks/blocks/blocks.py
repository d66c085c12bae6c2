"""The blocks that the networks are made of, each measured by itself: `archcalc params se-block --set channels=256`.

Knobs are named as the blocks' papers name them; the input follows the knobs.
"""

from __future__ import annotations

from torch import Tensor, nn

from archcalc.errors import BadKnob
from archcalc.networks.blocks.block_inputs import (
    maps,
    positions,
    step_of,
)
from archcalc.networks.parts import CHANNEL_SHUFFLE_DRAWING, SEPARABLE_DRAWING, ChannelShuffle
from archcalc.networks.sequence.cells import LSTM_DRAWING, RNN_DRAWING, LSTMCell, RNNCell
from archcalc.networks.sequence.recurrent import LSTM, RECURRENT
from archcalc.networks.spec import Family, Network, Paper, at_least, one_of, register
from archcalc.networks.vision.dense_block import (
    DENSE_BLOCK_DRAWING,
    DENSE_LAYER_DRAWING,
    TRANSITION_DRAWING,
    BottleneckDenseLayer,
    DenseBlock,
    DenseLayer,
    Transition,
)
from archcalc.networks.vision.densenet import DENSENET
from archcalc.networks.vision.inception import BN_PAPER, INCEPTION, INCEPTION_MODULE_DRAWING, InceptionModule
from archcalc.networks.vision.inception_v3 import LOW_RANK_DRAWING
from archcalc.networks.vision.resnet import RESIDUAL_DRAWING, RESNET, BasicBlock, Bottleneck, PlainBasicBlock
from archcalc.networks.vision.senet import SE_BLOCK_DRAWING, SENET, SEBlock
from archcalc.networks.vision.shufflenet_v1 import SHUFFLE_UNIT_V1_DRAWING, SHUFFLENET_V1
from archcalc.networks.vision.shufflenet_v1 import ShuffleUnit as ShuffleUnitV1
from archcalc.networks.vision.shufflenet_v2 import SHUFFLE_UNIT_V2_DRAWING, SHUFFLENET_V2, DownsamplingUnit
from archcalc.networks.vision.shufflenet_v2 import ShuffleUnit as ShuffleUnitV2

CONV_DRAWING = """
Cin maps -> Cout kernels of Cin/groups x k x k -> Cout maps,
each place a sum over Cin/groups * k * k products
"""
NORMS_DRAWING = """
          N  C  H  W              N  n  d_model
BN over   *  .  *  *    LN over   .  .  *         * averaged over, . kept apart
"""


class OnOneMap(nn.Module):
    """A dense layer fed one map that holds all the maps before it: N, C, H, W -> N, k, H, W."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer([x])  # N, k, H, W


class Step(nn.Module):
    """One step of a cell: N, I and the state -> the next state."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        return self.cell(x, state)


def divides(knob: str, divisor: int, whole: str, value: int) -> None:
    """Refuse a divisor that leaves a rest."""
    at_least(knob, divisor, 1)
    if value % divisor:
        raise BadKnob(knob, divisor, f"{whole}={value} does not divide by it", f"choose a divisor of {value}")


def conv(
    in_channels: int = 64, out_channels: int = 64, kernel: int = 3, stride: int = 1, dilation: int = 1, groups: int = 1,
    bias: bool = False,
) -> nn.Conv2d:  # fmt: skip
    """A convolution padded so that stride 1 keeps the size; kernel channels = in_channels / groups."""
    divides("groups", groups, "in_channels", in_channels)
    divides("groups", groups, "out_channels", out_channels)
    for knob, value in (("kernel", kernel), ("stride", stride), ("dilation", dilation)):
        at_least(knob, value, 1)
    padding = dilation * (kernel - 1) // 2
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, groups, bias=bias)


def separable_conv(in_channels: int = 64, out_channels: int = 64, kernel: int = 3) -> nn.Sequential:
    """Depthwise, then pointwise: k² + C' multiply-adds a channel and place instead of k²·C'."""
    at_least("kernel", kernel, 1)
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, kernel, padding=kernel // 2, groups=in_channels, bias=False),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
    )


def low_rank_conv(in_channels: int = 64, out_channels: int = 64, kernel: int = 3) -> nn.Sequential:
    """1 x k, then k x 1 in place of k x k: 2k instead of k² weights a pair of channels."""
    at_least("kernel", kernel, 1)
    half = kernel // 2
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, (1, kernel), padding=(0, half), bias=False),
        nn.Conv2d(out_channels, out_channels, (kernel, 1), padding=(half, 0), bias=False),
    )


def batch_norm(channels: int = 64) -> nn.BatchNorm2d:
    """Statistics over N, H, W for each channel: scale and shift of C, running mean and variance as buffers."""
    at_least("channels", channels, 1)
    return nn.BatchNorm2d(channels)


def layer_norm(d_model: int = 512, seq_len: int = 128) -> nn.LayerNorm:
    """Statistics over the features of each position: scale and shift of d_model, no buffers."""
    at_least("d_model", d_model, 1)
    return nn.LayerNorm(d_model)


def inception_module(
    in_channels: int = 192, n1x1: int = 64, reduce3x3: int = 96, n3x3: int = 128, reduce5x5: int = 16, n5x5: int = 32,
    pool_proj: int = 32,
) -> InceptionModule:  # fmt: skip
    """Inception (3a) of GoogLeNet, in the columns of its Table 1."""
    return InceptionModule(in_channels, n1x1, reduce3x3, n3x3, reduce5x5, n5x5, pool_proj)


def residual_block(in_channels: int = 64, out_channels: int = 64, stride: int = 1, shortcut: str = "B") -> BasicBlock:
    """Two 3x3 convolutions and a shortcut, identity where the shape stays; `shortcut` none leaves it out."""
    at_least("stride", stride, 1)
    one_of("shortcut", shortcut, ("B", "none"))
    return (PlainBasicBlock if shortcut == "none" else BasicBlock)(in_channels, out_channels, stride)


def bottleneck_block(
    in_channels: int = 256,
    width: int = 64,
    out_channels: int = 256,
    stride: int = 1,
    groups: int = 1,
    version: str = "1.5",
) -> Bottleneck:
    """1x1, 3x3, 1x1 and a shortcut."""
    one_of("version", version, ("1", "1.5"))
    divides("groups", groups, "width", width)
    return Bottleneck(in_channels, width, out_channels, stride, groups, version)


def se_block(channels: int = 256, reduction: int = 16, fc_bias: bool = False) -> SEBlock:
    """Squeeze and excitation: 2C²/r weights, plus C/r + C biases where there are any."""
    divides("reduction", reduction, "channels", channels)
    return SEBlock(channels, reduction, fc_bias)


def dense_layer(
    in_channels: int = 64, growth_rate: int = 32, bottleneck: bool = True, memory_efficient: bool = False
) -> OnOneMap:
    """BN, ReLU, 1x1 to 4k, BN, ReLU, 3x3 to k; without bottleneck BN, ReLU, 3x3 to k."""
    at_least("growth_rate", growth_rate, 1)
    kind = BottleneckDenseLayer if bottleneck else DenseLayer
    return OnOneMap(kind(in_channels, growth_rate, memory_efficient))


def dense_block(
    layers: int = 6,
    in_channels: int = 64,
    growth_rate: int = 32,
    bottleneck: bool = True,
    memory_efficient: bool = False,
) -> DenseBlock:
    """L layers, each fed all maps before it; with memory_efficient the concatenations are computed again."""
    at_least("layers", layers, 1)
    at_least("growth_rate", growth_rate, 1)
    return DenseBlock(layers, in_channels, growth_rate, bottleneck, memory_efficient)


def transition(in_channels: int = 256, out_channels: int = 128) -> Transition:
    """BN, ReLU, 1x1 convolution, 2x2 average pooling."""
    return Transition(in_channels, out_channels)


def channel_shuffle(channels: int = 240, groups: int = 3) -> ChannelShuffle:
    """(g, C/g) -> (C/g, g): no parameters, no arithmetic."""
    divides("groups", groups, "channels", channels)
    return ChannelShuffle(groups)


def shuffle_unit_v1(
    in_channels: int = 240, out_channels: int = 240, stride: int = 1, groups: int = 3, shuffle: bool = True
) -> ShuffleUnitV1:
    """ShuffleNet v1's unit; stride 2 concatenates the pooled input, so out_channels must exceed in_channels.

    Without `shuffle` a channel sees those of its own group alone.
    """
    one_of("stride", stride, (1, 2))
    if (stride == 1) != (in_channels == out_channels):
        raise BadKnob("out_channels", out_channels, f"stride {stride} from {in_channels} channels", "equal at stride 1")
    divides("groups", groups, "in_channels", in_channels)
    divides("groups", groups, "out_channels / 4", out_channels // 4)
    unit = ShuffleUnitV1(in_channels, out_channels, stride, groups, groups)
    if not shuffle:
        unit.add_module("shuffle", nn.Identity())
    return unit


def shuffle_unit_v2(in_channels: int = 116, out_channels: int = 116, stride: int = 1) -> nn.Module:
    """ShuffleNet v2's unit: split at stride 1, two branches at stride 2."""
    one_of("stride", stride, (1, 2))
    if stride == 1:
        if in_channels != out_channels or in_channels % 2:
            raise BadKnob(
                "out_channels", out_channels, "stride 1 keeps an even number of channels", "or  --set stride=2"
            )
        return ShuffleUnitV2(in_channels)
    if out_channels <= in_channels:
        raise BadKnob("out_channels", out_channels, "stride 2 adds channels", f"more than {in_channels}")
    return DownsamplingUnit(in_channels, out_channels, stride)


def rnn_cell(input_size: int = 64, hidden_size: int = 128) -> Step:
    """H = tanh(U x + W h + b)."""
    at_least("hidden_size", hidden_size, 1)
    return Step(RNNCell(input_size, hidden_size))


def lstm_cell(input_size: int = 64, hidden_size: int = 128) -> Step:
    """Four gates: 4H(I + H + 2) parameters with both biases."""
    at_least("hidden_size", hidden_size, 1)
    return Step(LSTMCell(input_size, hidden_size, 0))


BLOCKS = Family(
    name="blocks",
    default="conv",
    title="Blocks",
    idea=(
        "The parts by themselves, at the sizes of their papers' first stage. What a block costs depends on few "
        "numbers, and each of them is a knob here."
    ),
    paper=Paper(
        "Gradient-Based Learning Applied to Document Recognition",
        "LeCun, Bottou, Bengio, Haffner",
        1998,
        "Proc. IEEE 86",
    ),
)
XCEPTION = Paper("Xception: Deep Learning with Depthwise Separable Convolutions", "Chollet", 2016, "arXiv:1610.02357")
LAYER_NORM = Paper("Layer Normalization", "Ba, Kiros, Hinton", 2016, "arXiv:1607.06450")
FACTORED = Paper(
    "Rethinking the Inception Architecture for Computer Vision",
    "Szegedy, Vanhoucke, Ioffe, Shlens, Wojna",
    2015,
    "arXiv:1512.00567",
)

for name, build, inputs, paper, diagram in (
    ("conv", conv, maps(56), BLOCKS.paper, CONV_DRAWING),
    ("separable-conv", separable_conv, maps(56), XCEPTION, SEPARABLE_DRAWING),
    ("low-rank-conv", low_rank_conv, maps(56), FACTORED, LOW_RANK_DRAWING),
    ("batch-norm", batch_norm, maps(56, "channels"), BN_PAPER, NORMS_DRAWING),
    ("layer-norm", layer_norm, positions, LAYER_NORM, NORMS_DRAWING),
    ("inception-module", inception_module, maps(28), INCEPTION.paper, INCEPTION_MODULE_DRAWING),
    ("residual-block", residual_block, maps(56), RESNET.paper, RESIDUAL_DRAWING),
    ("bottleneck-block", bottleneck_block, maps(56), RESNET.paper, RESIDUAL_DRAWING),
    ("se-block", se_block, maps(56, "channels"), SENET.paper, SE_BLOCK_DRAWING),
    ("dense-layer", dense_layer, maps(56), DENSENET.paper, DENSE_LAYER_DRAWING),
    ("dense-block", dense_block, maps(56), DENSENET.paper, DENSE_BLOCK_DRAWING),
    ("transition", transition, maps(56), DENSENET.paper, TRANSITION_DRAWING),
    ("channel-shuffle", channel_shuffle, maps(28, "channels"), SHUFFLENET_V1.paper, CHANNEL_SHUFFLE_DRAWING),
    ("shuffle-unit-v1", shuffle_unit_v1, maps(28), SHUFFLENET_V1.paper, SHUFFLE_UNIT_V1_DRAWING),
    ("shuffle-unit-v2", shuffle_unit_v2, maps(28), SHUFFLENET_V2.paper, SHUFFLE_UNIT_V2_DRAWING),
    ("rnn-cell", rnn_cell, step_of(1), RECURRENT.paper, RNN_DRAWING),
    ("lstm-cell", lstm_cell, step_of(2), LSTM, LSTM_DRAWING),
):
    about = (build.__doc__ or "").strip()
    register(
        Network(name=name, family=BLOCKS, build=build, inputs=inputs, paper=paper, about=about, diagram=diagram),
        file=__name__,
    )
