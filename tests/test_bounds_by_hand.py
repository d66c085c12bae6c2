"""Least times and bytes, each derived by hand for the best kernel there could be: no bound may be above it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import archcalc
from archcalc import Setup, Training
from archcalc.analyses.bound import Bounds
from archcalc.errors import BadInput, NoPeak, WrongUse
from archcalc.hardware import device, device_typed
from archcalc.ops.met import positions_met
from archcalc.studies.speed.target import with_kernels
from archcalc.tracing import Tensor as Traced
from archcalc.tracing.places import bytes_of_all
from tests.helpers import run

N, FLOAT = 64, 4
MAP = N * N * FLOAT
"""Bytes of a 64x64 map of float32."""
X = f"{N}x{N}"
BYTES_ALONE = "tflops=1e9,gbps=1"
"""A device of which nothing but bytes takes time."""


class Program(nn.Module):
    """A module that is one function of its inputs, and of the modules it has."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> Any:
        return self.function(*inputs)


def bounds(network: nn.Module, inputs: Any, on: str = BYTES_ALONE, **how: Any) -> Bounds:
    return archcalc.speed(network, inputs, on=on, device=how.pop("device", "cuda"), **how).devices[0].bounds


# ---- bytes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "inputs", "moved"),
    [
        (lambda x: x + x.t(), [X], 2 * MAP),  # the same numbers in another order
        (lambda x: x @ x.t(), [X], 2 * MAP),
        (lambda x: x[1:] - x[:-1], [X], MAP + (MAP - N * FLOAT)),  # neighbours of rows
        (lambda x: x[:, : N // 2] + x[:, N // 2 :], [X], MAP + MAP // 2),  # halves share nothing
        (lambda x: x.unfold(0, 4, 1).sum(-1), [X], MAP + (N - 3) * N * FLOAT),  # windows of 4 rows at each row
        (lambda x, y: x * y.expand(N, N), [X, f"1x{N}"], 2 * MAP + N * FLOAT),
        (lambda x: functional.max_pool2d(x, 2, 4), ["1x1x64x64"], MAP // 4 + 16 * 16 * (FLOAT + 8)),  # with places
        (lambda x: functional.avg_pool2d(x, 1, 2), ["1x1x64x64"], MAP // 4 + MAP // 4),
        (lambda x: functional.interpolate(x, scale_factor=0.5), ["1x1x64x64"], MAP // 4 + MAP // 4),
        (lambda x: functional.interpolate(x, size=16, mode="bilinear"), ["1x1x64x64"], 32 * 32 * 4 + 16 * 16 * 4),
    ],
)
def test_an_op_reads_each_number_once(function: Callable[..., Any], inputs: list[str], moved: int) -> None:
    assert bounds(Program(function), inputs).bytes == moved


def test_a_result_that_nothing_reads_saves_no_write_of_another() -> None:
    """Compiled, the places of the largest numbers are not written: the numbers are, whatever a cache would hold."""
    network = Program(lambda x: x.max(1).values)
    assert bounds(network, [X]).fused_bytes == MAP + N * FLOAT
    assert bounds(network, [X], f"{BYTES_ALONE},cache=50MiB").fused_bytes == MAP + N * FLOAT


@pytest.mark.parametrize(
    ("convolution", "read"),
    [
        (nn.Conv2d(4, 4, 1, stride=2, bias=False), 28 * 28),  # the shortcut of a residual network
        (nn.Conv2d(4, 4, 1, stride=2), 28 * 28),
        (nn.Conv2d(4, 4, 2, stride=4, bias=False), 28 * 28),
        (nn.Conv2d(4, 4, 3, stride=2, padding=1, bias=False), 56 * 56),  # windows that overlap
        (nn.Conv2d(4, 4, 3, stride=2, bias=False), 55 * 55),  # the last row and column are in none
        (nn.Conv2d(4, 4, 2, stride=3, dilation=2, bias=False), 36 * 36),  # 18 windows of i, i + 2: 0, 2, 3, 5, ... 53
    ],
)
def test_a_convolution_reads_what_its_windows_meet(convolution: nn.Conv2d, read: int) -> None:
    """56x56 positions of 4 channels; weights and output besides, and a bias that is added to the output."""
    size = archcalc.trace(convolution, "1x4x56x56").shape(archcalc.trace(convolution, "1x4x56x56").output_tensors[0])
    output = size[1] * size[2] * size[3] * FLOAT
    weights = convolution.weight.numel() * FLOAT
    bias = 0 if convolution.bias is None else 2 * output + 4 * FLOAT
    assert bounds(convolution, "1x4x56x56").bytes == 4 * read * FLOAT + weights + output + bias


def test_positions_in_windows_are_those_with_a_gradient() -> None:
    """Of pooling at drawn sizes: positions whose sum torch's backward reaches."""
    draw = random.Random(0)
    for _ in range(150):
        h, kernel, stride, dilation = (draw.randint(1, most) for most in (20, 4, 5, 3))
        padding = draw.randint(0, kernel // 2)
        if h + 2 * padding < dilation * (kernel - 1) + 1:
            continue
        x = torch.zeros(1, 1, h, requires_grad=True)
        y = functional.conv1d(x, torch.ones(1, 1, kernel), None, stride, padding, dilation)
        y.sum().backward()
        assert x.grad is not None
        met = int((x.grad != 0).sum())
        assert positions_met(h, kernel, stride, padding, dilation, y.shape[-1]) == met


def test_long_signals_are_not_looked_at_place_by_place() -> None:
    """50 million windows of 10 in 10^9 places at a stride of 20 meet half of them; one place each is counted."""
    assert positions_met(10**9, 10, 20, 0, 1, 5 * 10**7) == 5 * 10**7


def viewed(x: Tensor, draw: random.Random) -> Tensor:
    """A view of a tensor: turned, cut, with steps, repeated."""
    for _ in range(draw.randrange(4)):
        dim = draw.randrange(x.dim())
        start = draw.randrange(x.shape[dim])
        cut = [slice(None)] * x.dim()
        cut[dim] = slice(start, draw.randint(start + 1, x.shape[dim]), draw.randint(1, 2))
        x = draw.choice([x.transpose(0, dim), x[tuple(cut)], x.unsqueeze(0).expand(2, *x.shape)])
    return x


def test_bytes_of_views_are_never_more_than_they_cover() -> None:
    """Against sets of their elements; nearly all are counted exactly."""
    draw, exact, cases = random.Random(0), 0, 300
    for _ in range(cases):
        shape = [draw.choice([2, 3, 4, 6]) for _ in range(draw.randint(1, 3))]
        whole = torch.arange(torch.Size(shape).numel()).reshape(shape)
        views = [viewed(whole, draw) for _ in range(draw.randint(2, 3))]
        covered = len({int(number) for view in views for number in view.flatten()}) * FLOAT
        traced = [Traced(tuple(v.shape), "float32", 0, tuple(v.stride()), int(v.storage_offset())) for v in views]
        assert max(tensor.distinct_bytes for tensor in traced) <= bytes_of_all(traced) <= covered
        exact += bytes_of_all(traced) == covered
    assert exact > 0.9 * cases


def two_of_a_product(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    y = x @ w
    return y.relu(), y.exp()


def halves_of_a_product(x: Tensor, w: Tensor) -> Tensor:
    y = x @ w
    return y[:, : N // 2] + y[:, N // 2 :]


@pytest.mark.parametrize(
    ("function", "inputs", "eager", "compiled"),
    [
        # both read x; compiled they are one kernel
        (lambda x: (x.sigmoid(), x.tanh()), [X], 4 * MAP, 3 * MAP),
        (two_of_a_product, [X, X], 7 * MAP, 6 * MAP),
        # a chain that reads the whole and both halves: the turned halves of rotary positions
        (
            lambda x, c, s: x * c + torch.cat([-x[:, N // 2 :], x[:, : N // 2]], -1) * s,
            [X, X, X],
            MAP + 2 * MAP + 9 * MAP,
            4 * MAP,
        ),
        # results that nothing uses are not computed
        (lambda x: (x.sigmoid(), x * 2)[1], [X], 4 * MAP, 2 * MAP),
        (lambda x: (x @ x, x * 2)[1], [X], 4 * MAP, 2 * MAP),
        (lambda x: (x.sigmoid() @ x, x * 2)[1], [X], 7 * MAP, 2 * MAP),
        # written in place they are used
        (lambda x: x.mul_(2).sum(), [X], 3 * MAP + FLOAT, 2 * MAP + FLOAT),
    ],
)
def test_a_compiled_pass_reads_once_what_ops_beside_each_other_read(
    function: Callable[..., Any], inputs: list[str], eager: int, compiled: int
) -> None:
    found = bounds(Program(function), inputs)
    assert (found.bytes, found.fused_bytes) == (eager, compiled)


def test_a_cache_holds_both_halves_of_a_split() -> None:
    """A product of 64x64 is written and its halves are added, beside a cache for all: two maps, a half is written."""
    assert bounds(Program(halves_of_a_product), [X, X], f"{BYTES_ALONE},cache=1MiB").bytes == 2 * MAP + MAP // 2


# ---- arithmetic ---------------------------------------------------------------------------------

B, H, L, D = 1, 4, 512, 64
ALL = 2 * B * H * L * L * (D + D)
"""FLOPs of both products of attention among all positions."""
VISIBLE = ALL * (L + 1) // (2 * L)
"""Query i sees i + 1 keys: L(L + 1)/2 pairs of L²."""


class Attention(nn.Module):
    """Attention of a sequence to itself; `causal` hides keys behind the query."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.scale, self.causal = nn.Parameter(torch.ones(1)), causal

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention((q * self.scale).to(q.dtype), k, v, is_causal=self.causal)


def flops(network: nn.Module, dtype: str, **how: Any) -> int:
    return bounds(network, [f"{dtype}:{B}x{H}x{L}x{D}"] * 3, **how).flops


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_causal_attention_in_one_kernel_leaves_hidden_scores_out(dtype: str) -> None:
    """A flash kernel passes over the keys behind a query; products and softmax compute them, and hide them then."""
    assert flops(Attention(False), dtype) == ALL
    assert flops(Attention(True), dtype) == VISIBLE
    unfused = Setup(device="cuda", attention="math")
    assert (
        archcalc.speed(Attention(True), [f"{dtype}:{B}x{H}x{L}x{D}"] * 3, on=BYTES_ALONE, setup=unfused)
        .devices[0]
        .bounds.flops
        == ALL
    )


def test_so_does_its_backward() -> None:
    """Five products of 2·B·H·L²·D FLOPs backward, two forward."""
    step = Training("sgd")
    assert flops(Attention(False), "bfloat16", train=step) == ALL * 7 // 2
    assert flops(Attention(True), "bfloat16", train=step) == VISIBLE * 7 // 2


def test_float32_attention_on_a_gpu_has_three_products_of_tf32_for_one() -> None:
    """At 1 TFLOP/s in float32 and 9 in TF32 its kernel reaches 3."""
    found = bounds(Attention(False), [f"{B}x{H}x{L}x{D}"] * 3, "fp32=1,tf32=9,gbps=1e9,vector=1e6")
    assert found.seconds == pytest.approx(ALL / 3e12, rel=1e-3)


def test_recurrent_layers_of_cudnn_may_use_tf32() -> None:
    """torch.backends.cudnn.rnn: 4·64·(32 + 64) multiply-adds a step and sample."""
    assert torch.backends.cudnn.rnn.fp32_precision == "tf32"  # type: ignore[attr-defined]
    found = bounds(nn.LSTM(32, 64), "20x8x32", "fp32=1,tf32=8,gbps=1e9,vector=1e6")
    assert found.seconds == pytest.approx(2 * 20 * 8 * 4 * 64 * 96 / 8e12, rel=1e-3)


@pytest.fixture
def high() -> Iterator[None]:
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision("highest")


def test_a_program_that_lets_products_use_tf32_is_heard(high: None) -> None:
    on = "fp32=1,tf32=8,gbps=1e9"
    found = archcalc.speed(nn.Linear(64, 64, bias=False), "64x64", on=on)
    assert found.devices[0].bounds.seconds == pytest.approx(2 * 64**3 / 8e12)
    assert found.report.trace.assumptions["float32_products"] == "high"
    assert "float32 matmul precision to 'high'" in str(found)


def test_products_are_exact_by_default() -> None:
    found = archcalc.speed(nn.Linear(64, 64, bias=False), "64x64", on="fp32=1,tf32=8,gbps=1e9")
    assert found.devices[0].bounds.seconds == pytest.approx(2 * 64**3 / 1e12)
    assert "float32_products" not in found.report.trace.assumptions


def test_products_of_float64_and_of_8_bits_have_their_peaks() -> None:
    """A matrix product of 4096: 2·4096³ FLOPs at 19.5 TFLOP/s on an A100, at 1,979 on an H100."""
    product, work = Program(lambda a, b: a @ b), 2 * 4096**3
    assert bounds(product, ["float64:4096x4096"] * 2, "a100").seconds == pytest.approx(work / 19.5e12)
    one = torch.ones(())
    scaled = Program(lambda a, b: torch._scaled_mm(a, b.t(), one.to("meta"), one.to("meta"), out_dtype=torch.bfloat16))
    eighth = ["float8_e4m3fn:4096x4096"] * 2
    assert bounds(scaled, eighth, "h100").seconds == pytest.approx(work / 1979e12)
    with pytest.raises(NoPeak, match="no peak for float8_e4m3fn"):
        bounds(scaled, eighth, "a100")


def test_attention_of_a_device_without_known_kernels_is_one_kernel() -> None:
    """As products and softmax it could take longer than on the device; `--attention math` asks for them."""
    inputs = [f"bfloat16:{B}x{H}x{L}x{D}"] * 3
    fused = archcalc.speed(Attention(True), inputs, on="mi300x")
    assert fused.devices[0].bounds.flops == VISIBLE
    assert "assumed is one for each op, attention too" in " ".join(fused.notes)
    unfused = archcalc.speed(Attention(True), inputs, on="mi300x", setup=Setup(attention="math"))
    assert unfused.devices[0].bounds.seconds > 3 * fused.devices[0].bounds.seconds


def test_kernels_of_a_run_do_not_depend_on_the_order_of_devices() -> None:
    """Beside an NVIDIA GPU a device without known kernels takes that GPU's."""
    orders = (["mi300x", "h100-sxm"], ["h100-sxm", "mi300x"])
    first, second = (with_kernels(Setup(), [device(name) for name in names]) for names in orders)
    assert first == second == Setup(device="cuda")


# ---- what is typed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 SXM"), ("nvidia/h100", "NVIDIA H100 SXM"),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 SXM 80GB"), ("Tesla V100-SXM2-16GB", "NVIDIA V100 SXM2 16GB"),
        ("NVIDIA GeForce RTX 4090", "NVIDIA RTX 4090"), ("AMD Instinct MI300X", "AMD MI300X"),
        ("h800", "NVIDIA H800 SXM"), ("rtx 5070 ti", "NVIDIA RTX 5070 Ti"),
        ("NVIDIA GH200 480GB", "NVIDIA GH200 96GB (its GPU)"),
    ],
)  # fmt: skip
def test_devices_are_known_by_the_names_that_drivers_print(typed: str, name: str) -> None:
    assert device_typed(typed).name == name


def test_peaks_of_float64() -> None:
    """TFLOP/s of the unit that multiplies matrices: tensor or matrix cores, where they can."""
    peaks = {"a100-80g": 19.5, "h100-sxm": 67, "h200": 67, "v100-32g": 7.8, "mi250x": 95.7, "mi300x": 163.4}
    assert {name: device(name).peaks["fp64"] / 1e12 for name in peaks} == peaks


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("device = 3", "device = 3 says nothing"),
        ("bandwidth_gb_s = 1e-300\npeaks_tflops = { fp32 = 1 }", "bandwidth_gb_s = 1e-300 is not a number above 0"),
        ("bandwidth_gb_s = 9\npeaks_tflops = { fp32 = 1 }\nlaunch_us = 0", "launch_us = 0 is not a number above 0"),
        ("bandwidth_gb_s = 9\npeaks_tflops = {}", "it gives no peaks_tflops"),
        ("bandwidth_gb_s = 9\npeaks_tflops = { fp32 = nan }", "fp32 = nan is not a number above 0"),
        ("bandwidth_gb_s = 9\npeaks_tflops = { fp32 = 1 }\nkernels = 'rocm'", "there are no kernels of 'rocm'"),
        ("bandwidth_gb_s = 9\npeaks_tflops = { fp32 = 1 }\ncache = 'lots'", "'lots' is not a size"),
    ],
)
def test_a_file_of_a_device_that_cannot_be_is_told(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(BadInput) as raised:
        archcalc.speed("resnet-20", on=str(file))
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("on", "batches", "says"),
    [
        ("tflops=1,gbps=1,gbps=2", (), "gives a figure twice"),
        (3, (), "3 is not the name of a device"),
        ("h100", [0], "0 is no batch"),
        ("h100", [1, 1], "batch 1 is named a second time"),
        ("h100", 8, "batches=8 is no list"),
    ],
)
def test_what_is_no_device_or_no_batch_is_told(on: Any, batches: Any, says: str) -> None:
    with pytest.raises((BadInput, WrongUse)) as raised:
        archcalc.speed("resnet-20", on=on, batches=batches)
    assert says in str(raised.value)


def test_no_figure_is_of_a_machine_that_is_measured_each_time() -> None:
    ran = run("sweep", "resnet-20", "--set", "batch=1", "--figure", "time_on:cpu")
    assert (ran.code, ran.out) == (2, "")
    assert "'cpu' is this machine, which is measured anew each time" in ran.err


def test_the_answer_says_where_winograd_has_fewer_products() -> None:
    """A kernel of 3x3 moved by one; not one of 1x1, nor one that is moved by two."""
    for convolution, said in ((nn.Conv2d(4, 4, 3), True), (nn.Conv2d(4, 4, 1), False), (nn.Conv2d(4, 4, 3, 2), False)):
        answer = str(archcalc.speed(convolution, "1x4x16x16", on="h100"))
        assert ("Winograd" in answer) == said
