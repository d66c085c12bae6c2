"""Bytes inside scaled dot product attention by torch's flash kernel for CPUs.

Each thread computes the scores of a block of queries and keys in float32, halves also as halves. The sizes of blocks
follow aten/src/ATen/native/cpu/FlashAttentionKernel.cpp; they were compared with the allocator's events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.devices import onednn_products, processor
from archcalc.engine.devices.onednn_products import Product
from archcalc.engine.meta.shape_rules import HALF

QUERIES = ((768, 256), (192, 64), (0, 32))
"""From how many queries on a block has how many."""
KEYS = 512
"""Keys of a block."""
FLOAT, HALF_WIDTH, NUMBER = 4, 2, 4
"""Bytes of numbers, and of the factor that a product of oneDNN adds its result by."""


def _forward(args: Sequence[Any], out: Any) -> int:
    """For each thread the scores of a block, a maximum and a sum for each query, and its part of the result."""
    queries, keys = _block(args[0], args[1])
    width, number = int(args[0].shape[-1]), max(FLOAT, int(args[0].element_size()))
    halves = HALF_WIDTH * queries * keys if args[0].dtype in HALF else 0
    return processor.threads() * (number * queries * (keys + 2 + width) + halves)


def _backward(args: Sequence[Any], out: Any) -> int:
    """For each thread the scores of a block and their gradients, a sum for each query; products of halves by oneDNN.

    The gradient is copied unless it lies as n, queries, h, width.
    """
    grad, query, key = args[:3]
    queries, keys = _block(query, key)
    copy = 0 if grad.transpose(1, 2).is_contiguous() else int(grad.nbytes)
    number = max(FLOAT, int(query.element_size()))
    scores = 2 * queries * keys * (number + (HALF_WIDTH if query.dtype in HALF else 0))
    return copy + processor.threads() * scores + number * queries + _products(query, queries, keys)


def _products(query: Tensor, queries: int, keys: int) -> int:
    """The larger of what two products need: one makes the gradients of keys and values, the other that of queries."""
    if query.dtype is not torch.bfloat16:
        return 0
    width = query.shape[-1]
    largest = max(
        onednn_products.bytes_inside(Product(1, keys, queries, width, transposed=True)),
        onednn_products.bytes_inside(Product(1, queries, keys, width, transposed=False)),
    )
    return largest + NUMBER if largest else 0


def _block(query: Tensor, key: Tensor) -> tuple[int, int]:
    """The queries and keys of a block."""
    asked = query.shape[2]
    return min(next(size for least, size in QUERIES if asked >= least), asked), min(KEYS, key.shape[2])


BY_OP: dict[str, Callable[[Sequence[Any], Any], int]] = {
    "_scaled_dot_product_flash_attention_for_cpu": _forward,
    "_scaled_dot_product_flash_attention_for_cpu_backward": _backward,
}
"""By op: the bytes inside."""
