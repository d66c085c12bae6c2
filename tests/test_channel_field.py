"""How many channels of the input a channel sees: by the closed form of groups, and by a real gradient."""

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc.analyses.shapes import Shapes, Walk
from archcalc.engine import trace
from archcalc.networks.blocks.blocks import shuffle_unit_v1
from archcalc.networks.blocks.convolutions import interleaved_conv
from tests.helpers import run


def seen(model: str | nn.Module, shape: tuple[int, ...] | None = None) -> list[int | None]:
    """The channels that the output of each step sees."""
    setup = archcalc.Setup(inputs=(f"{'x'.join(map(str, shape))}",)) if shape else archcalc.Setup()
    walk = Shapes()(trace(model, setup)).record
    assert isinstance(walk, Walk)
    return [step.channels_seen for step in walk.steps]


def by_gradient(module: nn.Module, channels: int) -> int:
    """The most channels of the input on which one channel of the output depends, in a run on random values."""
    module = module.double().train()
    x = torch.randn(2, channels, 5, 5, dtype=torch.float64, requires_grad=True)
    y = module(x)
    most = 0
    for channel in range(y.shape[1]):
        (gradient,) = torch.autograd.grad(y[:, channel].square().sum(), x, retain_graph=True)
        most = max(most, int((gradient.abs().sum((0, 2, 3)) > 0).sum()))
    return most


def test_the_shuffle_joins_what_groups_keep_apart() -> None:
    """240 channels in 3 groups: 80, until the second convolution in groups sees a part of each."""
    steps = seen("shuffle-unit-v1")
    assert steps == [80] * 6 + [240] * 4
    assert set(seen("shuffle-unit-v1[shuffle=false]")) == {80}
    assert "80 of 240 channels" in run("shapes", "shuffle-unit-v1").out
    assert "240 of 240 channels" in run("shapes", "shuffle-unit-v1").out
    assert "channels" not in run("shapes", "conv").out


def test_it_is_what_a_gradient_sees() -> None:
    # of 24 channels the middle has 2 a group, which carry 2 of 3 groups of 8, and the shortcut one more channel
    for channels, shuffle, expected in ((36, True, 36), (24, True, 17), (24, False, 8)):
        unit = shuffle_unit_v1(channels, channels, 1, 3, shuffle)
        assert seen(unit, (1, channels, 5, 5))[-1] == expected == by_gradient(unit, channels)
    block = interleaved_conv(12, 3, 3)
    assert seen(block, (1, 12, 5, 5)) == [4, 4, 12, 12]
    assert by_gradient(block, 12) == 12


class Halves(nn.Module):
    """One half through a layer, both concatenated."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        one, other = x.chunk(2, 1)
        return torch.cat([one, self.layer(other)], 1)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [(nn.Conv2d(4, 4, 1), 4), (nn.Conv2d(4, 4, 1, groups=2), 2), (nn.GroupNorm(2, 4), 2), (nn.ReLU(), 1)],
)
def test_a_split_sees_its_half(layer: nn.Module, expected: int) -> None:
    module = Halves(layer)
    assert seen(module, (1, 8, 5, 5))[-1] == expected == by_gradient(module, 8)


def test_where_channels_are_not_followed_nothing_is_said() -> None:
    assert seen(nn.Sequential(nn.Conv2d(4, 4, 1, groups=2), nn.Softmax(1)), (1, 4, 5, 5)) == [2, None]
    assert "channels" not in run("shapes", "attention").out
