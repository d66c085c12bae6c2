"""Bytes inside a product of matrices in bfloat16 on CPU, which oneDNN computes where the processor can.

Each thread packs the columns of the second matrix that it works on, adds up its results in float32, and packs the first
matrix too if that is transposed. Read off the allocator's events with 2 threads and AVX-512 (torch 2.13): equal to the
byte for sums of up to 512 numbers, and near the truth beyond.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archcalc.engine.devices import processor

LEAST = 16**3
"""Multiply-adds up to which torch multiplies by itself."""
COLUMNS, ROWS, SUMMED, PAIRS = 64, 256, 512, 32
"""Columns and rows that a thread works on at once, numbers of a sum that it packs, and what those are padded to."""
FEW = 64
"""Rows up to which it packs twice as many."""
BOOKS, PACKED = 1_664, 128
"""Bytes that list the small products, and that align the packed first matrix."""
HALF, FLOAT = 2, 4


def scratch(first: Tensor, second: Tensor) -> int:
    """Bytes that the product of two matrices, or of two batches of matrices, uses inside."""
    *batch, rows, summed = first.shape
    columns, number = second.shape[-1], batch[0] if batch else 1
    size = number * rows * summed * columns
    if first.dtype is not torch.bfloat16 or not processor.has_bfloat16() or size <= LEAST:
        return 0
    threads, transposed = processor.threads(), first.stride(-1) != 1 and summed > 1
    shared = number < threads and (transposed or -(-columns // COLUMNS) % threads > 0)
    at_once = _even(-(-rows // threads), ROWS) if shared else _even(rows, ROWS)
    deep = min(-(-summed // PAIRS) * PAIRS, SUMMED if at_once > FEW else 2 * SUMMED)
    packed = deep * COLUMNS * HALF
    added_up = at_once * min(columns, COLUMNS) * FLOAT
    first_packed = at_once * deep * HALF if transposed else 0
    return BOOKS + threads * (packed + added_up + first_packed) + (PACKED if transposed else 0)


def _even(rows: int, most: int) -> int:
    """Rows at once if they are cut into as few equal parts as need be."""
    parts = -(-rows // most)
    return -(-rows // parts) if parts else 0
