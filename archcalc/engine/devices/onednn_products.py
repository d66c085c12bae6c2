"""Bytes inside a product of matrices in bfloat16 on CPU, which oneDNN computes where the processor can.

Each thread packs the columns of the second matrix that it works on, adds up its results in float32, and packs the first
matrix too if that is transposed. How many rows, columns and numbers of a sum a thread takes at once is chosen by
oneDNN's own rule for AVX-512 (`compute_blocking_heuristic_avx512` of oneDNN 3.12, the version in torch 2.13), which is
followed here; processors with AMX have another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from archcalc.engine.devices import processor
from archcalc.engine.devices.onednn_convolutions import whole

LEAST = 16**3
"""Multiply-adds up to which torch multiplies by itself."""
COLUMNS, ROWS, SUMMED, PAIRS = 64, 256, 512, 32
"""Columns and rows that a thread works on at most, numbers of a sum that it packs, and what those are padded to."""
FEWEST, FEWEST_ALONE = 32, 16
"""Rows that it takes at least, and where there is less work than threads."""
LONG, LONGER, SHARING = 1_024, 2_048, 4
"""Numbers of a sum past which twice as many are packed, and from which up to so many threads share one sum."""
TURNS = 16
"""Blocks of columns for which a transposed matrix is packed once, at most."""
TALL, FAR = 1_024, 4_096
"""Rows and numbers of a sum, a power of two, from which also a matrix that is not transposed is packed."""
LISTED, ALIGNED = 16 * 40, 128
"""Bytes that list a thread's small products, and that align each buffer."""
HALF, FLOAT = 2, 4


@dataclass(frozen=True)
class Product:
    """The sizes of a product of matrices, or of a batch of them, and whether the first lies in memory transposed."""

    number: int
    rows: int
    summed: int
    columns: int
    transposed: bool


@dataclass(frozen=True)
class Blocks:
    """Rows and columns of a thread's block, blocks that it works on in turn, and threads that share a sum."""

    rows: int
    columns: int
    turns: int
    sharing: int


def scratch(first: Tensor, second: Tensor) -> int:
    """Bytes that the product of two matrices, or of two batches of matrices, uses inside; 0 if oneDNN has no part."""
    if first.dtype is not torch.bfloat16:
        return 0
    *batch, rows, summed = first.shape
    columns = second.shape[-1]
    if columns == 1 and not batch:  # one column is computed as one row
        rows, columns = 1, rows
    transposed = first.stride(-1) != 1 and summed > 1 and rows > 1
    return bytes_inside(Product(batch[0] if batch else 1, rows, summed, columns, transposed))


def of_vector(matrix: Tensor) -> int:
    """Bytes that the product of a matrix and a vector uses inside; 0 if oneDNN has no part."""
    rows, summed = matrix.shape
    transposed = matrix.stride(-1) != 1 and summed > 1 and rows > 1
    return bytes_inside(Product(1, rows, summed, 1, transposed)) if matrix.dtype is torch.bfloat16 else 0


def bytes_inside(p: Product) -> int:
    """Bytes that a product in bfloat16 uses inside; 0 for one that torch computes by itself."""
    taken = processor.has_bfloat16() and p.number * p.rows * p.summed * p.columns > LEAST
    return _of_all_threads(p, processor.threads()) if taken else 0


@cache
def _of_all_threads(p: Product, threads: int) -> int:
    """The bytes of all buffers of all threads."""
    blocks, deep = _blocks(p, threads), _deep(p)
    packed = whole(deep, PAIRS) * COLUMNS
    if blocks.sharing > 1:
        added_up = p.rows * p.columns
    else:
        added_up = blocks.rows * blocks.columns * (blocks.turns if deep < p.summed else 1)
    buffers = [LISTED, packed * HALF, added_up * FLOAT]
    if _packs_first(p):
        row = whole(deep, PAIRS)
        row += PAIRS if row >= SUMMED and _power_of_two(row) else 0
        buffers.append(blocks.rows * row * HALF)
    return sum(threads * buffer + ALIGNED for buffer in buffers)


def _deep(p: Product) -> int:
    """The numbers of a sum that are packed at once."""
    return min(p.summed, 2 * SUMMED if p.summed > LONG and p.rows > 1 and not p.transposed else SUMMED)


def _packs_first(p: Product) -> bool:
    return p.transposed or (p.rows >= TALL and p.summed >= FAR and _power_of_two(p.summed))


def _blocks(p: Product, threads: int) -> Blocks:
    """The blocks that leave the least work uneven among threads; of equals, the largest."""
    columns = min(COLUMNS, p.columns)
    across = -(-p.columns // columns)
    alone = threads > p.number * across
    fewest = min(FEWEST_ALONE if alone else FEWEST, p.rows)
    turns = min(TURNS if _packs_first(p) else 1, across)
    shares = alone and p.number == 1 and p.transposed and p.summed >= LONGER and _power_of_two(p.summed)
    return _evenest(p, Blocks(fewest, columns, turns, min(threads, SHARING) if shares else 1), threads)


def _evenest(p: Product, limits: Blocks, threads: int) -> Blocks:
    """Of blocks of more rows and fewer turns and threads than these the first that leave the least work uneven.

    Blocks that are too few for all threads are passed over; the fewest rows stand in where no others are better.
    """
    best, least = Blocks(limits.rows, limits.columns, 1, 1), 1.0
    for shared in range(limits.sharing, 0, -1):
        fallback, found = Blocks(limits.rows, limits.columns, 1, shared), False
        for turns in range(limits.turns, 0, -1):
            for rows in range(min(ROWS, p.rows), limits.rows - 1, -1):
                blocks = Blocks(rows, limits.columns, turns, shared)
                work, left = _work(p, blocks), threads // shared
                too_few = limits.sharing == 1 and work < 3 * left and work % left
                if not too_few and (uneven := _uneven(p, blocks, threads)) < least:
                    best, least, found = blocks, uneven, True
        if not found and (uneven := _uneven(p, fallback, threads)) < least:
            best, least = fallback, uneven
    return best


def _work(p: Product, blocks: Blocks) -> int:
    """The pieces of work that threads can take."""
    return p.number * -(-p.rows // blocks.rows) * -(-p.columns // (blocks.columns * blocks.turns))


def _uneven(p: Product, blocks: Blocks, threads: int) -> float:
    """The share of threads and of blocks that is left over, as oneDNN adds it up."""
    left, across = threads // blocks.sharing, -(-p.columns // blocks.columns)
    in_turns = -(-across // blocks.turns)
    of_rows = (blocks.rows * -(-p.rows // blocks.rows)) % p.rows / p.rows
    of_columns = (in_turns * blocks.turns - across) / across
    idle = (threads - left * blocks.sharing) / threads
    of_sums = _left_over(p.summed, blocks.sharing * _deep(p))
    return (_left_over(_work(p, blocks), left) + of_rows + of_columns + idle + of_sums) / 5


def _power_of_two(size: int) -> bool:
    return size & (size - 1) == 0


def _left_over(work: int, at_once: int) -> float:
    rest = work % at_once
    return (at_once - rest if work < at_once else min(at_once - rest, rest)) / at_once
