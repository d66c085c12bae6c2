"""What `explain` says: every formula gives the figure that was counted, for every layer of the catalogue."""

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from archcalc.analyses.explain import lines as explain
from archcalc.analyses.explain.formula_templates import value
from archcalc.analyses.explain.layer_kinds import BY_TYPE, KINDS
from archcalc.networks import catalogue
from tests.helpers import report, run

pytestmark = pytest.mark.usefixtures("shared_traces")

MEMBERS = [
    *"alexnet-2012 vgg-11 googlenet inception-v3 inception-resnet-v2 xception resnet-18 resnext-50-32x4d".split(),
    *"se-resnet-18 senet-154 densenet-121 shufflenet-v1 shufflenet-v2 gru lstm lstm-ptb-small".split(),
    *"transformer bert-base gpt2".split(),
    *(entry.name for entry in catalogue.matching("blocks")[0].members),
]


@pytest.mark.parametrize("name", MEMBERS)
def test_every_layer_that_has_a_kind_is_explained_by_its_formula(name: str) -> None:
    made = report(name)
    explained = 0
    for layer in made.root.walk():
        if layer.type in BY_TYPE and layer.calls and not (layer.children and layer.type == "LSTMCell"):
            assert explain.kind_of(made, layer) is not None, (layer.path, layer.type)
            explained += 1
            for line in explain.lines(made, layer):
                if isinstance(line.value, int) and "output" not in line.figure:
                    assert value(line.numbers) == line.value, (layer.path, line)
    assert explained or name == "dense-block"


@pytest.mark.parametrize("name", MEMBERS)
def test_the_parts_of_a_network_add_up_to_it(name: str) -> None:
    made = report(name)
    parts = explain.parts(made, made.root)
    assert sum(part.params for part in parts) == made.params
    assert sum(part.macs for part in parts) == made.macs


TORCH = [
    ("conv1d", nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2), (2, 4, 11)),
    ("conv2d", nn.Conv2d(4, 6, (3, 5), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), (2, 4, 11, 17)),
    ("conv3d", nn.Conv3d(4, 6, 3, bias=False), (2, 4, 5, 6, 7)),
    ("conv-transpose2d", nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1, groups=2), (2, 4, 5, 6)),
    ("linear", nn.Linear(4, 6), (2, 3, 4)),
    ("batch-norm", nn.BatchNorm1d(4), (2, 4)),
    ("batch-norm", nn.BatchNorm2d(4, affine=False), (2, 4, 3, 3)),
    ("layer-norm", nn.LayerNorm((3, 4)), (2, 3, 4)),
    ("layer-norm", nn.LayerNorm(4, bias=False), (2, 3, 4)),
    ("layer-norm", nn.LayerNorm(4, elementwise_affine=False), (2, 3, 4)),
    ("group-norm", nn.GroupNorm(2, 4), (2, 4, 3, 3)),
    ("group-norm", nn.GroupNorm(2, 4, affine=False), (2, 4, 5)),
    ("batch-norm", nn.BatchNorm3d(4, track_running_stats=False), (2, 4, 2, 3, 3)),
    ("max-pool2d", nn.MaxPool2d(3, 2, ceil_mode=True), (1, 2, 10, 12)),
    ("avg-pool2d", nn.AvgPool2d((2, 3), padding=(1, 0)), (1, 2, 10, 12)),
    ("global-avg-pool", nn.AdaptiveAvgPool2d(1), (1, 2, 10, 12)),
    ("activation", nn.GELU(), (2, 3)),
    ("softmax", nn.Softmax(-1), (2, 3)),
    ("lstm", nn.LSTM(4, 6), (5, 2, 4)),
    ("gru", nn.GRU(4, 6, batch_first=True, bias=False), (2, 5, 4)),
    ("rnn", nn.RNN(4, 6), (5, 2, 4)),
    ("lstm-cell", nn.LSTMCell(4, 6), (2, 4)),
    ("gru-cell", nn.GRUCell(4, 6, bias=False), (2, 4)),
    ("rnn-cell", nn.RNNCell(4, 6), (2, 4)),
]


@pytest.mark.parametrize("mode", ["eval", "train"])
@pytest.mark.parametrize(("kind", "module", "shape"), TORCH, ids=[f"{k}-{n}" for n, (k, _, _) in enumerate(TORCH)])
def test_torch_layers_have_kinds(kind: str, module: nn.Module, shape: tuple[int, ...], mode: str) -> None:
    made = report(module, shape, mode=mode)
    found = explain.kind_of(made, made.root)
    assert found is not None
    assert found.name == kind
    figures = {line.figure for line in explain.lines(made, made.root)}
    offered = {figure for figure, _ in found.formulas}
    assert ("elementwise" in figures) == ("elementwise" in offered and made.totals["elementwise_flops"] > 0)


@pytest.mark.parametrize(
    ("module", "shape", "mode", "figures"),
    [
        # 2·4 parameters; 2·4 + 1 buffers; 2·4·3·3 = 72 elements, 2 or 5 operations each, and a counter
        (nn.BatchNorm2d(4), (2, 4, 3, 3), "eval", {"params": 8, "buffers": 9, "elementwise": 144}),
        (nn.BatchNorm2d(4), (2, 4, 3, 3), "train", {"params": 8, "buffers": 9, "elementwise": 361}),
        (nn.GroupNorm(2, 4), (2, 4, 3, 3), "train", {"params": 8, "elementwise": 360}),
        # no formula of their own: parameters by name, 5·3·4 + 5, and every op
        (nn.Bilinear(3, 4, 5), [(2, 3), (2, 4)], "train", {"params": 65, "_trilinear, MACs": 120, "add": 10}),
        (nn.PReLU(4), (2, 4, 3), "eval", {"params": 4, "_prelu_kernel": 24}),
        (
            nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
            (2, 4, 3, 3),
            "train",
            {"params": 8, "buffers": 9},
        ),
    ],
)
def test_what_every_layer_has_is_said_in_both_modes(
    module: nn.Module, shape: Any, mode: str, figures: dict[str, int]
) -> None:
    made = report(module, shape, mode=mode)
    told = {line.figure: line.value for line in explain.lines(made, made.root)}
    assert {figure: told.get(figure) for figure in figures} == figures


def test_work_that_a_kind_does_not_know_leaves_its_other_formulas() -> None:
    """A convolution that also squares its output: the formulas stay, and elementwise work is told op by op."""

    class Conv2d(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).square()

    made = report(Conv2d(3, 4, 3), (1, 3, 5, 5))
    told = {line.figure: line.value for line in explain.lines(made, made.root)}
    # 4·3·3·3 + 4 parameters; 3x3 places · 4 · 27 MACs; 36 biases and 36 squares
    assert (told["params"], told["MACs"], told["H', W'"], told["pow"]) == (112, 972, 3, 36)
    assert "elementwise" not in told


def test_torch_attention_has_the_formula_of_the_definition() -> None:
    made = report(nn.MultiheadAttention(16, 4, batch_first=True), [torch.empty(2, 3, 16), *[torch.empty(2, 5, 16)] * 2])
    lines = {line.figure: line.value for line in explain.lines(made, made.root)}
    assert lines["MACs"] == 2 * (2 * 3 * 16 * 16 + 2 * 5 * 16 * 16) + 2 * 4 * 3 * 5 * (4 + 4)
    assert lines["params"] == 4 * 16 * 16 + 4 * 16


def test_a_formula_that_does_not_hold_is_not_shown() -> None:
    """Two stacked layers are not the kind's one layer; reflecting padding is an op of its own."""
    made = report(nn.LSTM(4, 6, num_layers=2), (5, 2, 4))
    assert explain.kind_of(made, made.root) is None
    assert sum(int(line.value) for line in explain.lines(made, made.root) if "MACs" in line.figure) == made.macs


def test_each_kind_is_shown_in_letters() -> None:
    for kind in KINDS:
        for line in explain.letters(kind):
            assert line.letters
        assert explain.kind_named(kind.name) is kind


def test_a_kind_without_a_network_needs_no_torch_and_a_block_is_a_network() -> None:
    assert "Cout · Cin/groups · kh · kw" in run("explain", "Conv2d").out
    assert "= 2 · 256²/16" in run("explain", "se-block").out


def test_the_documented_layer() -> None:
    """ResNet-18, layer2: 128 · 64 · 3 · 3 = 73,728 parameters and 128 · 28 · 28 · 64 · 3 · 3 = 57,802,752 MACs."""
    rows = json.loads(run("explain", "resnet-18", "layer2.0.conv1", "--json").out)["rows"]
    assert {row["figure"]: row["value"] for row in rows} == {
        "output": "1x128x28x28", "H', W'": 28, "params": 73_728, "MACs": 57_802_752, "output bytes": 401_408,
    }  # fmt: skip


def test_a_layer_that_is_not_there_is_named_with_its_neighbours() -> None:
    ran = run("explain", "resnet-18", "layer2.0.conv9")
    assert ran.code == 2
    assert "layer2.0.conv1" in ran.err


@pytest.mark.parametrize(
    ("typed", "pairs"),
    [
        ("batch-norm --mode train --batch 8", 64),  # C
        ("batch-norm --batch 8", 64),
        ("layer-norm --batch 8", 8 * 128),  # B·n
        ("layer-norm --mode train --seq-len 10", 10),
        ("torch.nn:GroupNorm(3,6) -i 2x6x4x4", 2 * 3),  # N·G
    ],
)
def test_norms_say_how_many_statistics_they_have(typed: str, pairs: int) -> None:
    rows = json.loads(run("explain", *typed.split(), "--json").out)["rows"]
    assert {row["figure"]: row["value"] for row in rows}["statistics"] == pairs
