"""Bytes in which oneDNN computes the gradient of a convolution's weight in bfloat16, with AVX-512's own products.

Two numbers of bfloat16 are multiplied at once, so that images are copied in pairs; gradients are added up in float32,
once for each thread that takes a part of the batch. The sizes are those that oneDNN 3.12 asks for: `init_conf`,
`balance` and `init_scratchpad` of its kernels `jit_bf16` and `jit_bf16_1x1`. Processors with tiles (AMX) take others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from torch import Tensor

from archcalc.engine.devices import processor
from archcalc.engine.devices.onednn_convolutions import Convolution, whole
from archcalc.engine.devices.onednn_threads import Split, cheapest, shared_by

HALF, FLOAT = 2, 4
BLOCK = 16
"""Channels of a block."""
ALIGNED, PAGE = 128, 4096
"""Bytes that a piece of scratch is larger for its alignment, and a page: threads wait at barriers of one each."""
FULL_IMAGE = 48 * 1024
"""Bytes of rows up to which whole images are worked on, from DEEP channels on."""
DEEP = 128
ON_THE_RIGHT = 28
"""Positions that a kernel takes at once."""
LARGE_ROW = 124
"""Positions of a row from which a large first layer is worked on in parts."""
WEIGHT_COST = 4
"""Numbers of an image that cost as much as one weight, in oneDNN's rule for kernels of one element."""


@dataclass(frozen=True)
class _Job:
    """A gradient of a weight: channels of one group in whole blocks, image sizes as depth, height and width."""

    c: Convolution
    batch: int
    read: tuple[int, int, int]
    made: tuple[int, int, int]
    threads: int

    @property
    def first(self) -> bool:
        """Whether the image has so few channels that it is read as it is, as in a first layer."""
        return self.c.inputs < BLOCK and self.c.groups == 1 and not self.c.points

    @property
    def outputs(self) -> int:
        """Blocks of outputs."""
        return -(-self.c.outputs // BLOCK)

    @property
    def inputs(self) -> int:
        """Blocks of inputs."""
        return 1 if self.first else -(-self.c.inputs // BLOCK)

    @property
    def input_block(self) -> int:
        """Channels of a block of inputs."""
        return self.c.inputs if self.first else BLOCK

    @property
    def sums(self) -> int:
        """Elements of the weight in whole blocks."""
        return self.c.groups * self.outputs * BLOCK * self.inputs * self.input_block * prod(self.c.kernel)


def known(c: Convolution) -> bool:
    """Whether these kernels compute the gradient: in blocks of 16 channels, on a processor with such products."""
    blocked = c.groups == 1 or (c.inputs % BLOCK == 0 and c.outputs % BLOCK == 0)
    return c.half and c.lanes == BLOCK and blocked and processor.multiplies_bfloat16()


def of_weights(c: Convolution, x: Tensor, grad: Tensor, biased: bool, threads: int) -> int:
    """Bytes beside the copies of images and the result; `x` is the image that is read."""
    read, made = _sizes(x), _sizes(grad)
    if c.points and c.groups == 1 and not any(c.padding):
        return _of_points(_Job(c, x.shape[0], made, made, threads), biased)
    return _of_windows(_Job(c, x.shape[0], read, made, threads), biased)


def _sizes(image: Tensor) -> tuple[int, int, int]:
    return _padded(tuple(image.shape[2:]), 1)


def _padded(values: tuple[int, ...], missing: int) -> tuple[int, int, int]:
    """Three numbers, of depth, height and width."""
    first, second, third = (*[missing] * (3 - len(values)), *values)
    return first, second, third


def _pieces(*sizes: int) -> int:
    """Bytes of pieces of scratch, each aligned; one of no bytes is not there."""
    return sum(size + ALIGNED for size in sizes if size)


def _barriers(number: int) -> int:
    return (number + 1) * PAGE


def _reduction(job: _Job, images: int, biased: bool) -> int:
    """Sums of weight and bias in float32, for each part of the batch."""
    bias = job.c.groups * job.outputs * BLOCK if biased else 0
    return FLOAT * images * (job.sums + bias)


# ---- kernels of one element ----------------------------------------------------------------------


def _of_points(job: _Job, biased: bool) -> int:
    """One product of matrices, of outputs by inputs over all positions; strided images are read into small ones."""
    c, positions = job.c, prod(job.made)
    unturned = min(job.made[1:]) > 14 and (len(c.kernel) < 3 or job.outputs * BLOCK <= 64)
    images, of_outputs, of_inputs = (
        (1, 1, 1) if job.threads < c.groups else _least(job, _points_cost(job, positions, unturned), job.threads)
    )
    threads = 1 if job.threads < c.groups else images * c.groups * of_outputs * of_inputs
    bias = HALF * job.outputs * BLOCK if biased and c.outputs % BLOCK else 0
    turned = 0 if unturned else threads * HALF * whole(positions, 2) * BLOCK
    many_outputs = divider(job.outputs, 16, job.outputs, largest=False)
    many_inputs = at_once(job.inputs)
    packed = threads * HALF * many_inputs * positions * BLOCK if c.strided else 0
    scratch = _pieces(bias, _reduction(job, images, biased), turned * many_outputs, turned * many_inputs, packed)
    return scratch + (_barriers(1) if images > 1 else 0)


def _points_cost(job: _Job, positions: int, unturned: bool) -> tuple[int, Callable[[Split], float]]:
    """The parts of the batch, and what a split costs a thread: reads of both images, and sums."""
    step = _step(job, positions, unturned)
    parts = job.batch * -(-positions // step)
    weight = WEIGHT_COST * max(1, job.outputs // job.inputs)

    def cost(split: Split) -> float:
        images, of_outputs, of_inputs = split
        part, many, few = -(-parts // images), -(-job.outputs // of_outputs), -(-job.inputs // of_inputs)
        return part * (few + many) * BLOCK * step + weight * many * few * BLOCK * BLOCK

    return parts, cost


def _step(job: _Job, positions: int, unturned: bool) -> int:
    """The positions that are added up at once."""
    if unturned:
        step = divider(positions, 7, min(256, positions), largest=True, by=2)
    else:
        step = divider(positions, 8, 16, largest=True, by=2)
    if positions % step:
        step = divider(job.made[2], 4, job.made[2], largest=unturned, by=2)
    step = 1 if step > 256 else step
    return step if unturned else whole(step, 2)


def at_once(blocks: int) -> int:
    """The blocks of inputs that a kernel of one element reads at once."""
    return divider(blocks, 5, blocks, largest=False)


def divider(value: int, least: int, most: int, largest: bool, by: int = 1) -> int:
    """The number from `most` down to `least` whose multiples exceed a value by the smallest share."""
    most = max(1, min(most, value))
    numbers = range(most, max(1, min(least, most)) - 1, -by)
    losses = {number: 1 - value / whole(value, number) for number in numbers}
    return min(numbers if largest else reversed(numbers), key=lambda number: losses[number])


# ---- larger kernels ------------------------------------------------------------------------------


def _of_windows(job: _Job, biased: bool) -> int:
    """Both images in pairs, for each part of the batch; barriers where several threads fill one copy."""
    c = job.c
    unturned = len(c.kernel) == 3 and c.kernel[2] == 1 and c.stride[2] == 1 and not c.dilated and not job.first
    pad, read_row = _row(job)
    made_row = whole(job.made[2], 2)
    in_parts = job.first and _large(job)
    cost = _windows_cost(job, read_row if not (job.first or unturned) else job.read[2], made_row, pad)
    images, of_outputs, of_inputs = (1, 1, 1) if job.threads < c.groups else _least(job, cost, job.threads)
    threads = job.threads if job.threads < c.groups else images * c.groups * of_outputs * of_inputs
    scratch = _pieces(_reduction(job, images, biased)) + (0 if in_parts else _barriers(1))
    if unturned:
        return scratch
    read = 0 if job.first else images * job.inputs * c.groups * read_row * BLOCK * prod(job.read[:2])
    copies = threads if in_parts else images * job.outputs * c.groups
    scratch += _pieces(HALF * (read + pad), HALF * copies * made_row * BLOCK * prod(job.made[:2]))
    shared = [threads // parts for parts in (of_outputs, of_inputs) if parts > 1]
    return scratch + (0 if in_parts else sum(map(_barriers, shared)))


def _row(job: _Job) -> tuple[int, int]:
    """The padding that rows of the image share, and a row's length with it."""
    step, before, width, made = job.c.stride[-1], job.c.padding[-1], job.read[2], job.made[2]
    reach = width + 2 * before - made + 1 if job.c.dilated else job.c.kernel[-1]
    behind = max(0, (made - 1) * step + reach - width - before)
    pad = whole(max(before, behind + 1), 2)
    return pad, whole(-(-width // step) + pad, 2) * step


def _large(job: _Job) -> bool:
    """Whether the gradient of one image is larger than the second cache and has long rows."""
    deep, high, wide = job.made
    rows = wide >= LARGE_ROW and high > 1 if len(job.c.kernel) < 3 else wide * high >= 64 * LARGE_ROW and deep > 1
    return rows and FLOAT * job.c.outputs * prod(job.made) >= processor.second_cache()


def _whole_images(job: _Job, read_row: int, made_row: int) -> bool:
    """Whether a thread works on whole images: deep ones that keep their size, whose rows are short."""
    c = job.c
    kernel, padding = _padded(c.kernel, 1)[1:], _padded(c.padding, 0)[1:]
    kept = job.read == job.made and not c.strided and not c.dilated and len(c.kernel) < 3 and not job.first
    centred = 1 not in kernel and all(p == k // 2 for p, k in zip(padding, kernel, strict=True))
    rows = HALF * BLOCK * (read_row + made_row) * max(1, padding[0])
    return kept and centred and rows <= FULL_IMAGE and job.inputs * BLOCK >= DEEP


def _windows_cost(job: _Job, read_row: int, made_row: int, pad: int) -> tuple[int, Callable[[Split], float]]:
    """The parts of the batch, and what a split costs a thread; the dearer kind of channels weighs more."""
    c = job.c
    parts = job.batch
    if not _whole_images(job, read_row, made_row):
        parts *= job.made[0] if len(c.kernel) == 3 else job.made[1]
    outputs, inputs = job.outputs * BLOCK, job.inputs * job.input_block
    read, made = inputs * prod(job.read[:2]) * read_row, outputs * prod(job.made[:2]) * made_row
    taps = prod(c.kernel)
    balance = 0.5 * HALF * job.batch * (read + made) / (FLOAT * outputs * inputs * taps)
    ratio = job.outputs / job.inputs
    of_read = max(1 / ratio, 1.0) * (4 if balance < 1 else 1)

    def cost(split: Split) -> float:
        images, of_outputs, of_inputs = split
        part, many, few = -(-parts // images), -(-job.outputs // of_outputs), -(-job.inputs // of_inputs)
        share = part * job.batch / parts
        reads = of_read * share * few * job.input_block * prod(job.read[:2]) * read_row / prod(c.stride)
        writes = max(ratio, 1.0) * share * many * BLOCK * prod(job.made[:2]) * made_row
        return reads + writes + max(balance, 1.0) * many * few * taps * job.input_block * BLOCK

    return parts, cost


# ---- threads -------------------------------------------------------------------------------------


def _least(job: _Job, of: tuple[int, Callable[[Split], float]], threads: int) -> Split:
    """The split among threads that costs least."""
    parts, cost = of
    threads //= job.c.groups
    images, of_outputs, of_inputs = cheapest(parts, job.outputs, job.inputs, threads, cost)
    return shared_by(images, parts, threads), of_outputs, of_inputs
