"""Shapes: the rule with its numbers, strides and receptive fields against known values and against gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc.analyses import Shapes, analyze
from archcalc.analyses.shapes import ShapeStep, Walk
from tests.helpers import run


def steps(model: object, inputs: object = None) -> dict[str, ShapeStep]:
    """The last step of each path."""
    made = analyze(archcalc.trace(model, inputs), (Shapes(),))  # type: ignore[arg-type]
    return {step.path: step for step in made.record(Walk).steps}


@pytest.mark.parametrize(
    ("module", "shape", "why"),
    [
        (nn.Conv2d(3, 64, 7, 2, 3), (1, 3, 224, 224), "64 kernels, ⌊(224+2·3-7)/2⌋+1 = 112"),
        (nn.Conv2d(3, 8, 3, padding=2, dilation=2), (1, 3, 32, 32), "8 kernels, 32+2·2-2·(3-1)-1+1 = 32"),
        (nn.Conv2d(3, 8, (1, 3)), (1, 3, 9, 9), "8 kernels, 9-1+1 = 9, 9-3+1 = 7"),
        (nn.ConvTranspose2d(4, 2, 4, 2, 1), (1, 4, 7, 7), "2 kernels, (7-1)·2-2·1+1·(4-1)+1 = 14"),
        (nn.MaxPool2d(3, 2, ceil_mode=True), (1, 4, 112, 112), "⌈(112-3)/2⌉+1 = 56"),
        (nn.AvgPool2d(2), (1, 4, 8, 8), "⌊(8-2)/2⌋+1 = 4"),
        (nn.AdaptiveAvgPool2d(1), (1, 4, 7, 7), "adaptive: output 1x1"),
        (nn.AdaptiveAvgPool2d((2, 3)), (1, 4, 7, 7), "adaptive: output 2x3"),
        (nn.Linear(4, 9), (2, 4), "out_features = 9"),
        (nn.Flatten(), (1, 4, 3, 3), "4·3·3 = 36 elements"),
        (nn.ReLU(), (1, 4), "same shape"),
        (nn.Upsample(scale_factor=2), (1, 4, 3, 3), "3x3 to 6x6"),
    ],
)
def test_the_rule_is_printed_with_its_numbers(module: nn.Module, shape: tuple[int, ...], why: str) -> None:
    assert steps(nn.Sequential(module), shape)["0"].why == why


def test_concatenation_slices_and_padding() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = torch.cat([x, x, x], 1)
            x = x[:, :, ::2]
            return nn.functional.pad(x, (0, 0, 0, 0, 1, 2))

    made = analyze(archcalc.trace(Net(), (1, 2, 5, 5)), (Shapes(),))
    changing = [step.why for step in made.record(Walk).steps if step.changes]
    assert changing == ["2 + 2 + 2 = 6 along dim 1", "⌈5/2⌉ = 3 along dim 2", "6 + 1 + 2 = 9 along dim 1"]


# ResNet v1: Araujo, Norris, Sim (2019), "Computing Receptive Fields of Convolutional Neural Networks", Distill; the
# others by r = 1 + Σ (k-1)·j over the longest path.
FIELDS = {
    "resnet-18": (435, 32),
    "resnet-50-v1": (483, 32),
    "resnet-101-v1": (1027, 32),
    "resnet-152-v1": (1507, 32),
    "resnet-50": (
        35 + 8 + 3 * 16 + 16 + 5 * 32 + 32 + 2 * 64,
        32,
    ),  # v1.5 strides later: its 3x3 still see the finer grid
    "densenet-121": (2071, 32),
    "resnet-20": (3 + 6 * 2 + 2 + 5 * 4 + 4 + 5 * 8, 4),
}


@pytest.mark.parametrize("name", FIELDS)
def test_receptive_fields_of_known_networks(name: str) -> None:
    made = analyze(archcalc.trace(name), (Shapes(),))
    size, stride = FIELDS[name]
    assert made.totals["receptive_field"] == [size, size]
    assert made.totals["total_stride"] == [stride, stride]


class Inception(nn.Module):
    """Branches of 1x1, 3x3 and 5x5 over one input, and a pooled one."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.three = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 3, padding=1)
        self.five, self.pool = nn.Conv2d(1, 1, 5, padding=2), nn.AvgPool2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


class Residual(nn.Module):
    """A dilated branch beside a strided shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 2, 3, 2, 2, dilation=2), nn.Conv2d(2, 2, (1, 3), padding=(0, 1))
        self.shortcut = nn.Conv2d(1, 2, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.a(x)) + self.shortcut(x)


class Decoder(nn.Module):
    """Down, up by a transposed convolution, and a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(1, 2, 3, 2, 1), nn.ConvTranspose2d(2, 1, 4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x)) + x


@pytest.mark.parametrize("net", [Inception(), Residual(), Decoder(), nn.Sequential(Inception(), nn.Conv2d(4, 1, 3, 2))])
def test_receptive_fields_are_where_gradients_reach(net: nn.Module) -> None:
    """The pixels that a middle output depends on, by autograd with weights of one: a box as large as the field."""
    for parameter in net.parameters():
        nn.init.ones_(parameter)
    x = torch.zeros(1, 1, 40, 40, requires_grad=True)
    out = net(x)
    reach = [0, 0]
    for dy in range(2):  # the extent of a transposed convolution depends on the phase of the output
        for dx in range(2):
            (gradient,) = torch.autograd.grad(
                out[0, :, out.shape[2] // 2 + dy, out.shape[3] // 2 + dx].sum(), x, retain_graph=True
            )
            rows, columns = gradient[0, 0].nonzero(as_tuple=True)
            extents = int(rows.max() - rows.min()) + 1, int(columns.max() - columns.min()) + 1
            reach = [max(a, b) for a, b in zip(reach, extents, strict=True)]
    made = analyze(archcalc.trace(net, (1, 1, 40, 40)), (Shapes(),))
    assert made.totals["receptive_field"] == reach


def test_global_pooling_sees_everything() -> None:
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return x * x.mean((2, 3), keepdim=True)

    made = analyze(archcalc.trace(Gate(), (1, 1, 9, 9)), (Shapes(),))
    assert [step.field for step in made.record(Walk).steps] == [(3, 3), (None, None), (None, None)]


def test_a_gate_sees_everything_and_so_does_what_it_scales() -> None:
    """Squeeze and excitation: global pooling, flattened, through linears, back onto the map."""
    made = analyze(archcalc.trace("se-resnet-50"), (Shapes(),))
    by_path = {(step.path, step.type): step.field for step in made.record(Walk).steps}
    assert by_path["maxpool", "MaxPool2d"] == (11, 11)
    assert by_path["layer1.0.se.fc2", "Linear"] == (None,)
    assert by_path["layer1.0.se", "mul"] == (None, None)
    assert made.totals["receptive_field"] == [None, None]


def test_pooling_without_keeping_the_dimensions_sees_everything() -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean((2, 3))

    made = analyze(archcalc.trace(Net(), (1, 2, 5, 5)), (Shapes(),))
    assert made.record(Walk).steps[0].field == (None,)


class Masked(nn.Module):
    """A convolution over an image whose pixels a mask hides; `slides` also slides the window over the mask."""

    def __init__(self, slides: bool) -> None:
        super().__init__()
        self.conv, self.slides = nn.Conv2d(3, 4, 3), slides

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        y = self.conv(x.masked_fill(mask, 0.0))
        return y * nn.functional.max_pool2d(mask.to(x.dtype), 3, 1) if self.slides else y


@pytest.mark.parametrize(
    ("model", "inputs", "field"),
    [
        ("attention", None, []),  # queries, keys and values have rank 4, and so has the mask
        ("encoder-layer", None, []),
        ("gpt2", None, []),
        (nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), (1, 3, 4, 4), []),
        (nn.ReLU(), (1, 3, 4, 4), [1, 1]),
        (nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)), (1, 3, 8, 8), [3, 3]),
        ("se-block", None, [None, None]),  # its matrices read an average over the map
        (Masked(False), ["1x3x8x8", "bool:1x1x8x8"], [3, 3]),
        (Masked(True), ["1x3x8x8", "bool:1x1x8x8"], [3, 3]),
    ],
)
def test_only_maps_have_a_receptive_field(model: Any, inputs: Any, field: list[int | None]) -> None:
    made = analyze(archcalc.trace(model, inputs), (Shapes(),))
    assert made.totals["receptive_field"] == field
    assert bool(field) == any(step.field for step in made.record(Walk).steps)


def test_a_page_without_maps_has_no_columns_for_them() -> None:
    assert "field" not in run("shapes", "attention").out
    assert "receptive field 435 px" in run("shapes", "resnet-18").out


@pytest.mark.parametrize(
    ("forward", "shape", "why"),
    [
        (lambda x: x.view(2, 3, 4), (1, 2, 3, 4), "1 dim of size 1 dropped"),
        (lambda x: x.view(1, 1, 2, 3), (2, 3), "2 dims of size 1 added"),
        (lambda x: x.view(2, 12), (2, 3, 4), "3·4 = 12 elements"),
        (lambda x: x.split(5, 1)[0], (2, 5), "same shape"),
        (lambda x: x.split(2, 1)[0], (2, 5), "5 = 2 + 2 + 1 along dim 1"),
    ],
)
def test_rules_say_something(forward: Callable[[Tensor], Tensor], shape: tuple[int, ...], why: str) -> None:
    class Net(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return forward(x)

    (step,) = analyze(archcalc.trace(Net(), shape), (Shapes(),)).record(Walk).steps
    assert step.why == why


def test_tokens_have_no_receptive_field() -> None:
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    made = analyze(archcalc.trace(layer, (2, 10, 16)), (Shapes(),))
    assert made.totals["receptive_field"] == []
    assert not any(step.field for step in made.record(Walk).steps)


def test_only_changes_and_layers() -> None:
    every, changing = (
        run("shapes", "resnet-18", "-f", "csv").out,
        run("shapes", "resnet-18", "--only-changes", "-f", "csv").out,
    )
    assert len(every.splitlines()) == 1 + 69
    assert len(changing.splitlines()) == 1 + 11
    assert all(
        line.startswith("layer4")
        for line in run("shapes", "resnet-18", "--layer", "layer4", "-f", "csv").out.splitlines()[1:]
    )
