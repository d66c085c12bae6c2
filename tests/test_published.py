"""Every figure of the catalogue against what was published: to the last integer, to the printed digit, or explained."""

import csv
from pathlib import Path
from typing import Any

import pytest

from archcalc.networks.network import Published
from tests.helpers import report
from tests.regenerate import all_networks

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
}
ELSEWHERE = {
    "WRN-40-1 (CIFAR-10)": "test_wrn_40_1_has_no_projection_where_the_shape_stays",
    "1x1 share of MACs in an identity residual unit, C=32": "a share: test_the_share_of_1x1_convolutions",
    "1.0x torchvision": "another unit, explained in the definition",
    "2.0x torchvision": "another unit, explained in the definition",
    "v1-50 g=3": "of ShuffleNet v1",
    "SE-ShuffleNet v2-164 (ShuffleNetV2.Large)": "squeeze and excitation",
    "2x with SE": "squeeze and excitation",
}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["variant"])
def test_exact_integers_of_reference_implementations(row: dict[str, str]) -> None:
    """Parameters and MACs equal the integers of independent implementations."""
    if row["variant"] in ELSEWHERE:
        pytest.skip(ELSEWHERE[row["variant"]])
    name, knobs = MEMBERS[row["variant"]]
    size = int(row["input"]) if row["input"].isdigit() else 224
    made = report(name, knobs=knobs, size=(size, size))
    if row["params_exact"]:
        assert made.params == int(row["params_exact"])
    if row["macs_exact"]:
        assert made.macs == int(row["macs_exact"])


@pytest.mark.parametrize("name", all_networks())
def test_published_figures_round_or_are_explained(name: str) -> None:
    """A printed figure that ours does not round to has its reason written beside it."""
    network = all_networks()[name]
    for published in network.published:
        made = report(name, knobs=dict(published.knobs))
        ours = made.totals[published.figure]
        assert published.agrees(ours) or published.note, (
            f"{name}: {published.printed} is not {ours} and nobody says why"
        )
        if "," in published.printed and not published.note.startswith("torchvision halves"):
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


def test_both_stride_placements_have_the_same_parameters() -> None:
    assert report("resnet-50").params == report("resnet-50-v1").params == 25_557_032
