"""Memory inside single ops on CPU: products of matrices, attention, operands that are copied or cast, sums, indices."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from archcalc.engine.devices import processor, workspaces
from tests.allocations import as_meta, ours, theirs

aten = torch.ops.aten

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
                assert ours(aten.mm.default, args) == theirs(aten.mm.default, args), (m, k, n)
                vector = args[0], torch.zeros(k, dtype=torch.bfloat16)
                assert ours(aten.mv.default, vector) == theirs(aten.mv.default, vector), (m, k)
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
        assert ours(aten.bmm.default, args) == theirs(aten.bmm.default, args)


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
        assert workspaces.on_cpu(func, as_meta(args), {}, as_meta(out)) == expected


MATRIX, MASK, WHOLE = torch.randn(64, 100), torch.randn(64, 100) > 0, torch.arange(6400).view(64, 100)
HALF, NUMBER, ROWS = MATRIX.bfloat16(), torch.tensor(2.0), torch.zeros(64, dtype=torch.int64)
IMAGE = torch.randn(2, 8, 12, 12)
LAST, SPREAD = IMAGE.contiguous(memory_format=torch.channels_last), torch.randn(1).expand(2, 8, 12, 12)
WAVES = torch.zeros(2, 8, 12, 7, dtype=torch.complex64)
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
    *((aten.scatter_add.default, (x, 0, WHOLE % 64, x)) for x in (MATRIX, HALF)),
    *((aten.index_add.default, (IMAGE.bfloat16(), d, ROWS[: IMAGE.shape[d]], IMAGE.bfloat16())) for d in range(4)),
    (aten.index_add.default, (HALF[0], 0, ROWS, HALF[0, :64])),
    (aten.gather.default, (HALF, 1, WHOLE[:, :3] % 100)),
    *((aten.scatter_reduce.two, (x, 0, WHOLE % 64, x, how)) for x in (MATRIX, HALF) for how in ("mean", "amax")),
    *((aten.index_reduce.default, (x, 0, ROWS, x, how)) for x in (MATRIX, HALF) for how in ("mean", "amax")),
    *((aten.gather.default, (HALF, 0, ROWS[:, None].expand(64, width))) for width in (99, 100)),
    *((aten.scatter_add.default, (x, 0, ROWS[:, None].expand(x.shape), x)) for x in (HALF, HALF[:, :15].contiguous())),
    *((aten.index_add.default, (HALF, dim, ROWS, HALF[:, :64] if dim else HALF)) for dim in (0, 1)),
    (aten.index.Tensor, (MATRIX, [MASK])),
    (aten.index.Tensor, (MATRIX, [None, MASK[0]])), (aten.masked_select.default, (MATRIX, MASK)),
    (aten.masked_select.default, (MATRIX, MASK[0])), (aten.triu.default, (IMAGE.mT,)),
    (aten.tril.default, (MATRIX.t(),)),
    (aten.kthvalue.default, (MATRIX, 3)), (aten.median.default, (MATRIX,)), (aten.median.dim, (MATRIX, 1)),
    (aten.isinf.default, (HALF,)), (aten.soft_margin_loss_backward.default, (NUMBER, MATRIX, MATRIX, 1)),
    (aten.mv.default, (IMAGE[0, :, :, 0], IMAGE[0, 0, :, 0])), (aten.fmod.Scalar, (MATRIX, 2.0)),
    *((aten._fft_r2c.default, (IMAGE, dims, 0, True)) for dims in ([3], [2], [0], [2, 3], [1, 3])),
    *((aten._fft_c2c.default, (x, dims, 0, True)) for x in (WAVES, WAVES.mT) for dims in ([3], [2], [0], [2, 3])),
    (aten._fft_c2c.default, (WAVES, [0, 2], 0, True)),
    *((aten._fft_c2r.default, (WAVES, dims, 0, 12)) for dims in ([3], [2, 3], [0, 3], [0, 1, 2, 3])),
    (aten._unique.default, (WHOLE,)), (aten.unique_dim.default, (WHOLE % 7, 0, True, True, True)),
]  # fmt: skip


@pytest.mark.parametrize(("func", "args"), ALONE)
def test_an_op_alone(func: Any, args: tuple[Any, ...]) -> None:
    """What an op uses inside, beside its result, equal to the allocator's events."""
    assert ours(func, args) == theirs(func, args)


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
        assert ours(aten._trilinear.default, args) == theirs(aten._trilinear.default, args)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("asked", "keys"), [(10, 10), (100, 60), (200, 70), (800, 600)])
def test_attention_and_its_gradients(asked: int, keys: int, dtype: torch.dtype) -> None:
    """Blocks of 32, 64 and 256 queries and up to 512 keys; a gradient that is copied, and one that is not."""
    forward = aten._scaled_dot_product_flash_attention_for_cpu.default
    backward = aten._scaled_dot_product_flash_attention_for_cpu_backward.default
    query, key = torch.zeros(1, 2, asked, 16, dtype=dtype), torch.zeros(1, 2, keys, 16, dtype=dtype)
    assert ours(forward, (query, key, key)) == theirs(forward, (query, key, key))
    out, sums = forward(query, key, key)
    for grad in (out.contiguous(), out.transpose(1, 2).contiguous().transpose(1, 2)):
        args = (grad, query, key, key, out, sums, 0.0, False)
        assert ours(backward, args) == theirs(backward, args)
