"""Every figure of the catalogue against what was published: to the last integer, to the printed digit, or explained."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from archcalc.networks.spec import Published
from tests.helpers import report
from tests.regenerate import all_networks

pytestmark = pytest.mark.usefixtures("shared_traces")
ANOTHER_NET = ("torchvision halves", "one bias a gate", "the widths of 2012", "another definition")
"""How the notes of exact figures begin that belong to another definition."""
FIGURES = Path(__file__).with_name("data") / "published.csv"
ROWS = list(csv.DictReader(FIGURES.read_text(encoding="utf-8").splitlines()))

WRN_SIZES = ((40, 1), (40, 2), (40, 4), (40, 8), (28, 10), (28, 12), (22, 8), (16, 10), (40, 10))
WRN_CIFAR = {f"WRN-{d}-{k} (CIFAR-10)": (d, k) for d, k in WRN_SIZES}
MEMBERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ResNet-18": ("resnet-18", {}),
    "ResNet-34": ("resnet-34", {}),
    "ResNet-50 (v1, stride in first 1x1)": ("resnet-50-v1", {"conv1_bias": True}),
    "ResNet-101 (v1, stride in first 1x1)": ("resnet-101-v1", {}),
    "ResNet-152 (v1, stride in first 1x1)": ("resnet-152-v1", {}),
    "ResNet-50 (v1.5, stride in 3x3)": ("resnet-50", {}),
    "ResNet-101 (v1.5, stride in 3x3)": ("resnet-101", {}),
    "ResNet-152 (v1.5, stride in 3x3)": ("resnet-152", {}),
    "ResNet-50 (ResNeXt paper)": ("resnet-50", {}),
    **{f"ResNet-{d} option A": (f"resnet-{d}", {}) for d in (20, 32, 44, 56, 110)},
    **{name: ("wrn", {"depth": d, "widen_factor": k}) for name, (d, k) in WRN_CIFAR.items()},
    "WRN-18-1.5 (ImageNet)": ("resnet-18", {"widen_factor": 1.5}),
    "WRN-18-2 (ImageNet)": ("resnet-18", {"widen_factor": 2}),
    "WRN-18-3 (ImageNet)": ("resnet-18", {"widen_factor": 3}),
    "WRN-34-2 (ImageNet)": ("resnet-34", {"widen_factor": 2}),
    "WRN-50-2-bottleneck": ("wrn-50-2", {}),
    "WRN-101-2-bottleneck": ("wrn-50-2", {"depth": 101}),
    "ResNeXt-50 32x4d": ("resnext-50-32x4d", {}),
    "ResNeXt-101 64x4d": ("resnext-101-64x4d", {}),
    "ResNeXt-101 32x8d": ("resnext-101-32x4d", {"width_per_group": 8}),
    "DenseNet-121": ("densenet-121", {}),
    "DenseNet-161": ("densenet-161", {}),
    "DenseNet-169": ("densenet-169", {}),
    "DenseNet-201": ("densenet-201", {}),
    "DenseNet-232 k=48 (6,12,48,48 inferred)": ("densenet-121", {"growth_rate": 48, "block_config": (6, 12, 48, 48)}),
    "DenseNet(L=40,k=12) C10": ("densenet-cifar", {}),
    "DenseNet(L=100,k=12) C10": ("densenet-cifar", {"depth": 100}),
    **{
        f"DenseNet-BC(L={d},k={k}) C10": ("densenet-bc-cifar", {"depth": d, "growth_rate": k})
        for d, k in ((100, 12), (250, 24), (40, 36), (40, 60))
    },
    **{f"L={d}": ("densenet-bc-cifar", {"depth": d}) for d in range(34, 500)},
    "0.5x (official code)": ("shufflenet-v2-0.5x", {}),
    "0.5x torchvision": ("shufflenet-v2-0.5x", {"classifier_bias": True}),
    "1.0x (official code)": ("shufflenet-v2-1.0x", {}),
    "2.0x (official code)": ("shufflenet-v2-2.0x", {}),
    "v2-50": ("shufflenet-v2-50", {}),
    "AlexNet (grouped, BVLC deploy)": ("alexnet-2012", {}),
    "AlexNet (as costed by ShuffleNet v1 T6/T8)": ("alexnet-2012", {}),
    "torchvision alexnet (One weird trick)": ("alexnet", {}),
    **{f"VGG-{d} ({c})": (f"vgg-{d}", {}) for d, c in ((11, "A"), (13, "B"), (16, "D"), (19, "E"))},
    "VGG-16 cost, ResNet paper": ("vgg-16", {}),
    "VGG-16-BN": ("vgg-16", {"batch_norm": True}),
    "SE-ResNet-50": ("se-resnet-50", {}),
    "SE-ResNet-101": ("se-resnet-101", {}),
    "SE-ResNeXt-50 32x4d": ("se-resnext-50-32x4d", {}),
    "ResNet-50 re-impl": ("resnet-50-v1", {"conv1_bias": True}),
    "ResNet-101 re-impl": ("resnet-101-v1", {}),
    "ResNet-152 re-impl": ("resnet-152-v1", {}),
    "ResNeXt-50 re-impl": ("resnext-50-32x4d", {}),
    "ResNeXt-101 re-impl": ("resnext-101-32x4d", {}),
    **{f"SE-ResNet-50 r={r}, no FC bias": ("se-resnet-50", {"reduction": r, "fc_bias": False}) for r in (2, 4, 16, 32)},
    "NoSqueeze ResNet-50": ("se-resnet-50", {"fc_bias": False}),
    **{f"1x g={g}": (f"shufflenet-v1-1.0x-g{g}", {"classifier_bias": True}) for g in (1, 2, 3, 4, 8)},
    **{f"{w}x g={g} (official code)": (f"shufflenet-v1-{w}x-g{g}", {}) for w in (0.5, 1.0, 2.0) for g in (3, 8)},
    "1x g=3 (SENet paper)": ("shufflenet-v1-1.0x-g3", {"classifier_bias": True}),
    "Elman I=64 H=128, torch (2 biases)": ("rnn", {}),
    "LSTM I=64 H=128, torch (2 biases)": ("lstm", {}),
    "GRU, torch (2 biases)": ("gru", {}),
    "GRU, Keras reset_after=True (2 biases)": ("gru", {}),
    "LSTM torch 2 layers": ("lstm", {"num_layers": 2}),
    "LSTM torch bidirectional": ("lstm", {"bidirectional": True}),
    "Zaremba PTB small LSTM, H=200, 2 layers, V=10000": ("lstm-ptb-small", {}),
    "Zaremba PTB large LSTM, H=1500, 2 layers, V=10000": ("lstm-ptb-large", {}),
    "base": ("transformer-base", {}),
    "(B) d_k=16": ("transformer-base", {"d_k": 16}),
    "(B) d_k=32": ("transformer-base", {"d_k": 32}),
    "(C) N=2": ("transformer-base", {"layers": 2}),
    "(C) N=4": ("transformer-base", {"layers": 4}),
    "(C) d_model=256": ("transformer-base", {"d_model": 256}),
    "(C) d_model=1024": ("transformer-base", {"d_model": 1024}),
    "(C) d_ff=1024": ("transformer-base", {"d_ff": 1024}),
    "big": ("transformer-big", {}),
    "BERT-base uncased": ("bert-base", {}),
    "BERT-large uncased": ("bert-large", {}),
    "small": ("gpt2", {}),
    "medium": ("gpt2-medium", {}),
    "xl": ("gpt2-xl", {}),
}
MEMBERS |= {
    "GoogLeNet, Table 1 column sums": ("googlenet", {}),
    "BN-Inception (v2, Ioffe&Szegedy)": ("inception-v2", {}),
    "SE-BN-Inception": ("se-inception-v2", {}),
    "Inception-v3": ("inception-v3", {}),
    "Inception-v3 + aux": ("inception-v3", {"aux_heads": True}),
    "Inception-ResNet-v2": ("inception-resnet-v2", {}),
    "Inception-ResNet-v2 (SENet re-implementation)": ("inception-resnet-v2", {}),
    "Xception": ("xception", {}),
}
ELSEWHERE = {
    "GoogLeNet torchvision, no aux": "another net: 3x3 in place of 5x5, BN in place of biases",
    "GoogLeNet torchvision, with aux": "another net: 3x3 in place of 5x5, BN in place of biases",
    "Inception-v3 (Xception paper Table 3)": "BN without scale: test_inception_v3_without_bn_scale",
    "SE-Inception-ResNet-v2": "no integers are published",
    "WRN-40-1 (CIFAR-10)": "test_wrn_40_1_has_no_projection_where_the_shape_stays",
    "1x1 share of MACs in an identity residual unit, C=32": "a share: test_the_share_of_1x1_convolutions",
    "1.0x torchvision": "another unit, explained in the definition",
    "2.0x torchvision": "another unit, explained in the definition",
    "v1-50 g=3": "no widths are published",
    "SE-ShuffleNet v2-164 (ShuffleNetV2.Large)": "not of the catalogue",
    "2x with SE": "no integers are published",
    "ungrouped original widths": "not of the catalogue; named in alexnet's figures",
    "SE-VGG-16": "no integers are published",
    **{f"SE in stage {s} only": "test_se_in_one_stage" for s in (2, 3, 4)},
    "SE 3x3 variant (SE-ResNet-50)": "not of the catalogue",
    "SE-MobileNet (1.0-224)": "no integers are published",
    "SE-ShuffleNet 1x g=3": "no integers are published",
    "0.25x (any g)": "no integers are published",
    "0.5x g=4 (576 ch in stage 4)": "widths of its own, which the paper does not give",
    "0.5x shallow g=3 (26 layers)": "no widths are published",
    "2x g=3 with SE": "no integers are published",
    "0.5x vs AlexNet, Snapdragon 820, 224": "a speed",
    "Elman, Keras SimpleRNN (1 bias)": "one bias a gate, explained in the definition",
    "LSTM, Keras (1 bias)": "one bias a gate, explained in the definition",
    "GRU, Keras reset_after=False (1 bias)": "one bias a gate, explained in the definition",
    "GNMT (8+8 layers, 1024)": "not of the catalogue",
    "base training cost": "a time on hardware",
    "big training cost": "a time on hardware",
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["variant"])
def test_exact_integers_of_reference_implementations(row: dict[str, str]) -> None:
    """Parameters and MACs equal the integers of independent implementations."""
    if row["variant"] in ELSEWHERE:
        pytest.skip(ELSEWHERE[row["variant"]])
    name, knobs = MEMBERS[row["variant"]]
    shorthand = {"size": (int(row["input"]),) * 2} if row["input"].isdigit() else {}
    made = report(name, knobs=knobs, **shorthand)
    if row["params_exact"]:
        assert made.params == int(row["params_exact"])
    if row["macs_exact"]:
        assert made.macs == int(row["macs_exact"])


@pytest.mark.parametrize("name", all_networks())
def test_published_figures_round_or_are_explained(name: str) -> None:
    """A printed figure that ours does not round to has its reason written beside it."""
    network = all_networks()[name]
    totals: dict[tuple[Any, ...], Mapping[str, int]] = {}
    for published in network.published:
        knobs = tuple(published.knobs.items())
        if knobs not in totals:
            totals[knobs] = report(name, knobs=dict(knobs)).totals
        ours = totals[knobs][published.figure]
        assert published.agrees(ours) or published.note, (
            f"{name}: {published.printed} is not {ours} and nobody says why"
        )
        if "," in published.printed and not published.note.startswith(ANOTHER_NET):
            assert published.agrees(ours), f"{name}: an exact figure is missed: {published.printed} is not {ours}"


def test_the_share_of_1x1_convolutions() -> None:
    """ResNeXt, 93.4 % (ShuffleNet v1 paper, section 1): exact for an identity unit, more with projections."""
    unit = report("resnext-50-32x4d").layers["layer1.1"]
    pointwise = sum(unit_child.macs for unit_child in unit.children if unit_child.path[-5:] in ("conv1", "conv3"))
    c, m = 256, 128  # c = 2m: 2cm of c·m·2 + 9m²/32
    assert pointwise / unit.macs == pytest.approx(2 * c * m / (2 * c * m + 9 * m * m / 32))
    assert round(100 * pointwise / unit.macs, 1) == 93.4


def test_resnext_101_64x4d_at_320() -> None:
    """EfficientNet's table gives 32B at 320 x 320."""
    made = report("resnext-101-64x4d", size=(320, 320))
    assert made.macs == 31_549_440_000
    assert Published("macs", "32B", "").agrees(made.macs)


def test_option_b_projects_and_option_a_does_not() -> None:
    """272,474 - 269,722 = 16·32 + 2·32 + 32·64 + 2·64: two projections with their BN."""
    a, b = report("resnet-20"), report("resnet-20", knobs={"shortcut": "B"})
    assert b.params - a.params == 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64


def test_wrn_40_1_has_no_projection_where_the_shape_stays() -> None:
    """The quoted 564,186 has a 1x1 convolution of 16·16 in the first stage, where 16 channels stay 16.

    The authors' models/wide-resnet.lua and pytorch/resnet.py both put the identity there.
    """
    assert report("wrn", knobs={"depth": 40, "widen_factor": 1}).params == 564_186 - 16 * 16


@pytest.mark.parametrize(("stage", "expected"), [(1, 25_581_608), (2, 25_688_104), (3, 26_343_464)])
def test_se_in_one_stage(stage: int, expected: int) -> None:
    """SENet, Table 13: ResNet-50 and the SE blocks of one stage, by 2C²/r for each block."""
    made = report("se-resnet-50", knobs={"fc_bias": False})
    blocks = made.layers[f"layer{stage}"].children
    gates = sum(made.layers[f"{block.path}.se"].params for block in blocks)
    assert report("resnet-50").params + gates == expected


def test_inception_v3_without_bn_scale() -> None:
    """Keras drops the scale of BN: 23,817,352 are ours less one parameter a channel."""
    made = report("inception-v3")
    scales = sum(layer.own["params"] // 2 for layer in made.root.walk() if layer.type == "BatchNorm2d")
    assert made.params - scales == 23_817_352


def test_both_stride_placements_have_the_same_parameters() -> None:
    assert report("resnet-50").params == report("resnet-50-v1").params == 25_557_032
