"""nn.LSTM on CPU: oneDNN computes a layer in one direction by one call, which keeps a workspace for its backward pass.

Sizes were read off torch 2.13's allocator over random shapes (AVX-512): the workspace equal to the byte in float32 and
in bfloat16, what a call uses and gives back in float32. A leading dimension is a multiple of 64 bytes, and of no 256
elements; each section of a workspace begins on a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.devices import processor
from archcalc.engine.meta.shape_rules import new, rule

aten = torch.ops.aten
LSTM = 2
"""The mode of the kernel for this cell."""
FLOAT, PAGE = 4, 4096
ALIGNMENT = 568
"""Bytes that align the scratchpad and lead to its books."""
EQUAL_WIDTHS, UNEQUAL_WIDTHS = 448, 288
"""What evaluation adds to them, as the input of a batch is as wide as the state or not."""


def layer(
    x: Tensor, states: tuple[Tensor, ...], weights: Sequence[Any], reverse: bool, train: bool
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One layer in one direction: T, N, I -> T, N, H, and the last states."""
    w_ih, w_hh, b_ih, b_hh, _ = weights
    biased = b_ih is not None
    if not biased:
        b_ih, b_hh = torch.zeros_like(w_ih), torch.zeros_like(w_hh)
    h, c = (state.contiguous() for state in states)
    settings = reverse, (), LSTM, h.shape[-1], 1, biased, False, False, train
    y, h, c, _ = aten.mkldnn_rnn_layer(x, w_ih, w_hh, b_ih, b_hh, h, c, *settings)
    return y, (h, c)


@rule(aten.mkldnn_rnn_layer.default)
def forward(x: Tensor, w_ih: Tensor, *args: Any) -> Any:
    """The outputs, the last states, and in training the workspace; more arguments than eight: they are the op's own."""
    steps, batch, inputs = x.shape
    hidden, train = w_ih.shape[0] // 4, args[-1]
    size = workspace(steps, batch, inputs, hidden, x.element_size()) if train else 0
    return new(x, (steps, batch, hidden)), *(new(x, (batch, hidden)) for _ in "hc"), new(x, (size,), torch.uint8)


@rule(aten.mkldnn_rnn_layer_backward.default)
def backward(x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor, *args: Any) -> Any:
    """The gradients of input, weights, biases and states: float32 in any precision."""
    state = args[0]
    gradients = x, w_ih, w_hh, b_ih, b_hh, state, state
    return tuple(new(tensor, tensor.shape, torch.float32) for tensor in gradients)


def workspace(steps: int, batch: int, inputs: int, hidden: int, width: int = FLOAT) -> int:
    """Bytes kept for backward: the gates, a state a step, three states of both layers, and two without padding.

    Some sections have elements of the precision's `width`, some are float32 always.

    >>> workspace(35, 20, 200, 200)
    8736768
    """
    rows, states, widest = steps * batch, 2 * (steps + 1) * batch, max(inputs, hidden)
    sections = [width * rows * _leading(size, width) for size in (4 * hidden, hidden)]
    sections += [size * states * _leading(widest, size) for size in (width, FLOAT, FLOAT)]
    sections += [size * states * hidden for size in (width, FLOAT)]
    return sum(map(_pages, sections))


def scratch(args: Sequence[Any]) -> int:
    """Bytes inside a forward call: the sum of the biases, both weights in the kernel's order, and its scratchpad."""
    x, w_ih, train = args[0], args[1], args[-1]
    width, hidden, inputs = x.element_size(), w_ih.shape[0] // 4, x.shape[2]
    block = 2 * processor.lanes()
    blocked = 4 * -(-hidden // block) * block
    gates = _leading(4 * hidden) if train and width == FLOAT else blocked
    pad = _scratchpad(x, hidden) if train else _evaluation_scratchpad(x, hidden)
    return int(width * (4 * hidden + (inputs + hidden) * gates) + pad)


def backward_scratch(args: Sequence[Any]) -> int:
    """Bytes inside a backward call: gradients made or made contiguous, weights reordered, theirs before the copy."""
    x, w_ih = args[0], args[1]
    steps, batch, inputs = x.shape
    hidden, width, lower = w_ih.shape[0] // 4, x.element_size(), x.element_size() < FLOAT
    sizes = [steps * batch * hidden, batch * hidden, batch * hidden]
    given = zip(args[10:13], sizes, strict=True)
    made = width * sum(size for gradient, size in given if gradient is None or not gradient.is_contiguous())
    made += FLOAT * sum(sizes) if lower else 0  # all of them again, in float32
    reordered = width * sum(4 * hidden * _leading(d, width) for d in (inputs, hidden) if lower or _leading(d) != d)
    of_weights = FLOAT * ((inputs + hidden) * _leading(4 * hidden) + 4 * hidden)
    # the sum of the biases is there, and the second bias's gradient is not yet: as many bytes
    return int(made + reordered + of_weights + _scratchpad(x, hidden))


def _scratchpad(x: Tensor, hidden: int) -> int:
    """The gates, of all steps in float32 and of one in a lower precision, two states and a page."""
    steps, batch, _ = x.shape
    rows = steps * batch if x.element_size() == FLOAT else batch
    gates, state = FLOAT * rows * _leading(4 * hidden), FLOAT * batch * _leading(hidden)
    return _pages(gates) + 2 * _pages(state) + PAGE + ALIGNMENT


def _evaluation_scratchpad(x: Tensor, hidden: int) -> int:
    """States of both layers and of the cell at each step, the gates of one step in float32, a state and a page."""
    (steps, batch, inputs), width = x.shape, x.element_size()
    states = 2 * (steps + 1) * batch
    sections = (
        width * states * _leading(max(inputs, hidden), width), width * states * hidden,
        FLOAT * batch * _leading(4 * hidden), width * batch * _leading(hidden, width), PAGE,
    )  # fmt: skip
    books = (EQUAL_WIDTHS if inputs == hidden and batch > 1 else UNEQUAL_WIDTHS) - (16 if width < FLOAT else 0)
    return sum(map(_pages, sections)) + ALIGNMENT + books


def _leading(size: int, width: int = FLOAT) -> int:
    """Elements from one row to the next."""
    line = 64 // width
    padded = -(-size // line) * line
    return padded + line * (padded % 256 == 0)


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE
