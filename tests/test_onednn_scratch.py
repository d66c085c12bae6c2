"""Bytes inside oneDNN's convolutions, beside the allocator's events: in bfloat16, strided, and transposed.

The kernels are those of AVX-512 with its own products of bfloat16; a processor without them has others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
import torch

from archcalc.engine.devices import processor
from tests.allocations import ours, theirs

aten = torch.ops.aten
HALF, FULL = torch.bfloat16, torch.float32
Sizes = tuple[int, int, int, int, int, int, int, int]
"""Batch, channels in and out, height and width, kernel, stride, padding, groups."""
WIDE = pytest.mark.skipif(processor.lanes() != 16, reason="the kernels of AVX-512")
IN_HALF = pytest.mark.skipif(not processor.multiplies_bfloat16(), reason="no products of bfloat16 without AMX here")

WEIGHTS: list[Sizes] = [
    (2, 32, 64, 16, 3, 2, 1, 1), (4, 32, 32, 16, 3, 1, 1, 1), (2, 128, 128, 14, 3, 1, 1, 1), (2, 3, 32, 32, 3, 2, 1, 1),
    (2, 3, 64, 32, 7, 2, 3, 1), (2, 64, 128, 16, 1, 2, 0, 1), (3, 48, 96, 14, 1, 1, 0, 1), (5, 8, 16, 17, 1, 1, 0, 1),
    (5, 3, 64, 17, 1, 2, 0, 1), (3, 32, 32, 8, 1, 1, 0, 2), (2, 64, 64, 15, 3, 1, 1, 2), (4, 3, 8, 5, 3, 2, 1, 1),
    (1, 16, 32, 28, 5, 1, 2, 1), (1, 3, 16, 130, 3, 1, 1, 1),
]  # fmt: skip
STRIDED: list[Sizes] = [
    (2, 32, 64, 16, 3, 2, 1, 1), (2, 64, 64, 16, 4, 2, 1, 1), (4, 96, 64, 28, 7, 2, 3, 1),
    (2, 128, 256, 14, 3, 2, 1, 1), (4, 16, 32, 16, 4, 4, 0, 1), (2, 32, 64, 15, 3, 2, 1, 1),
]  # fmt: skip


def backward(sizes: Sizes, dtype: torch.dtype, transposed: bool, wanted: list[bool]) -> tuple[Any, ...]:
    """The arguments of a convolution's backward pass."""
    n, channels, outputs, size, k, stride, padding, groups = sizes
    x = torch.randn(n, channels, size, size).to(dtype)
    shape = (channels, outputs // groups) if transposed else (outputs, channels // groups)
    w = torch.randn(*shape, k, k).to(dtype)
    settings = ([stride] * 2, [padding] * 2, [1] * 2, transposed, [0] * 2, groups)
    y = aten.convolution.default(x, w, None, *settings)
    return torch.randn_like(y), x, w, [outputs], *settings, wanted


@contextmanager
def threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@IN_HALF
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_of_weights_in_bfloat16(transposed: bool, number: int) -> None:
    """Images in pairs, sums of each thread, barriers: with and without a bias."""
    func = aten.convolution_backward.default
    with threads(number):
        for sizes in WEIGHTS:
            for biased in (False, True):
                args = backward(sizes, HALF, transposed, [False, True, biased])
                assert ours(func, args) == theirs(func, args), (sizes, biased)


def test_the_scratch_of_a_weight_by_arithmetic() -> None:
    """By oneDNN's own list, for one thread, an image of 2·32·16·16 and its gradient of 2·64·8·8, a kernel of 3.

    Rows of 16 halve to 8 and get 2 more: 2 blocks of 16 channels times 16 rows of 20 numbers, and 2 that are shared.
    The gradient has 4 blocks of 16 by 8 rows of 8; sums are 64·32·9 numbers of float32; there is one barrier.
    """
    from archcalc.engine.devices import onednn_bfloat16
    from archcalc.engine.devices.onednn_convolutions import Convolution

    c = Convolution(32, 64, 1, (3, 3), (2, 2), (1, 1), False, True, 16, True)
    x, grad = torch.empty(2, 32, 16, 16, device="meta"), torch.empty(2, 64, 8, 8, device="meta")
    pieces = 2 * (2 * 16 * 16 * 20 + 2), 2 * 4 * 16 * 8 * 8, 4 * 64 * 32 * 9
    assert onednn_bfloat16.of_weights(c, x, grad, False, 1) == sum(pieces) + 3 * 128 + 2 * 4096


@WIDE
@pytest.mark.parametrize("dtype", [FULL, pytest.param(HALF, marks=IN_HALF)])
def test_gradients_of_strided_inputs(dtype: torch.dtype) -> None:
    """Lists of products, padded copies and masks in whole pages, for each thread."""
    func = aten.convolution_backward.default
    for sizes in STRIDED:
        args = backward(sizes, dtype, False, [True, False, False])
        assert ours(func, args) == theirs(func, args), sizes


@WIDE
@pytest.mark.parametrize("dtype", [FULL, pytest.param(HALF, marks=IN_HALF)])
@pytest.mark.parametrize("biased", [False, True])
def test_transposed_convolutions(biased: bool, dtype: torch.dtype) -> None:
    """Those that are strided add the bias themselves; the others add it to results in float32."""
    for n, channels, outputs, size, k, stride, padding, more in (
        (2, 32, 64, 16, 4, 2, 1, 0),
        (2, 64, 32, 8, 2, 2, 0, 0),
        (2, 16, 3, 8, 4, 4, 0, 0),
        (2, 32, 64, 16, 3, 2, 1, 1),
        (2, 32, 64, 16, 3, 1, 1, 0),
        (2, 32, 64, 16, 1, 1, 0, 0),
    ):
        x, w = torch.randn(n, channels, size, size).to(dtype), torch.randn(channels, outputs, k, k).to(dtype)
        bias = torch.zeros(outputs, dtype=dtype) if biased else None
        args = (x, w, bias, [stride] * 2, [padding] * 2, [1] * 2, True, [more] * 2, 1)
        func = aten.convolution.default
        assert ours(func, args) == theirs(func, args), (channels, outputs, k, stride)


@WIDE
def test_torchs_own_kernel_unfolds_for_the_weight_alone() -> None:
    """The gradient of the input of one small image needs no columns of it: 64·3·3·7·7 numbers of 4 bytes."""
    func, sizes = aten.convolution_backward.default, (1, 64, 16, 14, 3, 2, 1, 1)
    for wanted, expected in (([True, False, False], 0), ([False, True, False], 4 * 64 * 9 * 49)):
        args = backward(sizes, FULL, False, wanted)
        assert ours(func, args) == theirs(func, args) == expected


@IN_HALF
@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2, 4])
def test_drawn_gradients_in_bfloat16(number: int) -> None:
    """At most one in twenty of the drawn convolutions is not exact, and it is so by less than 1 %."""
    draw, func, off, drawn = Random(number), aten.convolution_backward.default, 0, 0
    with threads(number):
        while drawn < 60:
            k, groups = draw.choice((1, 2, 3, 3, 4, 5, 7)), draw.choice((1, 1, 1, 2))
            channels, outputs = draw.choice((3, 16, 24, 32, 48, 64, 96, 128)), draw.choice((8, 16, 24, 64, 96, 144))
            if groups == 2:
                channels, outputs = 32 * max(1, channels // 32), 32 * max(1, outputs // 32)
            size = draw.choice((7, 8, 14, 15, 16, 28, 31))
            sizes = draw.randint(1, 5), channels, outputs, size, k, draw.choice((1, 2, 3)), k // 2, groups
            wanted = [groups == 1 and draw.random() < 0.5, True, draw.random() < 0.5]
            args = backward(sizes, HALF, draw.random() < 0.25, wanted)
            computed, real = ours(func, args), theirs(func, args)
            assert abs(computed - real) <= 0.01 * real, (sizes, args[3:])
            off, drawn = off + (computed != real), drawn + 1
    assert off <= drawn // 20
