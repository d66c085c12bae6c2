"""Reference implementations give the same numbers: torchvision's nets with the same weights on CPU.

Equal counts can hide a wrong wire. Slow, and skipped where torchvision is not installed: `pytest -m slow`.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from bench.models import torchvision_ops
from tests.regenerate import all_networks

pytestmark = pytest.mark.slow
PAIRS: list[tuple[str, str, dict[str, Any], dict[str, Any], int]] = [
    # ours, torchvision's, our knobs, their arguments, image size
    ("resnet-18", "resnet18", {}, {}, 64),
    ("resnet-50", "resnet50", {}, {}, 64),
    ("resnext-50-32x4d", "resnext50_32x4d", {}, {}, 64),
    ("wrn-50-2", "wide_resnet50_2", {}, {}, 64),
    ("densenet-121", "densenet121", {}, {}, 64),
    ("shufflenet-v2-0.5x", "shufflenet_v2_x0_5", {"classifier_bias": True}, {}, 64),
    ("vgg-11", "vgg11", {}, {}, 224),
    ("vgg-16", "vgg16_bn", {"batch_norm": True}, {}, 224),
    ("alexnet", "alexnet", {}, {}, 224),
    ("inception-v3", "inception_v3", {}, {"aux_logits": False, "init_weights": False}, 299),
]


@pytest.mark.parametrize(("ours", "theirs", "knobs", "arguments", "size"), PAIRS, ids=[pair[0] for pair in PAIRS])
def test_torchvision_computes_the_same(
    ours: str, theirs: str, knobs: dict[str, Any], arguments: dict[str, Any], size: int
) -> None:
    torchvision_ops()
    models = pytest.importorskip("torchvision.models")
    network = all_networks()[ours]
    mine = network.build(**network.configured(knobs)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = getattr(models, theirs)(**arguments).eval()
    _randomise(other)
    _copy(other, mine)
    x = torch.randn(2, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(mine(x), other(x), rtol=1e-3, atol=1e-4)


def _randomise(module: nn.Module) -> None:
    """Statistics that a wrong order would show in."""
    torch.manual_seed(0)
    for one in module.modules():
        if isinstance(one, nn.BatchNorm2d):
            nn.init.uniform_(one.running_mean, -0.1, 0.1)
            nn.init.uniform_(one.running_var, 0.5, 1.5)
            nn.init.uniform_(one.weight, 0.5, 1.5)
            nn.init.uniform_(one.bias, -0.1, 0.1)


def _copy(source: nn.Module, target: nn.Module) -> None:
    """Weights in the order of the modules that have any, which is the order of the paper in both."""
    pairs = zip(_with_weights(source), _with_weights(target), strict=True)
    for one, other in pairs:
        assert type(one).__name__ == type(other).__name__
        other.load_state_dict(one.state_dict())


def _with_weights(module: nn.Module) -> list[nn.Module]:
    return [one for one in module.modules() if one._parameters and any(p is not None for p in one._parameters.values())]
