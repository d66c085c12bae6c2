"""Bytes inside a product of matrices on CPU: copies of operands that its kernel cannot read, and oneDNN's buffers."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.devices import onednn_products, processor

SMALL = 400
"""Multiply-adds of a matrix of a batch below which torch multiplies by itself, whatever the strides."""


def of_matrices(first: Any, second: Any) -> int:
    """Bytes inside a product of two matrices; 0 for what are no matrices."""
    if not (isinstance(first, Tensor) and isinstance(second, Tensor)):
        return 0
    copied = [_copied(matrix) for matrix in (first, second)]
    read = (matrix if copy is None else copy for matrix, copy in zip((first, second), copied, strict=True))
    return sum(copy.nbytes for copy in copied if copy is not None) + onednn_products.scratch(*read)


def of_vector(matrix: Tensor) -> int:
    """Bytes inside a product of a matrix and a vector."""
    copy = _copied(matrix)
    return (0 if copy is None else int(copy.nbytes)) + onednn_products.of_vector(matrix if copy is None else copy)


def of_batches(first: Tensor, second: Tensor) -> int:
    """Bytes inside a product of two batches of matrices.

    oneDNN reads batches without gaps, and copies others as a whole. BLAS goes through batches matrix by matrix where it
    cannot read them, and each of those is copied.
    """
    _, rows, summed = first.shape
    if by_onednn(first, second):
        dense = [_dense(batch) for batch in (first, second)]
        copies = sum(batch.nbytes for batch, copy in zip((first, second), dense, strict=True) if copy is not batch)
        return copies + onednn_products.scratch(*dense)
    if rows * summed * second.shape[-1] < SMALL or not first.shape[0]:
        return 0
    return sum(copy.nbytes for batch in (first, second) if (copy := _copied(batch[0])) is not None)


def by_onednn(first: Tensor, second: Tensor) -> bool:
    """Whether oneDNN computes the product."""
    large = prod(first.shape) * second.shape[-1] > onednn_products.LEAST
    return first.dtype is torch.bfloat16 and processor.has_bfloat16() and large


def _dense(batch: Tensor) -> Tensor:
    """The batch as oneDNN reads it: itself, if its matrices or their transposes lie behind one another."""
    _, rows, columns = batch.shape
    fits = batch.is_contiguous() or batch.stride() == (rows * columns, 1, rows)
    return batch if fits else torch.empty(batch.shape, dtype=batch.dtype, device="meta")


def _copied(matrix: Tensor) -> Tensor | None:
    """BLAS reads rows or columns that lie behind one another; the copy of any other, such as an expanded number."""
    (rows, columns), (down, right) = matrix.shape, matrix.stride()
    fits = (right == 1 and down >= max(1, columns)) or (down == 1 and right >= max(1, rows))
    return None if fits or not matrix.numel() else torch.empty(matrix.shape, dtype=matrix.dtype, device="meta")
