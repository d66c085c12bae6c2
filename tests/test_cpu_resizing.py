"""Memory inside resized images, moved channels and normalised groups on CPU, beside the allocator's events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.allocations import ours, theirs

aten = torch.ops.aten
LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
DTYPES = (torch.float32, torch.bfloat16)
RESIZED = {
    3: ("upsample_linear1d", "upsample_nearest1d", "_upsample_nearest_exact1d"),
    4: ("upsample_bilinear2d", "upsample_bicubic2d", "upsample_nearest2d", "_upsample_nearest_exact2d"),
    5: ("upsample_trilinear3d", "upsample_nearest3d", "_upsample_nearest_exact3d"),
}


def forms(shape: tuple[int, ...], dtype: torch.dtype) -> Iterator[Tensor]:
    """A tensor in the usual order, in channels-last order, with its last dimensions turned, and one number expanded."""
    x = torch.randn(shape).to(dtype)
    yield x
    if x.dim() in LAST:
        yield x.contiguous(memory_format=LAST[x.dim()])
    yield x.mT.contiguous().mT
    yield torch.ones((), dtype=dtype).expand(shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("rank", RESIZED)
def test_resized_images(rank: int, channels: int, dtype: torch.dtype) -> None:
    """Tables of places and weights; small images, and those of more than three channels, in channels-last order."""
    for x in forms((2, channels, 5, 6, 7)[:rank], dtype):
        for name in RESIZED[rank]:
            for last in (14, 140):
                size = [*(2 * n for n in x.shape[2:-1]), last]
                args = (x, size) if "nearest" in name else (x, size, False)
                func = getattr(aten, name).default
                assert ours(func, args) == theirs(func, args), (name, x.stride(), size)


@pytest.mark.parametrize("name", ["_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"])
def test_antialiased_images(name: str) -> None:
    """Width first, then height; a dimension that stays as it is needs nothing; given scales decide the windows."""
    func, x = getattr(aten, name).default, torch.randn(2, 4, 10, 12)
    for size in ([20, 24], [5, 6], [4, 24], [20, 5], [10, 24], [20, 12], [10, 12], [1, 1]):
        for settings in ((False,), (True,), (False, size[0] / 10 + 0.02, size[1] / 12 + 0.02)):
            args = (x, size, *settings)
            assert ours(func, args) == theirs(func, args), (size, settings)


@pytest.mark.parametrize("dtype", DTYPES)
def test_channels_that_move_and_gradients_of_resized_images(dtype: torch.dtype) -> None:
    cases: list[tuple[Any, tuple[int, ...], tuple[Any, ...]]] = [
        (aten.pixel_shuffle.default, (2, 8, 6, 6), (2,)),
        (aten.pixel_unshuffle.default, (2, 8, 6, 6), (2,)),
        (aten.channel_shuffle.default, (2, 8, 6, 6), (2,)),
        (aten.repeat.default, (2, 8, 6), ([3, 1, 2, 1],)),
        (aten.upsample_linear1d_backward.default, (2, 3, 20), ([20], [2, 3, 10], False)),
        (aten.upsample_nearest1d_backward.default, (2, 3, 20), ([20], [2, 3, 10])),
    ]
    for func, shape, settings in cases:
        for x in forms(shape, dtype):
            assert ours(func, (x, *settings)) == theirs(func, (x, *settings)), (func, x.stride())


@pytest.mark.parametrize(("shape", "times"), [((), []), ((), [2]), ((3,), [0]), ((3,), [1, 4]), ((2, 3), [2, 0, 1])])
def test_repeats_of_any_rank(shape: tuple[int, ...], times: list[int]) -> None:
    """Nothing is repeated for an empty result."""
    x = torch.randn(shape)
    assert ours(aten.repeat.default, (x, times)) == theirs(aten.repeat.default, (x, times))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [6, 31, 32, 40])
def test_normalised_groups(size: int, threads: int, dtype: torch.dtype) -> None:
    """2·N·C numbers of float32 in channels-last order, of each thread from 1,024 elements a channel on."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x, weight = torch.randn(2, 8, size, size).to(dtype), torch.ones(8, dtype=dtype)
        for form in (x, x.contiguous(memory_format=torch.channels_last)):
            args = (form, weight, weight, 2, 8, size * size, 4, 1e-5)
            assert ours(aten.native_group_norm.default, args) == theirs(aten.native_group_norm.default, args)
            _, mean, deviation = aten.native_group_norm.default(*args)
            back = (x, form, mean, deviation, weight, 2, 8, size * size, 4, [True] * 3)
            func = aten.native_group_norm_backward.default
            assert ours(func, back) == theirs(func, back)
    finally:
        torch.set_num_threads(before)


def test_likelihoods_of_all_ends() -> None:
    """12 steps of 2·5 + 1 states for 3 samples: 12·11·3 numbers of 4 bytes."""
    logits, targets = torch.randn(12, 3, 7).log_softmax(-1), torch.randint(1, 7, (3, 5))
    lengths = [12] * 3, [5] * 3
    loss, begins = aten._ctc_loss.default(logits, targets, *lengths, 0, False)
    args = (torch.ones(3), logits, targets, *lengths, loss, begins, 0, False)
    assert ours(aten._ctc_loss_backward.default, args) == 12 * 11 * 3 * 4
    assert theirs(aten._ctc_loss_backward.default, args) == 12 * 11 * 3 * 4
