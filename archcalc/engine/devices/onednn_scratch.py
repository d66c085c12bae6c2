"""Bytes that oneDNN's convolutions use beside copies of their operands: sums of several threads, padded biases.

Read off the allocator's events with 2 threads. The split of the gradient of a weight among threads follows oneDNN's own
rule for its AVX-512 kernels (`balance`), and so do the pieces of a strided convolution's gradient, for which a thread
is taken to work on whole rows. Gradients of weights in bfloat16 are in onednn_bfloat16.py. Where the processor has no
products of bfloat16, or AMX, their size is near the truth and not equal to it: docs/accuracy.md has the differences.
"""

from __future__ import annotations

from math import prod

from torch import Tensor

from archcalc.engine.devices import onednn_bfloat16
from archcalc.engine.devices.onednn_convolutions import (
    Convolution,
    Layouts,
    image_bytes,
    strided_columns,
    weight_bytes,
    whole,
)
from archcalc.engine.devices.onednn_threads import Split, cheapest, shared_by, splits

FLOAT, ALIGNED = 4, 128
BARRIERS = 8_320
"""Bytes of the barriers at which threads wait that add up a gradient."""
BIAS = 12_288
"""Bytes in which threads add up the gradient of a bias."""
BATCHES = 12_336
"""Bytes in which a kernel by small matrix products lists them."""
PRODUCT, PAGE = 40, 4096
"""Bytes in which the strided kernel notes a small product, and of a page."""
WEIGHT_COST = 8
"""Numbers of an image that cost as much as one weight, in oneDNN's rule."""
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
        return _strided(c, grad, x, threads)
    return 0


def _strided(c: Convolution, grad: Tensor, x: Tensor, threads: int) -> int:
    """Bytes of the kernel by small products for the gradient `x` of a strided convolution's input.

    Each thread has a list of products, a padded copy of the gradient that is read, a mask of what it has copied, and
    for halves a row of sums; a stride that does not divide the rows needs a row of results. Each is in whole pages.
    """
    padded = 1
    for made, read, k, step, before in zip(grad.shape[2:], x.shape[2:], c.kernel, c.stride, c.padding, strict=True):
        behind = (made - 1) * step + k - read - before
        padded *= made + max(0, k - 1 - before) // step + max(0, k - 1 - behind) // step
    row = -(-x.shape[-1] // c.stride[-1])
    products = whole(prod(c.kernel) * PRODUCT, PAGE)
    pieces = [
        whole(products, PRODUCT),
        whole(padded * c.outputs, PAGE) * grad.element_size(),
        PAGE,
    ]
    if x.shape[-1] % c.stride[-1]:
        pieces.append(whole(row * c.stride[-1] * c.inputs, PAGE) * x.element_size())
    if c.half:
        pieces.append(row * strided_columns(c) * FLOAT)
    return sum(threads * piece + PAGE for piece in pieces)


def of_transposed(c: Convolution, layouts: Layouts, x: Tensor, y: Tensor, biased: bool, threads: int) -> int:
    """Bytes beside the copies in a transposed convolution; most kernels add a bias to results in float32."""
    itself = c.strided and c.even and c.groups == 1 and not c.dilated
    scratch = 0 if c.strided and not itself else nested(of_data(c, layouts, x, y, threads))
    results = FLOAT * image_bytes(y, layouts.outputs) // y.element_size() + ALIGNED
    return scratch + (results if biased and not itself else 0)


def nested(scratch: int) -> int:
    """Scratch of a convolution inside that of a transposed one, which is aligned once more."""
    return scratch + ALIGNED if scratch else 0


def of_small_products(c: Convolution) -> int:
    """Bytes beside the copies where images are in channels-last order."""
    return 0 if c.groups > 1 else BATCHES


def of_weights(c: Convolution, layouts: Layouts, x: Tensor, grad: Tensor, biased: bool, threads: int) -> int:
    """Bytes beside the copies when the gradients of weight and bias are computed; `x` is the image that is read."""
    if layouts.weight is None:
        return _of_products(c, x, grad, biased, threads)
    if onednn_bfloat16.known(c):
        return onednn_bfloat16.of_weights(c, x, grad, biased, threads)
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
    if not (c.points and c.strided):
        return sums
    channels = onednn_bfloat16.at_once(-(-c.inputs // c.lanes)) * c.lanes
    return sums + threads * channels * prod(grad.shape[2:]) * grad.element_size() + ALIGNED


def _of_products(c: Convolution, x: Tensor, grad: Tensor, biased: bool, threads: int) -> int:
    """Columns and sums of the convolution by matrix products; oneDNN asks for a number for each byte of the weight."""
    sharing = _sharing(grad, threads) if x.shape[0] > 1 or c.groups > 2 else 1
    sums = weight_bytes(c, None, 2 if c.half else FLOAT) * FLOAT
    pieces = [sharing * _columns(c, grad), sharing * sums]
    if c.half:
        pieces += [sums, FLOAT * c.groups * c.outputs if biased else 0]
    return sum(size + ALIGNED for size in pieces if size)


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

    def memory(split: Split) -> float:
        images, of_outputs, of_inputs = split
        many, few = -(-outputs // of_outputs), -(-inputs // of_inputs)
        return -(-batch // images) * (few * inside + many * outside) + WEIGHT_COST * many * few * taps

    def work(split: Split) -> int:
        return -(-batch // split[0]) * -(-outputs // split[1]) * -(-inputs // split[2])

    best = cheapest(batch, outputs, inputs, threads, memory)
    least, fewest = memory(best), work(best)
    for split in splits(batch, outputs, inputs, threads):
        if work(split) <= fewest and (memory(split) < 1.1 * least or 4 * work(split) < 3 * fewest):
            best, fewest = split, work(split)
    return shared_by(best[0], batch, threads)
