"""`--convention`: the habit of another tool gives that tool's own number, on convolutional networks."""

from __future__ import annotations

import warnings
from math import prod
from typing import Any

import pytest
import torch
from torch import nn

import archcalc
from archcalc.analyses import Flops, analyze
from archcalc.analyses.conventions import CONVENTIONS
from bench.models import torchvision_ops
from tests.helpers import run, totals
from tests.regenerate import all_networks

pytestmark = pytest.mark.usefixtures("shared_traces")

NAMES = ["resnet-18", "resnet-20", "shufflenet-v2-0.5x", "se-resnet-50", "densenet-121", "alexnet"]
MORE = ["inception-v3", "vgg-11", "xception", "resnext-50-32x4d"]


def built(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    network = all_networks()[name]
    return network.build(**network.config).eval(), network.inputs_for(network.config)[0].shape


def ours(name: str, convention: str) -> int:
    return analyze(archcalc.trace(name), (Flops(convention),)).macs


@pytest.mark.parametrize("name", [*NAMES, "googlenet"])
def test_fvcore(name: str) -> None:
    """The tool follows a jit trace of a real run."""
    module, shape = built(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(module, (torch.zeros(shape),))
        assert ours(name, "fvcore") == analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, *MORE, "googlenet"])
@pytest.mark.filterwarnings("ignore")
def test_thop(name: str) -> None:
    thop = pytest.importorskip("thop")
    module, shape = built(name)
    assert ours(name, "thop") == int(thop.profile(module, (torch.zeros(shape),), verbose=False)[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", [*NAMES, *MORE, "googlenet"])
@pytest.mark.filterwarnings("ignore")
def test_ptflops(name: str) -> None:
    torchvision_ops()
    ptflops = pytest.importorskip("ptflops")
    module, shape = built(name)
    settings = {"as_strings": False, "print_per_layer_stat": False}
    theirs = int(ptflops.get_model_complexity_info(module, shape[1:], **settings)[0])
    assert theirs - ours(name, "ptflops") == (_response_norms() if name == "googlenet" else 0)


def _response_norms() -> int:
    """What ptflops counts inside GoogLeNet's two response norms: functions, which the habit does not imitate.

    The square, a pool over 5 channels with 4 of padding, a product and a sum.
    """
    shapes = ((64, 56, 56), (192, 56, 56))
    return sum(3 * prod(shape) + (shape[0] + 4) * prod(shape[1:]) for shape in shapes)


def test_torch_leaves_out_what_it_has_no_formula_for() -> None:
    class Products(nn.Module):
        def forward(self, a: Any, b: Any) -> Any:
            return a @ b, a @ b[:, 0]

    trace = archcalc.trace(Products(), [(3, 4), (4, 5)])
    assert analyze(trace, (Flops(),)).macs == 3 * 4 * 5 + 3 * 4
    assert analyze(trace, (Flops("torch"),)).macs == 3 * 4 * 5


def test_the_answer_says_whose_habit_it_is() -> None:
    for name in (name for name, convention in CONVENTIONS.items() if not convention.of_masks):
        assert f"convention: {CONVENTIONS[name].words}" in run("flops", "resnet-20", "--convention", name, "-v").out
    assert totals("flops", "resnet-18", "--convention", "fvcore")["macs"] == 1_819_065_856
    wrong = run("flops", "resnet-20", "--convention", "fvcor")
    assert wrong.code == 2
    assert "fvcore" in wrong.err
