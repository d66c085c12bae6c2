"""The least time on a device: derived by hand, against published speeds, and the command with its typos."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
import torch
from torch import nn

import archcalc
from archcalc import Setup, Training, analyses, hardware
from archcalc.analyses import Traffic, analyze
from archcalc.analyses.bound import Bound, Bounds, timed
from archcalc.analyses.op_work import works_of
from archcalc.engine.cache import caching
from archcalc.engine.this_machine import this_machine
from archcalc.errors import BadInput, NoPeak, UnknownDevice, WrongUse
from archcalc.hardware import Hardware, device_typed
from archcalc.ops.names import packet
from archcalc.render.roofline import roofline
from bench.speed_truth.comparison import agreement, kept
from tests.helpers import run

pytestmark = pytest.mark.usefixtures("shared_traces")

ANALYSIS = re.compile(r"^class (\w+):$(?=(?:(?!^class ).)*?^    of_steps: ClassVar)", re.MULTILINE | re.DOTALL)
"""A class that says whether it looks at whole training steps."""


def bounds(model: nn.Module | str, inputs: str | None, on: str, **how: object) -> Bounds:
    return archcalc.speed(model, inputs, on=on, **how).devices[0].bounds


# ---- devices ------------------------------------------------------------------------------------


def test_what_a_product_waits_for_by_hand() -> None:
    """4096 rows of 1024 to 1024 without bias, float32, at 10 TFLOP/s and 100 GB/s.

    2·4096·1024·1024 = 8,589,934,592 FLOPs take 858.99 µs; 4·(2·4096·1024 + 1024·1024) = 37,748,736 B take 377.49 µs.
    """
    found = bounds(nn.Linear(1024, 1024, bias=False), "4096x1024", "fp32=10,gbps=100")
    assert found.seconds == pytest.approx(858.9934592e-6)
    assert (found.bound_by, found.flops, found.bytes) == ("arithmetic", 8_589_934_592, 37_748_736)
    slower = bounds(nn.Linear(1024, 1024, bias=False), "4096x1024", "fp32=10,gbps=10")
    assert slower.seconds == pytest.approx(3774.8736e-6)
    assert (slower.bound_by, slower.memory_share) == ("memory", 1.0)


def test_an_elementwise_chain_is_read_and_written_once_if_it_is_compiled() -> None:
    """Two ops on 1,000,000 float32: 2·8 MB op by op, 8 MB as one kernel; at 1 GB/s 16 and 8 ms."""
    found = bounds(nn.Sequential(nn.Sigmoid(), nn.Tanh()), "1000x1000", "fp32=1,gbps=1")
    assert (found.seconds, found.fused_seconds) == pytest.approx((16e-3, 8e-3))
    assert (found.kernels, found.fused_kernels) == (2, 1)


def test_a_product_between_two_ops_keeps_them_apart() -> None:
    """A residual around a product: the sum cannot be in the kernel that the product reads from."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(8, 8, bias=False)

        def forward(self, x):
            y = x.sigmoid()
            return self.inner(y) + y

    assert bounds(Residual(), "4x8", "fp32=1,gbps=1").fused_kernels == 3


def test_what_a_cache_holds_passes_no_memory() -> None:
    """Two ops on 1,000,000 float32, 4 MB each, at 1 GB/s: the input is read and the result written in any case.

    Without a cache 16 ms. One of 16 MB holds the 4 MB between the two, which are neither written nor read: 8 ms. One of
    3 MB holds 3 of them when they are read, and none when they die, 8 MB after they were written: 13 ms.
    """
    pair = nn.Sequential(nn.Sigmoid(), nn.Tanh())
    assert bounds(pair, "1000x1000", "fp32=1,gbps=1").seconds == pytest.approx(16e-3)
    assert bounds(pair, "1000x1000", "fp32=1,gbps=1,cache=16MB").seconds == pytest.approx(8e-3)
    assert bounds(pair, "1000x1000", "fp32=1,gbps=1,cache=3MB").seconds == pytest.approx(13e-3)

    class Later(nn.Module):
        def forward(self, x):
            y = x.sigmoid()
            return x.tanh(), x.exp(), y.neg()  # y is used again when 16 MB were moved

    # 4 MB read or written 8 times. x is read again at once; y is read after 16 MB, and dies 24 MB after it was written
    for size, least in (("1KB", 32), ("4MB", 24), ("18MB", 22), ("20MB", 20), ("26MB", 18), ("1GB", 16)):
        found = bounds(Later(), "1000x1000", f"fp32=1,gbps=1,cache={size}")
        assert found.seconds == pytest.approx(least * 1e-3, rel=1e-3), size


class Branches(nn.Module):
    """Two paths that meet: the chain at the end of the first begins before the second has run."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.shortcut = (nn.Linear(8, 8, bias=False) for _ in range(3))

    def forward(self, x):
        y = self.second(self.first(x).sigmoid()).tanh()
        return y + self.shortcut(x)


class Projected(Branches):
    """The projection of the shortcut has an activation of its own, as one of a residual block has a norm."""

    def forward(self, x):
        return self.second(self.first(x).sigmoid()).tanh() + self.shortcut(x).tanh()


@pytest.mark.parametrize("network", [Branches(), Projected()])
def test_paths_that_meet_are_one_kernel_behind_both(network: nn.Module) -> None:
    """Three products, the sigmoid, and what is behind the products: 5 kernels; 4 rows of 8 numbers take 128 B.

    Compiled, each product reads 128 + 256 B and writes 128 B, the sigmoid moves 256 B, the end 3 · 128 B: 2,176 B.
    Beside a cache for all of it the input and the weights are read once and the result is written: 128 + 3·256 + 128 B.
    """
    found = bounds(network, "4x8", "fp32=1,gbps=1")
    assert (found.fused_kernels, found.fused_bytes) == (5, 3 * 512 + 256 + 384)
    cached = bounds(network, "4x8", "fp32=1,gbps=1,cache=1GB")
    assert (cached.bytes, cached.fused_bytes) == (1024, 1024)


@pytest.mark.parametrize("train", [None, Training("adamw")])
@pytest.mark.parametrize("name", ["bottleneck-block", "inception-module", "se-block", "resnet-20", "lstm"])
def test_compiled_is_never_bounded_above_eager(name: str, train: Training | None) -> None:
    """A compiler may leave all as it is, whatever stays in a cache."""
    for on in ("h100-sxm", "fp32=100,gbps=10,cache=100KB"):
        found = bounds(name, None, on, train=train)
        assert found.fused_seconds <= found.seconds * (1 + 1e-9), on


def test_a_larger_cache_never_takes_longer() -> None:
    caches = ("1KiB", "1MiB", "8MiB", "64MiB", "1GiB")
    times = [bounds("resnet-20", None, f"fp32=100,gbps=10,cache={size}", batch=64) for size in caches]
    for of in (lambda found: found.seconds, lambda found: found.fused_seconds):
        assert sorted(map(of, times), reverse=True) == list(map(of, times))
    assert times[-1].seconds < times[0].seconds / 2


def test_a_recurrent_layer_of_torch_is_one_kernel_on_a_gpu() -> None:
    """All steps are one kernel of cuDNN's: the layer reads its input and weights once, and writes its outputs.

    20 steps of 8x32 to 64: 4·64·(32 + 64) = 24,576 weights and 2·256 biases. One in Python is step by step.
    """
    layer = nn.LSTM(32, 64)
    on_gpu = archcalc.speed(layer, "20x8x32", on="tflops=1e9,gbps=1", device="cuda").devices[0].bounds
    assert on_gpu.kernels < 5
    least = 4 * (20 * 8 * 32 + 24_576 + 512 + 20 * 8 * 64)  # input, weights, output
    assert least <= on_gpu.bytes <= least + 4 * (4 * 8 * 64 + 512)  # and states
    assert on_gpu.flops == 2 * 20 * 8 * 24_576


SLOW = "fp32=1e9,gbps=1"
"""A device of which nothing but bytes takes time, a nanosecond each."""


def backward_bytes(network: nn.Module, inputs: str, op: str) -> tuple[int, int]:
    """Bytes that the kernels of an op of backward move on an NVIDIA GPU, and how many kernels they are."""
    trace = archcalc.trace(network, inputs, setup=Setup(device="cuda", training=Training("sgd")))
    kernels = works_of(trace).eager.kernels
    own = [kernel for kernel in kernels if packet(trace.calls[kernel.calls[0]].op) == op]
    return sum(kernel.total for kernel in own), len(own)


def test_each_gradient_of_a_convolution_is_a_kernel() -> None:
    """CuDNN computes the gradients of input and weight in kernels of their own; both read the output's gradient.

    Maps of 8 channels, 32x32 inside, float32: 4·8·32·32 = 32,768 B; 8·8 weights 256 B; 8 biases 32 B.
    Input: gradient and weights read, its gradient written; weight: both maps read, 256 B written; bias: a map, 32 B.
    """
    pair = nn.Sequential(nn.Conv2d(8, 8, 1, bias=False), nn.Conv2d(8, 8, 1), nn.Tanh())
    first = 2 * 32_768 + 256  # its input wants no gradient
    second = (32_768 + 256 + 32_768) + (2 * 32_768 + 256) + (32_768 + 32)
    assert backward_bytes(pair, "1x8x32x32", "convolution_backward") == (first + second, 4)


@pytest.mark.parametrize(
    ("conv", "moved", "kernels"),
    [
        # 8 maps of 32x32 in float32, 32,768 B: two maps and 8·8 weights; then the result read and written, and 8 biases
        (nn.Conv2d(8, 8, 1), (2 * 32_768 + 256) + (2 * 32_768 + 32), 2),
        (nn.Conv2d(8, 8, 1, bias=False), 2 * 32_768 + 256, 1),
        (nn.Conv2d(8, 8, 1, groups=8), 2 * 32_768 + 32 + 32, 1),  # a depthwise kernel of torch's own adds it at once
        (nn.ConvTranspose2d(8, 8, 1), (2 * 32_768 + 256) + (2 * 32_768 + 32), 2),
    ],
)
def test_a_bias_is_added_behind_a_convolution(conv: nn.Module, moved: int, kernels: int) -> None:
    found = bounds(conv, "1x8x32x32", SLOW, device="cuda")
    assert (found.bytes, found.kernels) == (moved, kernels)
    assert found.flops == 2 * 8 * 32 * 32 * (1 if conv.groups == 8 else 8)
    assert (found.fused_kernels, bounds(conv, "1x8x32x32", SLOW).kernels) == (1, 1)


def test_each_of_two_kernels_takes_its_own_time() -> None:
    """256 maps of 64x64, 4,194,304 B, at 1 GB/s: each kernel reads or writes two, 8.39 ms, beside half of the products.

    2·1,048,576 FLOPs at 1 GFLOP/s are 2.10 ms.
    """
    pair = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.Conv2d(1, 1, 1, bias=False), nn.Tanh())
    trace = archcalc.trace(pair, "256x1x64x64", setup=Setup(device="cuda", training=Training("sgd")))
    on = device_typed("fp32=1e-3,gbps=1")
    times = [time for work, time, _ in timed(works_of(trace).eager, on) if work.flops and work.path == "1"]
    of_maps = 2 * 4_194_304 * 10**6
    assert times == pytest.approx([of_maps] * 3, rel=1e-5)  # forward, and a kernel for each gradient


@pytest.mark.parametrize(
    ("norm", "op", "bytes_", "kernels"),
    [
        # 512 rows of 64: 131,072 B a map; mean and rstd 2·2,048 B; weights 256 B. rows: 2 maps, both, weights, 1 map;
        # columns: 2 maps, both, two gradients of 256 B
        (nn.LayerNorm(64), "native_layer_norm_backward", 5 * 131_072 + 2 * 4_096 + 256 + 512, 2),
        # 512 maps of 16 channels and 2x2: 131,072 B; 2 groups: mean and rstd 2·4,096 B; weights 64 B. sums: 2 maps,
        # both, two gradients of 64 B; then 2 maps and weights read, 1 map written
        (nn.GroupNorm(2, 16), "native_group_norm_backward", 5 * 131_072 + 8_192 + 128 + 64, 2),
        # the input for the statistics; then again, with scale and shift
        (nn.GroupNorm(2, 16), "native_group_norm", 3 * 131_072 + 8_192 + 128, 2),
        (nn.LayerNorm(64), "native_layer_norm", 2 * 131_072 + 512 + 4_096, 1),
        # an RMS norm has neither mean nor shift: as its layer norm, less 2·2,048 B and a gradient of 256 B
        (nn.RMSNorm(64), "_fused_rms_norm_backward", 5 * 131_072 + 2 * 2_048 + 256 + 256, 2),
    ],
)
def test_norms_read_again_what_a_second_kernel_needs(norm: nn.Module, op: str, bytes_: int, kernels: int) -> None:
    """As torch runs them on a GPU: layer_norm_kernel.cu and group_norm_kernel.cu."""
    first = nn.Conv2d(16, 16, 1) if isinstance(norm, nn.GroupNorm) else nn.Linear(64, 64)
    inputs = "512x16x2x2" if isinstance(norm, nn.GroupNorm) else "512x64"
    assert backward_bytes(nn.Sequential(first, norm, nn.Tanh()), inputs, op) == (bytes_, kernels)


def test_padding_fills_and_then_copies() -> None:
    """A 2x2 map in a frame: 16 numbers filled, 4 read, 4 written: 64 + 16 + 16 B. A cache keeps the 4 written twice."""
    pad = nn.ZeroPad2d(1)
    assert bounds(pad, "1x1x2x2", SLOW, device="cuda").bytes == 96
    assert bounds(pad, "1x1x2x2", f"{SLOW},cache=1KB", device="cuda").bytes == 80
    assert bounds(pad, "1x1x2x2", SLOW).bytes == 80  # kernels that are not known are one for each op
    assert bounds(pad, "1x1x2x2", SLOW, device="cuda").fused_bytes == 80
    assert bounds(nn.ZeroPad2d(-1), "1x1x4x4", SLOW, device="cuda").kernels == 1  # cutting copies alone


def test_an_input_that_gives_its_shape_alone_is_not_read() -> None:
    """A mask in the shape of y is of no number of y: the chain behind the product reads y, 32 B, and writes 32 B."""

    class Dropped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(8, 1, bias=False)

        def forward(self, x):
            y = self.inner(x)
            return torch.ones_like(y) * y

    assert bounds(Dropped(), "8x8", SLOW).fused_bytes == (256 + 32 + 32) + (32 + 32)


def test_kernels_start_no_sooner_than_launches_allow() -> None:
    """Three tiny ops at 10 µs between kernels: 30 µs, all of it launch."""
    found = bounds(nn.Sequential(nn.Sigmoid(), nn.Tanh(), nn.ReLU()), "2x2", "fp32=1,gbps=1000,launch_us=10")
    assert found.seconds == pytest.approx(30e-6)
    assert found.bound_by == "launch"


def test_float32_convolutions_may_use_tf32_and_other_products_do_not() -> None:
    """At bandwidth without end: 2·MACs over the peak."""
    on = "fp32=1,tf32=8,gbps=1e9"
    conv = bounds(nn.Conv2d(16, 16, 3, bias=False), "1x16x34x34", on)  # 32·32·16·16·9 = 2,359,296 MACs
    assert conv.seconds == pytest.approx(2 * 2_359_296 / 8e12)
    linear = bounds(nn.Linear(64, 64, bias=False), "64x64", on)
    assert linear.seconds == pytest.approx(2 * 64**3 / 1e12)


def test_peaks_of_lower_precision_are_those_of_the_run() -> None:
    on = "fp32=1,fp16=16,gbps=1e9"
    plain = bounds(nn.Linear(512, 512, bias=False), "512x512", on)
    half = bounds(nn.Linear(512, 512, bias=False), "512x512", on, dtype="float16")
    assert plain.seconds == pytest.approx(16 * half.seconds)


def test_a_type_without_a_peak_ends_in_a_sentence() -> None:
    with pytest.raises(NoPeak, match="V100 SXM2 32GB has no peak for bfloat16") as error:
        archcalc.speed("resnet-20", on="v100", dtype="bfloat16")
    assert error.value.exit_code == 2
    assert "float16" in error.value.hint


def test_layers_add_up_and_the_bound_grows_with_the_batch() -> None:
    """Own + children = total in every layer; 8 times the batch takes more and at most 8 times as long."""
    one, eight = (archcalc.speed("resnet-20", on="rtx4090", batch=batch).devices[0] for batch in (1, 8))
    for layer in one.report.root.walk():
        for key, total in layer.total.items():
            assert layer.own[key] + sum(child.total[key] for child in layer.children) == total
    assert one.report.totals["bound_fs"] == pytest.approx(one.bounds.seconds * 1e15)
    assert one.bounds.seconds < eight.bounds.seconds < 8 * one.bounds.seconds
    assert one.bounds.fused_seconds < one.bounds.seconds


def test_a_training_step_takes_longer_than_a_pass() -> None:
    """Forward, backward and the optimizer: between 2 and 6 times the pass in which no gradient is wanted."""
    run_, step = (
        bounds("resnet-20", None, "rtx3090", batch=8),
        bounds("resnet-20", None, "rtx3090", batch=8, train=Training("momentum")),
    )
    assert 2 * run_.seconds < step.seconds < 6 * run_.seconds
    assert step.flops == pytest.approx(3 * run_.flops, rel=0.05)  # the gradients of weights and of inputs


def test_the_analysis_is_short_beside_the_trace() -> None:
    """A fifth of the trace's time, or a little more; a third is allowed here, where other programs run too."""
    spent, traced = [], []
    for _ in range(3):
        start = time.process_time()
        with caching(on=False):
            trace = archcalc.trace("densenet-121", setup=Setup(device="cuda"))
        traced.append(time.process_time() - start)
        start = time.process_time()
        analyze(trace, [Bound(hardware.device("rtx4090"))])
        spent.append(time.process_time() - start)
    assert min(spent) < min(traced) / 3, (spent, traced)


def test_a_bound_stands_beside_the_other_analyses() -> None:
    """A key is of one analysis: each gives the same figures in a report of all as alone."""
    network = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    trace = archcalc.trace(network, "32x8", train=Training("adam"))
    every = [*analyses.ALL, Bound(hardware.device("h100-sxm"))]
    report = analyze(trace, every)
    for analysis in every:
        alone = analyze(trace, [analysis])
        assert {key: report.totals[key] for key in alone.totals} == alone.totals, analysis
        for path, layer in alone.layers.items():
            assert {key: report.layers[path].own[key] for key in layer.own} == layer.own, (analysis, path)
    assert 0 < report.totals["memory_traffic_bytes"] < report.totals["traffic_bytes"]  # a part stays in the cache


def test_every_analysis_is_among_those_that_stand_together() -> None:
    """Whoever adds an analysis adds it to the test above."""
    room = Path(analyses.__file__).parent
    found = {name for path in room.glob("*.py") for name in re.findall(ANALYSIS, path.read_text(encoding="utf-8"))}
    assert found == {*analyses.ANALYSES, "Bound"}


def test_two_analyses_that_give_one_figure_are_refused() -> None:
    """Traffic op by op and fused have the same keys: their sum would be no figure."""
    trace = archcalc.trace("resnet-20")
    with pytest.raises(archcalc.ArchcalcError, match="two of the analyses give the figure 'read_bytes'") as raised:
        analyze(trace, [Traffic(), Traffic(fused=True)])
    assert raised.value.hint == "make a report for each of them"


def test_every_device_is_bounded_or_says_why() -> None:
    """Bandwidths and peaks are above 0; families stand for a device."""
    for device in hardware.devices():
        assert device.bandwidth is None or device.bandwidth > 0
        assert all(peak > 0 for peak in device.peaks.values())
        assert device.vector is None or 0 < device.vector <= max(device.peaks.values())
        assert device.peaks.get("fp16", 0) <= max(device.peaks.get("fp8", 1e30), device.peaks.get("fp16", 0))
    assert device_typed("H100").name == "NVIDIA H100 SXM"
    assert device_typed("a100").aliases[0] == "a100-80g"


def test_dense_peaks_are_half_of_what_is_printed_for_sparse_matrices() -> None:
    """TFLOP/s with 2:4 sparsity in the vendors' tables."""
    sparse = {
        "h100-sxm": 1979,
        "h100-pcie": 1513,
        "a100-80g": 624,
        "h100-nvl": 1671,
        "b200": 4500,
        "l4": 242,
        "a10": 250,
    }
    for name, printed in sparse.items():
        assert hardware.device(name).peaks["bf16"] <= printed / 2 * 1e12 * 1.001, name


@pytest.mark.parametrize(
    ("typed", "error", "says"),
    [
        ("rtx409", UnknownDevice, "rtx4090"),
        ("tflops=312", BadInput, "gives no bandwidth"),
        ("gbps=312", BadInput, "gives no peak"),
        ("tflops=0,gbps=1", BadInput, "not a number above 0"),
        ("tflops=inf,gbps=1", BadInput, "not a number above 0"),
        ("tlops=3,gbps=1", BadInput, "has no figure 'tlops=3'"),
        ("nothing.toml", BadInput, "cannot be read"),
        ("fp32=1,gbps=1,memory=many", BadInput, "is not a size"),
    ],
)
def test_what_is_no_device_is_told(typed: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error) as raised:
        device_typed(typed)
    assert says in str(raised.value)


def test_a_device_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("bandwidth_gb_s = 936\npeaks_tflops = { fp32 = 35.6, fp16 = 71 }\nlaunch_us = 3\n")
    mine = device_typed(str(file))
    assert (mine.name, mine.bandwidth, mine.peaks["fp16"], mine.launch) == ("mine", 936e9, 71e12, pytest.approx(3e-6))
    for wrong in (
        "bandwith = 3",
        "bandwidth_gb_s = 0\npeaks_tflops = { fp32 = 1 }",
        "peaks_tflops = { fp32 = 1 }",
        "=",
    ):
        file.write_text(wrong)
        with pytest.raises(BadInput):
            device_typed(str(file))


def test_this_machine_is_measured_in_about_a_second() -> None:
    """What a product of matrices and a copy reach here, within what processors are built for."""
    this_machine.cache_clear()
    start = time.perf_counter()
    here: Hardware = this_machine()
    assert time.perf_counter() - start < 10
    assert here.bandwidth
    assert 1e8 < here.bandwidth < 1e13
    assert 1e8 < here.peaks["fp32"] < 1e15
    assert "measured now" in here.source


# ---- published speeds ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "least", "median"), [("eager", 0.96, 1.2), ("compiled", 0.93, 1.3), ("training", 0.88, 1.3)]
)
def test_bounds_order_published_speeds(table: str, least: float, median: float) -> None:
    """Tables of timm: an RTX 4090 and an RTX 3090, by the rows that docs/speed.md shows. No run beats its bound."""
    rows = [row for row in kept() if row.table == table]
    found = agreement(rows, lambda row: row.bound)
    assert found.spearman >= least
    assert found.median_factor <= median
    assert not found.beaten
    assert agreement(rows, lambda row: row.products).spearman < found.spearman


@pytest.mark.parametrize(("table", "at_90"), [("eager", 1.5), ("compiled", 1.7), ("training", 1.6)])
def test_most_networks_are_as_far_from_their_bound_as_the_typical_one(table: str, at_90: float) -> None:
    """The factor that 90 % of the networks do not pass, after one common scale."""
    assert agreement([row for row in kept() if row.table == table], lambda row: row.bound).factor_90 <= at_90


# ---- the command --------------------------------------------------------------------------------


def test_the_answer_says_the_verdict_first() -> None:
    ran = run("speed", "resnet-20", "--on", "h100", "--on", "tflops=10,gbps=100", "--batch", "32")
    assert ran.code == 0, ran.err
    first, second, *_ = ran.out.splitlines()
    assert first.startswith("h100: at least ")
    assert " a batch of 32, " in first
    assert "images/s at most" in first
    assert second.startswith("tflops=10,gbps=100: at least ")
    assert "h100 is taken as NVIDIA H100 SXM; others: h100-nvl, h100-pcie" in ran.out
    assert "archcalc has no kernels of it" in ran.out


def test_totals_under_json_are_a_list_of_devices() -> None:
    answer = json.loads(
        run("speed", "resnet-20", "--on", "rtx4090", "--on", "v100", "--json", "--sweep-batch", "1,64").out
    )
    devices = answer["totals"]["devices"]
    assert [device["device"] for device in devices] == ["rtx4090", "v100"]
    for device in devices:
        rows = [row for row in answer["rows"] if row["device"] == device["device"]]
        assert sum(row["bound_seconds"] for row in rows) == pytest.approx(device["bound_seconds"])
        assert device["samples_per_second_at_most"] == pytest.approx(1 / device["bound_seconds"])
        assert 0 <= device["memory_share"] <= 1
    assert [(row["device"], row["batch"]) for row in answer["by_batch"]] == [
        ("rtx4090", 1), ("v100", 1), ("rtx4090", 64), ("v100", 64)
    ]  # fmt: skip


def test_where_a_network_turns_to_arithmetic() -> None:
    """At 10 FLOP a byte a linear layer of 512 waits for its weights at batch 1, for arithmetic at batch 512."""
    ran = run("speed", "resnet-20", "--on", "fp32=1,gbps=20", "--sweep-batch", "1,128")
    assert "turns from memory to arithmetic between batch 1 and 128" in ran.out or "bound by" in ran.out
    assert run("speed", "resnet-20", "--on", "h100", "--sweep-batch", "1,x").code == 2


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("speed resnet-20", "add  --on rtx4090"),
        ("speed --on h100", "speed needs a model"),
        ("speed resnet-20 --on h100 --device cpu", "do not go together"),
        ("speed resnet-20 --on h100 --on h100-sxm", "a second time"),
        ("speed resnet-20 --on stm32h743", "no memory bandwidth"),
        ("speed resnet-20 --on rtx409O", "did you mean  rtx4090"),
        ("speed resnet-20 --on H100,A100", "--on H100 --on A100"),
        ("speed resnet-20 --on h100 --sweep-batch 8,1,8", "batch 8 a second time"),
        ("speed resnet-20 --on h100 --sweep-batch 10000000000000000000000", "no list of batches"),
        ("law resnet-20 --over batch --figure time_on:h100", "a time has no law"),
        ("sweep resnet-20 --set batch=1 --figure time_on:h10", "choose one of  h100-sxm"),
    ],
)
def test_wrong_use_is_told(line: str, says: str) -> None:
    ran = run(*line.split())
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err


def test_a_model_that_does_nothing_needs_no_time(tmp_path: Path) -> None:
    """No cause binds it, at no batch, and samples a second have no end."""
    file = tmp_path / "nothing.py"
    file.write_text("from torch import nn\n\nnothing = nn.Identity()\n")
    ran = run("speed", f"{file}:nothing", "-i", "2x3", "--on", "h100", "--sweep-batch", "1,8")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0] == "h100: nothing is computed or moved, so that no time is needed"
    assert "bound by arithmetic" not in ran.out
    answer = json.loads(run("speed", f"{file}:nothing", "-i", "2x3", "--on", "h100", "--json").out)
    (device,) = answer["totals"]["devices"]
    assert (device["bound_by"], device["bound_seconds"], device["samples_per_second_at_most"]) == ("", 0.0, None)


def test_a_single_batch_of_a_sweep_is_one_batch() -> None:
    assert "bound by memory at batch 1\n" in run("speed", "resnet-20", "--on", "h100", "--sweep-batch", "1").out


def test_several_networks_share_a_note() -> None:
    """What is true of the device is said once."""
    assert run("compare", "resnet-20", "resnet-32", "--on", "h100").out.count("not yet compared with a GPU") == 1


def test_on_alone_lists_the_devices() -> None:
    assert run("speed", "--on").out == run("devices").out


def test_compare_sweep_and_check_know_the_time(tmp_path: Path) -> None:
    """The same seconds in each, as speed gives them."""
    seconds = bounds("resnet-20", None, "h100")
    compared = json.loads(run("compare", "resnet-20", "resnet-32", "--on", "h100", "--json").out)
    assert compared["rows"][0]["time_on:h100"] == seconds.seconds
    file = tmp_path / "sweep.csv"
    command = ("sweep", "resnet-20", "--set", "batch=1,2", "--figure", "time_on:h100", "--figure", "params")
    for _ in range(2):  # the second time from the file
        ran = run(*command, "--pareto", "time_on:h100:min,params", "--jobs", "1", "-o", str(file))
        assert ran.code == 0, ran.err
    assert f"{seconds.seconds}" in file.read_text()
    check = tmp_path / "archcalc.toml"
    for limit, code in ((2 * seconds.seconds, 0), (seconds.seconds / 2, 1)):
        check.write_text(f'[[check]]\nmodel = "resnet-20"\nmax_time = "{limit * 1e6:.3f} us on h100"\n')
        assert run("check", str(check)).code == code
    check.write_text('[[check]]\nmodel = "resnet-20"\nmax_time = "2 ms"\n')
    assert run("check", str(check)).code == 2


def test_the_roofline_is_drawn(tmp_path: Path) -> None:
    """No layer is above the roof; the ridge is where both roofs meet."""
    picture = roofline("h100", archcalc.speed("resnet-20", on="h100").devices[0].report)
    assert picture.ridge == pytest.approx(494.7e12 / 3350e9)
    assert picture.points
    assert all(y <= min(picture.peak, x * picture.bandwidth) * 1.000001 for x, y in picture.points)
    ran = run("speed", "resnet-20", "--on", "h100", "--plot")
    assert "ridge at 148 FLOP/byte" in ran.out
    file = tmp_path / "roofline.svg"
    assert run("speed", "resnet-20", "--on", "h100", "-o", str(file)).code == 0
    assert file.read_text().count("ridge at") == 1 or b"<svg" in file.read_bytes()


def test_a_library_call_without_a_device_is_told() -> None:
    with pytest.raises(WrongUse, match="none was named"):
        archcalc.speed("resnet-20")
