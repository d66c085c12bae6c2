"""Bytes that oneDNN's convolutions use beside copies of their operands: sums of several threads, padded biases.

Read off the allocator's events with 2 threads. The split of the gradient of a weight among threads follows oneDNN's own
rule for its AVX-512 kernels (`balance`). In bfloat16, and for the gradient of a strided
convolution's input, the size is near the truth and not equal to it: docs/accuracy.md has the differences.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from torch import Tensor

from archcalc.engine.devices.onednn_convolutions import Convolution, Layouts, image_bytes, weight_bytes, whole

FLOAT, ALIGNED = 4, 128
BARRIERS = 8_320
"""Bytes of the barriers at which threads wait that add up a gradient."""
BIAS = 12_288
"""Bytes in which threads add up the gradient of a bias."""
BATCHES = 12_336
"""Bytes in which a kernel by small matrix products lists them."""
ACCUMULATED = 30_720
"""Bytes in which a thread of the strided kernel adds up small products."""
WEIGHT_COST = 8
"""What oneDNN's rule takes a weight's element to cost beside one of an image."""
SPREAD = 14_728
"""Bytes around images whose channels are spread."""
POSITIONS = 512
"""Positions for each thread from which one product is shared by all threads."""


def padded_bias(c: Convolution, layouts: Layouts) -> int:
    """A copy of the bias for whole blocks of outputs."""
    channels = c.outputs * c.groups
    padded = whole(channels, layouts.outputs or 1)
    return 0 if padded == channels else FLOAT * padded + ALIGNED


def of_forward(c: Convolution, layouts: Layouts, y: Tensor, biased: bool, threads: int) -> int:
    """Bytes beside the copies in a forward pass; in bfloat16 a product for each position is added up in float32."""
    if layouts.weight is None:
        return _sharing(y, threads) * _columns(c, y) + ALIGNED
    stored = _stored(y, layouts, threads) if c.half and c.points and c.groups == 1 else 0
    if stored and c.strided:
        stored += _positions_read(c, y, threads)
    return stored + (padded_bias(c, layouts) if biased else 0)


def of_data(c: Convolution, layouts: Layouts, grad: Tensor, x: Tensor, threads: int) -> int:
    """Bytes beside the copies when the gradient of the input is computed."""
    if layouts.weight is None:
        return _sharing(grad, threads) * _columns(c, grad) + ALIGNED
    if c.half and c.points and not c.strided and c.groups == 1:
        return _stored(x, layouts, threads)
    if c.strided and c.groups == 1 and not c.dilated:
        return threads * (ACCUMULATED + grad.nbytes // grad.shape[0])
    return 0


def of_small_products(c: Convolution) -> int:
    """Bytes beside the copies where images are in channels-last order."""
    return 0 if c.groups > 1 else BATCHES


def of_weights(c: Convolution, layouts: Layouts, x: Tensor, grad: Tensor, biased: bool, threads: int) -> int:
    """Bytes beside the copies when the gradients of weight and bias are computed; `x` is the image that is read."""
    if layouts.weight is None:
        sharing = _sharing(grad, threads) if x.shape[0] > 1 or c.groups > 2 else 1
        sums = 2 + 2 * sharing if c.half else 4 * sharing
        return sharing * _columns(c, grad) + sums * weight_bytes(c, None, FLOAT) + (7 if c.half else 2) * ALIGNED
    if c.groups > 1:
        return weight_bytes(c, layouts.weight, FLOAT) if c.half and not c.depthwise else 0
    weight = weight_bytes(c, layouts.weight, FLOAT)
    block = layouts.outputs
    single = c.outputs <= block
    sums = padded_bias(c, layouts) if biased else 0
    images = _split(c, block, x, grad, threads)
    if c.half:
        return weight + (0 if c.points else threads * _transposed(x, grad)) + sums
    if images > 1:
        sums += (images - 1) * weight + BARRIERS + FLOAT * whole(c.outputs, block) + (BIAS + 64 if biased else 0)
    elif biased and single and block == 16:
        sums += BIAS + 64
    return sums + (_positions_read(c, grad, threads) if c.points and c.strided else 0)


def of_spread_channels(c: Convolution, x: Tensor, grad: Tensor) -> int:
    """Images in channels-last order whose channels are groups, each spread to a block and transposed, in bfloat16."""
    elements = sum(image.shape[2] * (image.shape[-1] + 2) for image in (x, grad))
    return c.groups * c.lanes * elements * x.element_size() + SPREAD


def _positions_read(c: Convolution, y: Tensor, threads: int) -> int:
    """The positions that a strided product for each position reads, of one image in each thread."""
    return threads * whole(c.inputs, c.lanes) * prod(y.shape[2:]) * y.element_size() + ALIGNED


def _stored(result: Tensor, layouts: Layouts, threads: int) -> int:
    """One image of the result in float32 for each thread."""
    image = image_bytes(result, layouts.outputs) // result.element_size() // result.shape[0]
    return FLOAT * threads * image + ALIGNED


def _columns(c: Convolution, y: Tensor) -> int:
    """The positions of one group's input that the kernel reads, unfolded."""
    if c.points and not c.strided:
        return 0
    return c.inputs * prod(c.kernel) * _positions(y) * y.element_size()


def _positions(y: Tensor) -> int:
    """The positions of one image, or of one slice of a volume."""
    return prod(y.shape[2:][-2:])


def _sharing(y: Tensor, threads: int) -> int:
    """How many products run side by side, each in a thread; large ones run one after the other in all threads."""
    return threads if _positions(y) < POSITIONS * threads else 1


def _transposed(x: Tensor, grad: Tensor) -> int:
    """One image and its outputs, transposed for products in pairs, rows padded."""
    return sum(image.element_size() * prod(image.shape[1:-1]) * (image.shape[-1] + 8) for image in (x, grad))


def _split(c: Convolution, block: int, x: Tensor, grad: Tensor, threads: int) -> int:
    """Among how many threads the batch is split; the others are split among blocks of outputs and of inputs."""
    batch, outputs, inputs = x.shape[0], -(-c.outputs // block), -(-c.inputs // block)
    if block == 8 or c.points:
        return 1 if outputs * inputs >= threads else min(batch, threads)
    inside = prod(x.shape[2:]) / prod(c.stride) * block
    outside, taps = prod(grad.shape[2:]) * block, prod(c.kernel) * block * block

    def memory(split: tuple[int, int, int]) -> float:
        images, of_outputs, of_inputs = split
        many, few = -(-outputs // of_outputs), -(-inputs // of_inputs)
        return -(-batch // images) * (few * inside + many * outside) + WEIGHT_COST * many * few * taps

    def work(split: tuple[int, int, int]) -> int:
        return -(-batch // split[0]) * -(-outputs // split[1]) * -(-inputs // split[2])

    best = min(reversed([(1, 1, 1), *_splits(batch, outputs, inputs, threads)]), key=memory)
    least, fewest = memory(best), work(best)
    for split in _splits(batch, outputs, inputs, threads):
        if work(split) <= fewest and (memory(split) < 1.1 * least or 4 * work(split) < 3 * fewest):
            best, fewest = split, work(split)
    images = best[0]
    return min(batch, threads) if threads // 2 < images < threads else images


def _splits(batch: int, outputs: int, inputs: int, threads: int) -> Iterator[tuple[int, int, int]]:
    for images in range(1, min(threads, batch) + 1):
        left = threads // images
        for of_outputs in range(1, min(left, outputs) + 1):
            yield images, of_outputs, min(left // of_outputs, inputs)
