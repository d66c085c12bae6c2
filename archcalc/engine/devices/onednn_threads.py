"""How oneDNN splits the gradient of a convolution's weight among threads: `balance` of its kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator

Split = tuple[int, int, int]
"""Among how many threads images, blocks of outputs and blocks of inputs are split."""


def splits(images: int, outputs: int, inputs: int, threads: int) -> Iterator[Split]:
    """All splits of so many images, blocks of outputs and blocks of inputs.

    >>> list(splits(2, 2, 4, 2))
    [(1, 1, 2), (1, 2, 1), (2, 1, 1)]
    """
    for of_images in range(1, min(threads, images) + 1):
        left = threads // of_images
        for of_outputs in range(1, min(left, outputs) + 1):
            yield of_images, of_outputs, min(left // of_outputs, inputs)


def cheapest(images: int, outputs: int, inputs: int, threads: int, cost: Callable[[Split], float]) -> Split:
    """The split of the lowest cost; of several such the last."""
    return min(reversed([(1, 1, 1), *splits(images, outputs, inputs, threads)]), key=cost)


def shared_by(of_images: int, images: int, threads: int) -> int:
    """Among how many threads the images are split in the end: among all, where more than half of them would do.

    >>> shared_by(3, 8, 4), shared_by(2, 8, 4)
    (4, 2)
    """
    return min(images, threads) if threads // 2 < of_images < threads else of_images
