"""nn.LSTM, nn.GRU and nn.RNN as torch's CPU computes them: the inputs' products of all steps first, in one call.

On tensors without data torch's own decomposition multiplies the input of every step by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

from archcalc.engine.devices import onednn_lstm, processor

Kernel = Callable[..., Any]
States = tuple[Tensor, ...]
Cell = Callable[[Tensor, States, Sequence[Any]], States]


def tanh_cell(x: Tensor, states: States, weights: Sequence[Any]) -> States:
    """The new state is tanh(x + W h + b); x has its own product already."""
    return (linear(states[0], weights[1], weights[3]).add_(x).tanh(),)


def relu_cell(x: Tensor, states: States, weights: Sequence[Any]) -> States:
    """The new state is relu(x + W h + b)."""
    return (linear(states[0], weights[1], weights[3]).add_(x).relu(),)


def gru_cell(x: Tensor, states: States, weights: Sequence[Any]) -> States:
    """Reset and update gates, the candidate, and their mixture with the old state."""
    (h,) = states
    of_x, of_h = x.unsafe_chunk(3, 1), linear(h, weights[1], weights[3]).unsafe_chunk(3, 1)
    reset, update = of_h[0].add_(of_x[0]).sigmoid_(), of_h[1].add_(of_x[1]).sigmoid_()
    candidate = of_x[2].add(of_h[2].mul_(reset)).tanh_()
    return ((h - candidate).mul_(update).add_(candidate),)


def lstm_cell(x: Tensor, states: States, weights: Sequence[Any]) -> States:
    """Input, forget and output gates; the state may be projected."""
    h, c = states
    gates = linear(h, weights[1], weights[3]).add_(x).unsafe_chunk(4, 1)
    i, f, g, o = gates[0].sigmoid_(), gates[1].sigmoid_(), gates[2].tanh_(), gates[3].sigmoid_()
    c = (f * c).add_(i * g)
    h = o * c.tanh()
    return (h if weights[4] is None else h.matmul(weights[4].t())), c


def recurrent(cell: Cell) -> Callable[[Kernel], Kernel]:
    """The composite op of a cell, layer by layer and direction by direction."""

    def wrap(unfused: Kernel) -> Kernel:
        def run(
            input: Tensor,
            hx: Any,
            params: Sequence[Tensor],
            has_biases: bool,
            num_layers: int,
            dropout: float,
            train: bool,
            bidirectional: bool,
            batch_first: bool,
        ) -> Any:
            directions = 1 + bidirectional
            each = len(params) // (num_layers * directions)
            by_onednn = cell is lstm_cell and each == (4 if has_biases else 2) and _has_kernel(input)
            x = input.transpose(0, 1) if batch_first else input  # T, N, I
            x = x.contiguous() if by_onednn else x
            alive = [x]  # what torch holds to the end: the input, and an output of the layer before
            first = [part.unbind(0) for part in ((hx,) if isinstance(hx, Tensor) else hx)]
            last: list[States] = []
            for layer in range(num_layers):
                of_layer = range(layer * directions, (layer + 1) * directions)
                weights = [_named(params[index * each : (index + 1) * each], has_biases) for index in of_layer]
                states = [tuple(part[index] for part in first) for index in of_layer]
                run_layer = _by_onednn if by_onednn else _by_steps
                x, ends, held = run_layer(cell, x, states, weights, train)
                alive[1:] = held
                last += ends
                if dropout and train and layer < num_layers - 1:
                    x = torch.dropout(x, dropout, True)
            stacked = tuple(torch.stack(part) for part in zip(*last, strict=True))
            return (x.transpose(0, 1) if batch_first else x), *stacked

        return run

    return wrap


def _has_kernel(x: Tensor) -> bool:
    """Whether oneDNN's layer computes it: torch's own rule, `use_mkldnn` in ATen/native/RNN.cpp."""
    taken = x.dtype is torch.float32 or (x.dtype is torch.bfloat16 and processor.has_bfloat16())
    return taken and x.numel() > 0


def _named(weights: Sequence[Tensor], has_biases: bool) -> list[Tensor | None]:
    """W of the input, W of the state, their biases, and the projection; None for what is not there."""
    matrices, biases = weights[:2], (weights[2:4] if has_biases else (None, None))
    return [*matrices, *biases, *(weights[4:] if has_biases else weights[2:]), None][:5]


Layer = tuple[Tensor, list[States], Sequence[Tensor]]
"""Outputs of all steps, the last states of each direction, and tensors that live until the next layer is done."""


def _by_onednn(cell: Cell, x: Tensor, states: Sequence[States], weights: Sequence[Sequence[Any]], train: bool) -> Layer:
    """One layer, each direction in one call."""
    outputs, last = [], []
    for direction, (start, of_direction) in enumerate(zip(states, weights, strict=True)):
        y, end = onednn_lstm.layer(x, start, of_direction, direction > 0, train)
        outputs.append(y)
        last.append(end)
    return (torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0]), last, outputs[1:]


def _by_steps(cell: Cell, x: Tensor, states: Sequence[States], weights: Sequence[Sequence[Any]], train: bool) -> Layer:
    """One layer, step by step in each direction.

    As in torch, the outputs of single steps live until both directions are joined, and the products of the first
    direction until those of the second are there.
    """
    outputs, last, alive = [], [], []
    for direction, (start, of_direction) in enumerate(zip(states, weights, strict=True)):
        state = start
        steps = linear(x, of_direction[0], of_direction[2]).unbind(0)
        made = []
        for step in reversed(steps) if direction else steps:
            state = cell(step, state, of_direction)
            made.append(state[0])
        outputs.append(torch.stack(made[::-1] if direction else made))
        last.append(state)
        alive.append(made)
    return (torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0]), last, ()


RECURRENT = {
    "lstm.input": recurrent(lstm_cell),
    "gru.input": recurrent(gru_cell),
    "rnn_tanh.input": recurrent(tanh_cell),
    "rnn_relu.input": recurrent(relu_cell),
}
"""By op: what replaces it on CPU."""
