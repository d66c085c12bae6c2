"""The blocks cost what their papers say, in closed form."""

from typing import Any

import pytest

from tests.helpers import report, run

H = W = 56
CASES: list[tuple[str, dict[str, Any], int, int]] = [
    # name, knobs, parameters, MACs
    ("conv", {}, 64 * 64 * 9, 64 * 64 * 9 * H * W),
    ("conv", {"groups": 64}, 64 * 9, 64 * 9 * H * W),
    ("conv", {"kernel": 1, "out_channels": 16, "bias": True}, 64 * 16 + 16, 64 * 16 * H * W),
    ("conv", {"stride": 2}, 64 * 64 * 9, 64 * 64 * 9 * 28 * 28),
    ("separable-conv", {}, 64 * 9 + 64 * 64, (64 * 9 + 64 * 64) * H * W),
    ("low-rank-conv", {}, 2 * 64 * 64 * 3, 2 * 64 * 64 * 3 * H * W),
    ("batch-norm", {}, 2 * 64, 0),
    ("layer-norm", {}, 2 * 512, 0),
    ("se-block", {"channels": 256, "reduction": 16}, 2 * 256 * 256 // 16, 2 * 256 * 256 // 16),
    ("se-block", {"fc_bias": True}, 2 * 256 * 16 + 256 + 16, 2 * 256 * 16),
    ("residual-block", {}, 2 * (64 * 64 * 9 + 128), 2 * 64 * 64 * 9 * H * W),
    ("bottleneck-block", {}, 2 * 256 * 64 + 64 * 64 * 9 + 4 * 64 + 512, (2 * 256 * 64 + 64 * 64 * 9) * H * W),
    ("channel-shuffle", {}, 0, 0),
    ("attention", {"n": 10, "m": 20, "d_v": 32}, 0, 8 * 10 * 20 * (64 + 32)),
    ("multi-head-attention", {}, 4 * 512 * 512, 4 * 128 * 512 * 512 + 2 * 128 * 128 * 512),
    ("rnn-cell", {}, 128 * (64 + 128 + 2), 128 * (64 + 128)),
    ("lstm-cell", {}, 4 * 128 * (64 + 128 + 2), 4 * 128 * (64 + 128)),
    ("dense-layer", {"bottleneck": False}, 2 * 64 + 64 * 32 * 9, 64 * 32 * 9 * H * W),
    ("residual-block", {"shortcut": "none"}, 2 * (64 * 64 * 9 + 128), 2 * 64 * 64 * 9 * H * W),
    # L = 8 groups of M = 8 channels 3x3, then M groups of L channels 1x1: C(9M + L)
    ("interleaved-conv", {}, 64 * (9 * 8 + 8), 64 * (9 * 8 + 8) * H * W),
    ("conv-stack", {"layers": 3}, 3 * 64 * 64 * 9, 3 * 64 * 64 * 9 * H * W),
    ("dilated-conv-stack", {"layers": 3, "kernel": 5}, 3 * 64 * 64 * 25, 3 * 64 * 64 * 25 * H * W),
    ("transition", {}, 2 * 256 + 256 * 128, 256 * 128 * H * W),
]


@pytest.mark.parametrize(("name", "knobs", "params", "macs"), CASES)
def test_a_block_in_closed_form(name: str, knobs: dict[str, Any], params: int, macs: int) -> None:
    made = report(name, knobs=knobs)
    assert (made.params, made.macs) == (params, macs)


@pytest.mark.parametrize(
    ("block", "field"), [("conv-stack", 1 + 4 * 2), ("dilated-conv-stack", 1 + 2 * (1 + 2 + 4 + 8))]
)
def test_stacks_see_linearly_or_exponentially(block: str, field: int) -> None:
    """Contiguous kernels: 1 + L(k - 1); dilated by 2^l: 1 + (k - 1)(2^L - 1)."""
    assert f"receptive field {field} px" in run("shapes", block).out


def test_a_plain_net_is_the_residual_net_without_its_projections() -> None:
    """Three projections of 64·128, 128·256 and 256·512 weights at 28, 14 and 7 px, and BN's two a channel."""
    residual, plain = report("resnet-34"), report("plain-34")
    weights = [64 * 128, 128 * 256, 256 * 512]
    assert residual.params - plain.params == sum(weights) + 2 * (128 + 256 + 512) == 173_824
    assert residual.macs - plain.macs == sum(w * s * s for w, s in zip(weights, (28, 14, 7), strict=True))
    same, none = (report("cifar-resnet", knobs={"shortcut": option}) for option in ("A", "none"))
    assert (same.params, same.macs) == (none.params, none.macs)


@pytest.mark.parametrize("L", [1, 4, 9])
def test_a_dense_block_is_quadratic_in_its_layers(L: int) -> None:
    """Plain layers with k0 = k: the 3x3 weights are 9k² · L(L+1)/2."""
    k = 12
    made = report("dense-block", knobs={"layers": L, "in_channels": k, "growth_rate": k, "bottleneck": False})
    convolutions = sum(layer.params for layer in made.root.walk() if layer.type == "Conv2d")
    assert convolutions == 9 * k * k * L * (L + 1) // 2


@pytest.mark.parametrize("groups", [1, 2, 3, 4])
def test_the_shuffle_unit_of_section_3_2(groups: int) -> None:
    """ShuffleNet v1: hw(2cm/g + 9m) with c channels and m in the bottleneck."""
    c = 240
    m = c // 4
    made = report("shuffle-unit-v1", knobs={"groups": groups}, size=(28, 28))
    assert made.macs == 28 * 28 * (2 * c * m // groups + 9 * m)


def test_stride_two_units_halve_the_map() -> None:
    v1 = report("shuffle-unit-v1", knobs={"stride": 2, "out_channels": 480})
    v2 = report("shuffle-unit-v2", knobs={"stride": 2, "out_channels": 232})
    assert v1.output_shape == (1, 480, 14, 14)
    assert v2.output_shape == (1, 232, 14, 14)


@pytest.mark.parametrize(
    "settings",
    ["se-block reduction=7", "conv groups=5", "multi-head-attention heads=7", "shuffle-unit-v2 out_channels=232",
     "shuffle-unit-v1 groups=8", "channel-shuffle groups=7", "bottleneck-block version=2"],
)  # fmt: skip
def test_what_cannot_be_built_is_refused(settings: str) -> None:
    name, setting = settings.split()
    ran = run("params", name, "--set", setting)
    assert ran.code == 2
    assert ran.err.startswith("error: ")
