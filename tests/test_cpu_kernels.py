"""Memory inside torch's CPU kernels: equal to what the allocator does, for each instruction set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

import archcalc
from archcalc.engine.devices import cpu_convolutions, processor, workspaces
from archcalc.engine.meta.call_arguments import tensors_in

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
    highest, y = _measured(lambda: CONVOLUTION(*args))
    assert workspaces.on_cpu(CONVOLUTION, _meta(args), {}, _meta(y)) == highest - y.nbytes


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
    highest, out = _measured(lambda: func(*backward))
    made = sum(tensor.nbytes for tensor in out if tensor is not None)
    assert workspaces.on_cpu(func, _meta(backward), {}, _meta(out)) == highest - made


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
        highest, _ = _measured(lambda: layer(x))
    states = sum(weight.nbytes for weight in layer.parameters()) + x.nbytes
    assert archcalc.analyze(layer, x.shape, device="cpu").peak_bytes == highest + states


PRODUCTS = [
    (64, 64, 64), (394, 256, 300), (33, 70, 50), (1, 96, 288), (2, 1500, 33), (64, 4096, 1), (300, 1000, 128),
    (16, 2048, 16), (1030, 4096, 2), (17, 600, 200),
]  # fmt: skip
"""Rows, numbers of a sum and columns."""


@pytest.mark.skipif(not processor.has_bfloat16(), reason="oneDNN has no bfloat16 kernels here")
@pytest.mark.parametrize("threads", [1, 2, 4])
def test_products_in_bfloat16(threads: int) -> None:
    """Rows or columns that are few or many, long sums, operands that lie transposed: by oneDNN's choice of blocks."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for m, k, n in PRODUCTS:
            a, b = torch.zeros(m, k, dtype=torch.bfloat16), torch.zeros(k, n, dtype=torch.bfloat16)
            for args in ((a, b), (a, b.t().contiguous().t()), (a.t().contiguous().t(), b)):
                assert _ours(aten.mm.default, args) == _theirs(aten.mm.default, args), (m, k, n)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("columns", [5, 40])
def test_batches_of_matrices_that_do_not_lie_in_order(dtype: torch.dtype, columns: int) -> None:
    """BLAS copies them matrix by matrix, oneDNN as a whole; up to 16·16·16 multiply-adds in all, torch's own kernel."""
    right = torch.zeros(3, 30, columns, dtype=dtype)
    spread, repeated = (
        torch.zeros(3, 20, 60, dtype=dtype)[:, :, ::2],
        torch.zeros(20, 30, dtype=dtype).expand(3, 20, 30),
    )
    for left in (
        spread,
        repeated,
        repeated[:1],
        repeated[:, :1].expand(3, 20, 30),
        torch.zeros(3, 30, 20, dtype=dtype).mT,
    ):
        args = left, right[: len(left)]
        assert _ours(aten.bmm.default, args) == _theirs(aten.bmm.default, args)


def test_operands_are_cast_and_put_in_order() -> None:
    """By arithmetic: 64·100 elements, 4 bytes each in float32; blocks of 60·60 for a transposed matrix."""
    half, full = torch.zeros(64, 100, dtype=torch.bfloat16), torch.zeros(64, 100)
    cases: list[tuple[Any, tuple[Any, ...], int]] = [
        (aten.mul.Tensor, (half, full), 4 * 6400),
        (aten.lt.Tensor, (half, full), 4 * 6400),
        (aten._softmax.default, (full.t(), -1, False), 4 * 6400 + 4 * 3600),
        (aten.mean.default, (half,), 4 * 6400 + 4),
        (aten.cat.default, ([half, full],), half.nbytes),
    ]
    for func, args, expected in cases:
        out = func(*args)
        assert workspaces.on_cpu(func, _meta(args), {}, _meta(out)) == expected


MATRIX, MASK, WHOLE = torch.randn(64, 100), torch.randn(64, 100) > 0, torch.arange(6400).view(64, 100)
HALF, NUMBER, ROWS = MATRIX.bfloat16(), torch.tensor(2.0), torch.zeros(64, dtype=torch.int64)
IMAGE = torch.randn(2, 8, 12, 12)
LAST, SPREAD = IMAGE.contiguous(memory_format=torch.channels_last), torch.randn(1).expand(2, 8, 12, 12)
OF_CHANNELS = [torch.rand(8) for _ in range(5)]
ALONE: list[tuple[Any, tuple[Any, ...]]] = [
    (aten.mul.Tensor, (MATRIX, MASK)), (aten.mul.Tensor, (HALF, MASK)), (aten.mul.Tensor, (MATRIX, NUMBER)),
    (aten.mul.Tensor, (HALF, NUMBER)), (aten.add.Tensor, (WHOLE, MATRIX)), (aten.div.Tensor, (WHOLE, WHOLE)),
    (aten.sqrt.default, (WHOLE,)), (aten.eq.Tensor, (WHOLE, MATRIX)), (aten.where.self, (MASK, MATRIX, HALF)),
    (aten.masked_fill.Scalar, (MATRIX, MASK, 1.0)), (aten.mul.Scalar, (MATRIX, 2.0)), (aten.mul.Tensor, (MATRIX, 2.0)),
    (aten.mul.Tensor, (WHOLE, 2)), (aten.rsub.Scalar, (MATRIX, 1)), (aten.gt.Scalar, (MATRIX, 0)),
    (aten.clamp.default, (MATRIX, 0, 1)), (aten.addcmul.default, (MATRIX, MATRIX, MATRIX)),
    (aten.native_batch_norm.default, (LAST, *OF_CHANNELS[:4], True, 0.1, 1e-5)),
    (aten.native_batch_norm.default, (IMAGE, *OF_CHANNELS[:4], False, 0.1, 1e-5)),
    (aten.native_batch_norm_backward.default, (LAST, LAST.clone(), *OF_CHANNELS, True, 1e-5, [True] * 3)),
    (aten.native_batch_norm_backward.default, (IMAGE, LAST, *OF_CHANNELS, True, 1e-5, [True] * 3)),
    (aten.native_batch_norm_backward.default, (SPREAD, IMAGE, *OF_CHANNELS, True, 1e-5, [True] * 3)),
    (aten.native_layer_norm.default, (MATRIX.t(), [64], None, None, 1e-5)), (aten.sum.default, (HALF,)),
    (aten.var.correction, (MATRIX, [1])), (aten.std.correction, (MATRIX, None)), (aten.logsumexp.default, (HALF, [1])),
    (aten._log_softmax.default, (HALF, 1, False)), (aten._softmax.default, (MATRIX[:, ::2], 1, False)),
    (aten.upsample_bilinear2d.default, (IMAGE, [24, 24], False)),
    (aten.upsample_bilinear2d.default, (IMAGE, [100, 100], False)),
    (aten.upsample_nearest2d.default, (LAST, [24, 24])), (aten.avg_pool2d.default, (IMAGE.mT, [2, 2])),
    (aten.max_pool2d_with_indices.default, (LAST, [2, 2])), (aten.mean.dim, (IMAGE.bfloat16(), [2, 3])),
    (aten._adaptive_avg_pool2d_backward.default, (SPREAD[:, :, :1, :1], IMAGE)),
    (aten.mse_loss.default, (MATRIX, MATRIX, 1)), (aten.huber_loss.default, (MATRIX, MATRIX, 1, 1.0)),
    (aten.binary_cross_entropy.default, (MATRIX.sigmoid(), MATRIX.sigmoid(), None, 1)),
    (aten.soft_margin_loss.default, (MATRIX, MATRIX.sign(), 1)), (aten.gelu_backward.default, (MATRIX.t(), MATRIX.t())),
    (aten.embedding_dense_backward.default, (MATRIX[:, ::2], ROWS, 50, -1, False)), (aten.sort.default, (MATRIX,)),
    (aten.roll.default, (IMAGE, [1, 1], [2, 3])), (aten.im2col.default, (IMAGE, [3, 3], [1, 1], [1, 1], [1, 1])),
    (aten.cat.default, ([MATRIX, MATRIX],)), (aten.bmm.default, (IMAGE[0], IMAGE[1])),
    *((aten.sum.dim_IntList, (x, dims)) for x in (MASK, HALF, MATRIX, WHOLE) for dims in ([0], [1], [0, 1])),
    *((aten.sum.dim_IntList, (x.bfloat16(), [0, 2, 3])) for x in (IMAGE, LAST, SPREAD)), (aten.sum.default, (MASK,)),
    (aten.prod.dim_int, (MASK, 1)), (aten.cumsum.default, (MASK, 1)), (aten.cumprod.default, (HALF, 1)),
    (aten.any.dim, (MATRIX, 1)), (aten.any.default, (MASK,)), (aten.all.default, (WHOLE,)),
    *((aten._unsafe_masked_index.default, (x, MASK, [WHOLE % 64, WHOLE[:1] % 100], 2.0)) for x in (MATRIX, HALF)),
    (aten._unsafe_masked_index.default, (IMAGE, MASK, [None, None, WHOLE % 12, WHOLE % 12], 0)),
    *(
        (aten._unsafe_masked_index_put_accumulate.default, (x[:4], MASK, [WHOLE % 4, WHOLE[:1] % 100], x))
        for x in (MATRIX, HALF)
    ),
    *((aten._unique2.default, (x, True, *asked)) for x in (WHOLE % 7, HALF) for asked in ([False] * 2, [True] * 2)),
    (aten._unique.default, (WHOLE,)), (aten.unique_dim.default, (WHOLE % 7, 0, True, True, True)),
]  # fmt: skip


@pytest.mark.parametrize(("func", "args"), ALONE)
def test_an_op_alone(func: Any, args: tuple[Any, ...]) -> None:
    """What an op uses inside, beside its result, equal to the allocator's events."""
    assert _ours(func, args) == _theirs(func, args)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("batch", "first", "second", "outputs"),
    [
        (4, 5, 6, 7),
        (1, 5, 6, 7),
        (4, 5, 1, 7),
        (4, 5, 6, 1),
        (0, 5, 6, 7),
        (4, 0, 6, 7),
        (20, 70, 9, 2),
    ],
)
def test_bilinear_and_its_gradients(batch: int, first: int, second: int, outputs: int, dtype: torch.dtype) -> None:
    """The parts of the sum are made one after the other: of the result, and of the gradients of all three operands."""
    x, y = torch.zeros(batch, first, dtype=dtype), torch.zeros(batch, second, dtype=dtype)
    weight, grad = torch.zeros(outputs, first, second, dtype=dtype), torch.zeros(batch, outputs, dtype=dtype)
    of_x, of_weight, of_y, summed = [1, 3], [0], [1, 2], [2, 3]
    for args in (
        (x, weight, y, of_x, of_weight, of_y, summed),
        (grad, weight, y, summed, of_weight, of_y, of_x),
        (x, grad, y, of_x, summed, of_y, of_weight),
        (x, weight, grad, of_x, of_weight, summed, of_y),
    ):
        assert _ours(aten._trilinear.default, args) == _theirs(aten._trilinear.default, args)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("asked", "keys"), [(10, 10), (100, 60), (200, 70), (800, 600)])
def test_attention_and_its_gradients(asked: int, keys: int, dtype: torch.dtype) -> None:
    """Blocks of 32, 64 and 256 queries and up to 512 keys; a gradient that is copied, and one that is not."""
    forward = aten._scaled_dot_product_flash_attention_for_cpu.default
    backward = aten._scaled_dot_product_flash_attention_for_cpu_backward.default
    query, key = torch.zeros(1, 2, asked, 16, dtype=dtype), torch.zeros(1, 2, keys, 16, dtype=dtype)
    assert _ours(forward, (query, key, key)) == _theirs(forward, (query, key, key))
    out, sums = forward(query, key, key)
    for grad in (out.contiguous(), out.transpose(1, 2).contiguous().transpose(1, 2)):
        args = (grad, query, key, key, out, sums, 0.0, False)
        assert _ours(backward, args) == _theirs(backward, args)


def _ours(func: Any, args: tuple[Any, ...]) -> int:
    """The bytes inside a call by our rules."""
    return workspaces.on_cpu(func, _meta(args), {}, _meta(func(*args)))


def _theirs(func: Any, args: tuple[Any, ...]) -> int:
    """The bytes inside a call by the allocator's events."""
    highest, out = _measured(lambda: func(*args))
    made = {t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in tensors_in(out)}
    return highest - sum(made.values())


def _meta(value: Any) -> Any:
    """The same without data; strides are kept."""
    if isinstance(value, Tensor):
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
    if isinstance(value, list | tuple) and any(isinstance(one, Tensor) for one in value):
        return type(value)(_meta(one) for one in value)
    return value


def _measured(run: Callable[[], Any]) -> tuple[int, Any]:
    """The most bytes that are allocated at once while it runs, and its result."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        out = run()
    tree = profiler.profiler.kineto_results.experimental_event_tree()  # type: ignore[union-attr]
    live = highest = 0
    for _, change in sorted(_changes(tree)):
        live += change
        highest = max(highest, live)
    return highest, out


def _changes(events: Any) -> Iterator[tuple[int, int]]:
    for event in events:
        if event.tag == torch._C._profiler._EventType.Allocation:
            yield event.start_time_ns, event.extra_fields.alloc_size
        yield from _changes(event.children)
