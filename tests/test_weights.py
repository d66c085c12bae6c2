"""Weights as they are: of several types, complex, quantized, and those that no module registers."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc.render.layers import Selection
from archcalc.render.pages import flops, memory, params
from archcalc.tracing import element_size
from tests.helpers import report, run


class Fourier(nn.Module):
    """A layer of a Fourier neural operator: two complex matrices an output mode, and a 1x1 convolution beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.low = nn.Parameter(torch.randn(4, 6, 5, 5, dtype=torch.cfloat))
        self.high = nn.Parameter(torch.randn(4, 6, 5, 5, dtype=torch.cfloat))
        self.skip = nn.Conv2d(4, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        modes = torch.fft.rfft2(x)
        out = torch.zeros(x.shape[0], 6, x.shape[2], x.shape[3] // 2 + 1, dtype=torch.cfloat, device=x.device)
        out[:, :, :5, :5] = torch.einsum("bixy,ioxy->boxy", modes[:, :, :5, :5], self.low)
        out[:, :, -5:, :5] = torch.einsum("bixy,ioxy->boxy", modes[:, :, -5:, :5], self.high)
        return torch.fft.irfft2(out, s=x.shape[-2:]) + self.skip(x)


class Mixed(nn.Module):
    """A half layer, a norm in float32, and an int8 matrix with a scale for each row."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(1000, 1000).half()
        self.norm = nn.LayerNorm(1000)
        self.register_buffer("q", torch.zeros(1000, 1000, dtype=torch.int8))
        self.register_buffer("scale", torch.ones(1000))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.fc(x).float())
        return nn.functional.linear(x, self.q.to(x.dtype)) * self.scale


class Listed(nn.Module):
    """Two layers in a plain list, which registers nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Linear(16, 32), nn.Linear(32, 8)]
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


@pytest.mark.parametrize("name", [name for name in vars(torch) if isinstance(vars(torch)[name], torch.dtype)])
def test_bytes_of_an_element_are_torchs_own(name: str) -> None:
    dtype = vars(torch)[name]
    try:
        own = dtype.itemsize
    except RuntimeError:
        pytest.skip("torch itself does not say")
    assert element_size(str(dtype).removeprefix("torch.")) == own


def test_complex_weights_have_eight_bytes_and_their_macs_are_said() -> None:
    """2·4·6·5·5 = 1,200 complex elements of 8 bytes and 24 + 6 of 4: 9,720 bytes, as 2,430 real numbers of 4.

    Each einsum has 2·4·6·25 = 1,200 complex MACs, the convolution 2·24·256 = 12,288 real ones.
    """
    made = report(Fourier(), (2, 4, 16, 16))
    assert (made.params, made.totals["params_bytes"]) == (1_230, 9_720)
    assert (made.macs, made.totals["complex_macs"]) == (2_400 + 12_288, 2_400)
    assert "2,400 MACs are complex and count once each: one is 4 real MACs, 9,600 in all" in made.notes
    page = params.params(made, Selection())
    assert "float32 9.492 KiB · bfloat16 4.746 KiB · int8 2.373 KiB" in page.foot[2]  # 2,430 · 4, 2 and 1 bytes
    assert "complex64 weights (9,600 bytes) · float32 weights (120 bytes) · 9,720 bytes in all" in page.foot


def test_real_products_have_no_note_of_complex_ones() -> None:
    made = report(nn.Linear(4, 2), (3, 4))
    assert made.totals["complex_macs"] == 0
    assert made.notes == ()


def test_each_type_of_weights_is_told_with_its_bytes() -> None:
    """1,001,000·2 + 2,000·4 = 2,010,000 bytes of parameters; 1,000,000·1 + 1,000·4 = 1,004,000 of buffers."""
    made = report(Mixed(), ["float16:4x1000"])
    page = params.params(made, Selection())
    assert page.head[1].endswith(" · float16 and float32 weights")
    assert [
        tuple(row.values()) for row in page.tables[0].rows
    ] == [
        ("float16", 1_001_000, 2_002_000, 0, 0),
        ("int8", 0, 0, 1_000_000, 1_000_000),
        ("float32", 2_000, 8_000, 1_000, 4_000),
    ]  # fmt: skip
    assert page.tables[0].total == {
        "dtype": "total", "params": 1_003_000, "params_bytes": 2_010_000, "buffers": 1_001_000,
        "buffers_bytes": 1_004_000,
    }  # fmt: skip
    assert page.envelope["assumptions"]["weights"] == "float16 and float32"
    assert "assumed: float16 and float32, attention unfused" in memory.memory(made, Selection(), ()).foot


def test_one_type_other_than_float32_is_said_and_float32_is_not() -> None:
    half = params.params(report(nn.Linear(1000, 1000).half(), ["float16:4x1000"]), Selection())
    assert half.head[1].endswith(" · float16 weights")
    assert "float16 weights (2,002,000 bytes)" in half.foot
    assert len(half.tables) == 1
    single = run("params", "resnet-20")
    assert "weights" not in single.out
    answer = json.loads(run("params", "resnet-20", "--json").out)
    assert [of["dtype"] for of in answer["by_type"]] == ["float32", "int64"]
    assert sum(of["params_bytes"] for of in answer["by_type"]) == answer["totals"]["params_bytes"]


def test_weights_that_no_module_registers_are_named() -> None:
    """16·32 + 32 + 32·8 + 8 = 808 elements."""
    made = report(Listed(), (2, 16))
    assert made.params == 8 * 4 + 4
    assert made.macs == 2 * (16 * 32 + 32 * 8 + 8 * 4)
    (note,) = made.notes
    assert note.startswith("the model itself multiplies by tensors that are no parameter, buffer or input (")
    for part in ("32x16 in aten.addmm", "8x32 in aten.addmm", "808 elements", "nn.ModuleList"):
        assert part in note
    assert list(flops.flops(made, Selection()).envelope["notes"]) == [note]
    trained = report(Listed, (2, 16), train=True)
    assert trained.notes == (note,)


@pytest.mark.parametrize("module", [nn.Linear(4, 2), nn.MultiheadAttention(8, 2), nn.Bilinear(3, 3, 2)])
def test_registered_weights_have_no_note(module: nn.Module) -> None:
    shapes = {nn.Linear: [(3, 4)], nn.MultiheadAttention: [(5, 2, 8)] * 3, nn.Bilinear: [(2, 3), (2, 3)]}
    assert report(module, shapes[type(module)]).notes == ()


class Configured(nn.Linear):
    """A layer with a configuration, as models of transformers have."""

    def __init__(self, **config: Any) -> None:
        super().__init__(8, 8)
        self.config = SimpleNamespace(**config, to_dict=dict)


@pytest.mark.parametrize(
    ("config", "setup", "notes"),
    [
        (
            {"dtype": torch.bfloat16},
            {},
            ("its config says bfloat16; the weights here are float32: add  --dtype bfloat16",),
        ),
        ({"torch_dtype": "bfloat16"}, {"dtype": "bfloat16"}, ()),
        ({"dtype": None}, {}, ()),
        ({"dtype": "float32"}, {}, ()),
        ({"dtype": "auto"}, {}, ()),
        (
            {"quantization_config": {"quant_method": "mxfp4"}},
            {},
            (
                "its config's quantization_config (mxfp4) is not applied: the weights are counted as float32, "
                "and by it none of them takes fewer bits",
            ),
        ),
        (
            {"quantization_config": {"bits": 4}},
            {"dtype": "bfloat16"},
            (
                "its config's quantization_config is not applied: the weights are counted as bfloat16; how many bytes "
                "they take as stored is not known here",
            ),
        ),
    ],
)
def test_a_configuration_that_states_other_weights_is_noted(
    config: dict[str, Any], setup: dict[str, Any], notes: tuple[str, ...]
) -> None:
    trace = archcalc.trace(Configured(**config), (2, 8), **setup)
    assert trace.notes == notes
