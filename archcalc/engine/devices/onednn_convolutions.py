"""The layouts in which oneDNN computes convolutions, and the bytes that it copies for them.

oneDNN has a kernel for each instruction set and kind of convolution, and each kernel wants its operands in a layout of
its own: most in blocks of as many channels as a register has lanes, padded. Torch gives it tensors in the usual order;
they are copied before the call and the result after it. A convolution whose input is in channels-last order is computed
on the tensors as they are, and only its weights are copied.

The rules were read off oneDNN 3's own log (ONEDNN_VERBOSE) over kinds of convolutions, with AVX2 and with AVX-512;
tests/test_cpu_kernels.py compares the bytes with the allocator's events.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from torch import Tensor

PLAIN, LAST = 0, 1
"""Layouts of images that are not blocked: the usual order, and channels innermost. Others are the channels of a block.

A weight has a block for its outputs and one for its inputs; 1 stands for none.
"""
Weight = tuple[int, int] | None
"""The blocks of a weight's outputs and inputs; None if it is used as it is."""


@dataclass(frozen=True)
class Convolution:
    """A convolution as oneDNN sees it: a transposed one is the gradient of the one that it transposes.

    `inputs` and `outputs` are the channels of one group. `even` says that the stride divides the size of the image that
    is read. `lanes` are those of the instruction set.
    """

    inputs: int
    outputs: int
    groups: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilated: bool
    even: bool
    lanes: int
    half: bool

    @property
    def depthwise(self) -> bool:
        """Whether each group has one channel in and one out."""
        return self.groups > 1 and self.inputs == self.outputs == 1

    @property
    def points(self) -> bool:
        """Whether it is computed as a product for each position: its kernel is one element, in 3D at each position.

        Strided images are made small first, if the stride divides them.
        """
        return prod(self.kernel) == 1 and (not self.strided or (self.even and len(self.kernel) < 3))

    @property
    def strided(self) -> bool:
        """Whether it skips positions."""
        return any(step > 1 for step in self.stride)


@dataclass(frozen=True)
class Layouts:
    """The layouts of the image that is read, of the weight, and of the image of outputs."""

    inputs: int
    weight: Weight
    outputs: int


NARROW = 768
"""Bytes of all channels of a position below which four registers of them are taken at once."""
WIDEST = 14
"""The widest kernel for whose gradient oneDNN has a blocked kernel."""
MATRIX = Layouts(PLAIN, None, PLAIN)
"""The layouts of oneDNN's convolution by matrix products, which takes what no other kernel does."""


def forward(c: Convolution) -> Layouts:
    """The layouts of a forward pass on tensors in the usual order."""
    if max(c.kernel) > WIDEST and any(c.padding):
        return MATRIX
    if c.groups > 1:
        return _grouped(c)
    wide = len(c.kernel) == 2 and c.kernel[-1] > 7 and any(c.padding) and c.strided
    if c.lanes == 8 and wide:  # more than the registers of AVX2 take
        return MATRIX
    if not c.points and c.inputs < c.lanes:  # as the first layer's three channels
        return Layouts(PLAIN, (c.lanes, 2 if c.half else 1), c.lanes)
    return Layouts(c.lanes, (c.lanes, c.lanes), c.lanes)


def backward_data(c: Convolution) -> Layouts:
    """The layouts in which the gradient of the input is computed from that of the outputs."""
    if c.groups > 1:
        return _grouped(c)
    if c.strided and not c.dilated:
        return Layouts(LAST, (1, strided_columns(c)), LAST)
    return Layouts(c.lanes, (c.lanes, c.lanes), c.lanes)


def backward_weights(c: Convolution) -> Layouts:
    """The layouts in which the gradient of the weight is computed."""
    if max(c.kernel) > WIDEST:  # as in the patches of a vision transformer
        return MATRIX
    if c.depthwise:
        return _grouped(c) if max(c.kernel) <= 3 else MATRIX
    if c.groups > 1:
        grouped = _grouped(c)
        return MATRIX if grouped.inputs == 4 else grouped
    if len(c.kernel) == 3 and not c.points and (c.lanes == 8 or 3 < c.inputs < 16):
        return MATRIX
    if c.points or c.inputs >= c.lanes:
        return Layouts(c.lanes, (c.lanes, c.lanes), c.lanes)
    if c.half:
        return Layouts(PLAIN, (16, 1), 16) if c.outputs % 16 == 0 else MATRIX
    if c.inputs == 3 or (c.inputs < 3 and c.lanes == 16):
        return Layouts(PLAIN, (c.lanes, 1), c.lanes)
    return Layouts(8, (8, 8), 8)


def on_channels_last(c: Convolution, of: str) -> Weight:
    """The weight's layout where the images are in channels-last order; `of` is forward, data or weights."""
    if c.depthwise:
        return (c.lanes, c.lanes) if of == "weights" and max(c.kernel) > 3 else (c.lanes, 1)
    if c.groups > 1:
        return _grouped(c).weight
    if of == "forward":
        return columns(c.outputs, c.lanes), 1
    if of == "data":
        return 1, columns(c.inputs, c.lanes)
    return (c.lanes, 1) if not c.points and c.inputs < c.lanes else (c.lanes, c.lanes)


def _grouped(c: Convolution) -> Layouts:
    """Blocks that a group's channels fill: 16 or 8 or 4 with AVX-512, 8 with AVX2."""
    if c.depthwise:
        return Layouts(c.lanes, (c.lanes, 1), c.lanes)
    for block in (16, 8, 4) if c.lanes == 16 else (8,):
        if c.inputs % block == 0 and c.outputs % block == 0:
            return Layouts(block, (block, block), block)
    return MATRIX


def columns(channels: int, lanes: int) -> int:
    """The channels that a kernel by small matrix products takes at once: a few registers of them."""
    registers = (1, 2, 4) if lanes == 16 else (1, 2, 3, 4)
    return next((lanes * n for n in registers if channels <= lanes * n), lanes * registers[-1])


def strided_columns(c: Convolution) -> int:
    """The same where the gradient of a strided convolution's input is computed, with AVX-512 by whole registers."""
    channels = whole(c.inputs, c.lanes)
    if c.lanes == 8:
        return columns(c.inputs, c.lanes)
    narrow = channels * (2 if c.half else 4) < NARROW
    return 64 if channels % 64 == 0 and narrow else min(channels, 32)


def image_bytes(image: Tensor, layout: int) -> int:
    """Bytes of an image in a layout: its channels are padded to whole blocks."""
    channels = image.shape[1]
    padded = channels if layout in (PLAIN, LAST) else whole(channels, layout)
    return image.shape[0] * padded * prod(image.shape[2:]) * image.element_size()


def weight_bytes(c: Convolution, layout: Weight, width: int) -> int:
    """Bytes of a weight in a layout, its outputs and inputs padded to whole blocks."""
    if layout is None:
        return c.groups * c.outputs * c.inputs * prod(c.kernel) * width
    outputs, inputs = layout
    if c.depthwise and inputs == 1:  # blocks of groups
        return whole(c.groups, outputs) * prod(c.kernel) * width
    return c.groups * whole(c.outputs, outputs) * whole(c.inputs, inputs) * prod(c.kernel) * width


def whole(size: int, block: int) -> int:
    """The size rounded up to whole blocks."""
    return -(-size // block) * block


def highest(changes: Iterable[int]) -> int:
    """The most that a sequence of allocations (and what is given back, below zero) holds at once."""
    live = most = 0
    for change in changes:
        live += change
        most = max(most, live)
    return most
