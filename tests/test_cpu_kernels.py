"""Memory inside torch's CPU kernels: equal to what the allocator does, for each instruction set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc.engine.devices import cpu_convolutions, processor, workspaces
from tests.allocations import as_meta, measured

aten = torch.ops.aten
CONVOLUTION = aten.convolution.default


class First(nn.Module):
    """The first of a layer's outputs."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[0]


class Steps(nn.Module):
    """A loop over the steps of one tensor, whose gradient is a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(64, 256)

    def forward(self, x: Tensor) -> Tensor:
        h = self.linear(x)
        return torch.stack([h[:, i].tanh() for i in range(8)]).sum()


def convolutions(kernel: int) -> nn.Module:
    """Three of 16 channels."""
    layers: list[nn.Module] = []
    for _ in range(3):
        layers += [nn.Conv2d(16, 16, kernel, padding=kernel // 2), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def transposed() -> nn.Module:
    return nn.Sequential(nn.ConvTranspose2d(32, 64, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(64, 32, 4, 2, 1))


ON_AVX2: list[tuple[Callable[[], nn.Module], tuple[int, ...], bool, int]] = [
    (lambda: First(nn.GRU(96, 128, bidirectional=True)), (35, 8, 96), True, 4_107_268),
    (lambda: First(nn.GRU(96, 128, bidirectional=True)), (35, 8, 96), False, 2_100_224),
    (lambda: nn.Sequential(nn.Linear(64, 512), nn.Mish(), nn.Linear(512, 8)), (256, 64), True, 1_820_712),
    (Steps, (4096, 32, 64), True, 331_416_588),
    (transposed, (4, 32, 32, 32), True, 38_666_760),
    (transposed, (4, 32, 32, 32), False, 30_146_944),
    (lambda: convolutions(3), (1, 16, 32, 32), True, 1_020_168),
    (lambda: convolutions(3), (1, 16, 32, 32), False, 814_272),
    (lambda: convolutions(5), (1, 16, 32, 32), True, 626_952),
]
"""Peaks of real steps with sgd, loss sum, on an AMD Zen 3 (AVX2) with 2 threads and torch 2.13."""


@pytest.fixture
def avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor with AVX2 and 2 threads."""
    monkeypatch.setattr(processor, "lanes", lambda: 8)
    monkeypatch.setattr(processor, "has_bfloat16", lambda: False)
    monkeypatch.setattr(processor, "threads", lambda: 2)


@pytest.mark.usefixtures("avx2")
@pytest.mark.parametrize(("make", "shape", "train", "peak"), ON_AVX2)
def test_peaks_of_another_processor(
    make: Callable[[], nn.Module], shape: tuple[int, ...], train: bool, peak: int
) -> None:
    step: Any = archcalc.Training("sgd") if train else False
    report = archcalc.analyze(make(), shape, train=step, device="cpu")
    assert report.peak_bytes == peak
    assert report.trace.assumptions["processor"] == "AVX2, 2 threads, no bfloat16 kernels of oneDNN"


def _convolution(
    shape: tuple[int, ...], weight: tuple[int, ...], bias: bool = True, last: bool = False, **settings: Any
) -> tuple[Any, ...]:
    """Arguments of aten.convolution, with a number for each setting."""
    dims, x, w = len(shape) - 2, torch.zeros(shape), torch.zeros(weight)
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    outputs = weight[1] * settings.get("groups", 1) if settings.get("transposed") else weight[0]
    stride, padding, dilation = ([settings.get(key, usual)] * dims for key, usual in USUAL.items())
    return (
        x, w, torch.zeros(outputs) if bias else None, stride, padding, dilation,
        settings.get("transposed", False), [0] * dims, settings.get("groups", 1),
    )  # fmt: skip


USUAL = {"stride": 1, "padding": 0, "dilation": 1}
SEVERAL = [
    _convolution((2, 32, 16, 16), (32, 32, 3, 3), padding=1),
    _convolution((4, 3, 32, 32), (64, 3, 7, 7), padding=3, stride=2, bias=False),
    _convolution((2, 64, 14, 14), (128, 64, 1, 1)),
    _convolution((3, 24, 14, 14), (40, 24, 3, 3), padding=1),
    _convolution((2, 48, 14, 14), (48, 1, 3, 3), padding=1, groups=48),
    _convolution((2, 64, 14, 14), (64, 16, 3, 3), padding=1, groups=4),
    _convolution((2, 16, 50), (32, 16, 3), padding=1),
    _convolution((2, 16, 6, 6, 6), (32, 16, 3, 3, 3), padding=1),
    _convolution((1, 16, 16, 16), (16, 16, 3, 3), padding=1),
    _convolution((1, 16, 16, 16), (16, 16, 1, 1)),
    _convolution((1, 16, 16, 16), (16, 16, 3, 3), dilation=2),
    _convolution((1, 16, 16, 16), (16, 24, 3, 3), transposed=True),
    _convolution((1, 8, 6, 6, 6), (8, 8, 3, 3, 3), padding=1),
]


@pytest.mark.parametrize("args", SEVERAL)
def test_a_forward_pass_of_a_convolution(args: tuple[Any, ...]) -> None:
    """On the processor that runs the test, whichever it is."""
    highest, y = measured(lambda: CONVOLUTION(*args))
    assert workspaces.on_cpu(CONVOLUTION, as_meta(args), {}, as_meta(y)) == highest - y.nbytes


GRADIENTS = [
    *SEVERAL[8:],
    _convolution((2, 3, 96, 96), (64, 3, 16, 16), stride=16, bias=False),
    _convolution((2, 96, 14, 14), (96, 1, 7, 7), padding=3, groups=96),
    _convolution((2, 64, 14, 14), (128, 64, 3, 3), padding=1),
]


@pytest.mark.parametrize("args", GRADIENTS)
def test_a_backward_pass_of_a_convolution(args: tuple[Any, ...]) -> None:
    """Torch's own kernels for one small image; oneDNN's, by columns for wide and for depthwise kernels."""
    grad, (x, w, bias, *settings) = torch.zeros_like(CONVOLUTION(*args)), args
    backward = (grad, x, w, None if bias is None else list(bias.shape), *settings, [True, True, bias is not None])
    func = aten.convolution_backward.default
    highest, out = measured(lambda: func(*backward))
    made = sum(tensor.nbytes for tensor in out if tensor is not None)
    assert workspaces.on_cpu(func, as_meta(backward), {}, as_meta(out)) == highest - made


@pytest.mark.parametrize("args", SEVERAL)
def test_torch_gives_the_same_ones_to_onednn(args: tuple[Any, ...]) -> None:
    """Torch's own choice, on real tensors."""
    bias = None if args[2] is None else list(args[2].shape)
    chosen = str(torch._C._select_conv_backend(*args, bias))
    call = cpu_convolutions.call_of(args[0], args[1], args[3:])
    assert cpu_convolutions.by_onednn(call) == ("Mkldnn" in chosen or "?" in chosen)


@pytest.mark.parametrize(
    ("steps", "batch", "inputs", "hidden"), [(7, 8, 24, 32), (35, 20, 200, 200), (4, 16, 24, 48), (1, 8, 24, 32)]
)
def test_an_lstm_in_evaluation(steps: int, batch: int, inputs: int, hidden: int) -> None:
    layer, x = nn.LSTM(inputs, hidden).eval(), torch.zeros(steps, batch, inputs)
    with torch.no_grad():
        highest, _ = measured(lambda: layer(x))
    states = sum(weight.nbytes for weight in layer.parameters()) + x.nbytes
    assert archcalc.analyze(layer, x.shape, device="cpu").peak_bytes == highest + states
