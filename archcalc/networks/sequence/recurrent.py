"""Recurrent nets as cells unrolled in time: the same weights at every step.

Parameters do not depend on the length of the sequence; multiply-adds grow with it linearly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from archcalc.errors import BadKnob
from archcalc.networks.sequence.cells import (
    GRU_DRAWING,
    LSTM_DRAWING,
    RNN_DRAWING,
    GRUCell,
    LSTMCell,
    RNNCell,
    State,
)
from archcalc.networks.spec import Family, Input, Network, Paper, Published, at_least, one_of, register
from archcalc.text.spelling import setting
from archcalc.text.units import share


class Direction(nn.Module):
    """One layer in one direction: its cell at every step. T tensors N, I -> T tensors N, H, and the state at the end.

    In a packed batch, longest sequence first, step t holds the rows of the sequences that are longer than t: a row
    leaves the batch behind its last step, or joins it there on the way backwards.
    """

    def __init__(self, cell: nn.Module, sizes: tuple[int, ...], backwards: bool) -> None:
        super().__init__()
        self.cell = cell
        self.sizes = sizes
        self.backwards = backwards

    def forward(self, steps: list[Tensor], state: State = ()) -> tuple[list[Tensor], State]:
        steps = steps[::-1] if self.backwards else steps
        state = state or tuple(steps[0].new_zeros(len(steps[0]), size) for size in self.sizes)  # N, H each
        outputs, ended = [], []
        for x in steps:
            if len(x) < len(state[0]):
                ended.append(tuple(part[len(x) :] for part in state))
                state = tuple(part[: len(x)] for part in state)
            elif len(x) > len(state[0]):
                joined = len(x) - len(state[0])
                state = tuple(torch.cat([part, part.new_zeros(joined, part.shape[1])]) for part in state)
            state = self.cell(x, state)
            outputs.append(state[0])  # N, H
        if ended:
            state = tuple(torch.cat(parts) for parts in zip(state, *reversed(ended), strict=True))  # N, H each
        return (outputs[::-1] if self.backwards else outputs), state


class Recurrent(nn.Module):
    """Layers of one or two directions over a sequence, and what is asked of them.

    N, T, I -> N, T, H (2H in both directions) for `output` "every"; the last layer's state behind its last step, N, H,
    for "last"; O in place of H with the output matrix V; the states of all layers for "none". With `lengths` the
    sequences of the batch are packed: a step runs those that are not over.
    """

    def __init__(
        self, layers: list[list[Direction]], dropout: float, V: nn.Linear | None, output: str, lengths: tuple[int, ...]
    ) -> None:
        super().__init__()
        for number, directions in enumerate(layers):
            for direction, module in zip(("forward", "backward"), directions, strict=False):
                self.add_module(f"layer{number}_{direction}", module)
        self.directions = [[f"layer{n}_{d}" for d in ("forward", "backward")[: len(ds)]] for n, ds in enumerate(layers)]
        self.dropout = nn.Dropout(dropout)
        self.V = V
        self.output, self.lengths = output, lengths

    def forward(self, x: Tensor) -> Tensor | State:
        steps = self._steps(x)  # T of N, I
        states: list[State] = []
        for number, names in enumerate(self.directions):
            if number:
                steps = [self.dropout(step) for step in steps]
            runs = [self.get_submodule(name)(steps) for name in names]
            steps = (
                runs[0][0]
                if len(runs) == 1
                else [torch.cat(pair, 1) for pair in zip(*(run[0] for run in runs), strict=True)]
            )
            states += [run[1] for run in runs]
        if self.output == "none":
            return tuple(part for state in states for part in state)  # N, H each
        if self.output == "last":
            last = [state[0] for state in states[-len(self.directions[-1]) :]]
            h = last[0] if len(last) == 1 else torch.cat(last, 1)  # N, H
            return h if self.V is None else self.V(h)  # N, O
        if self.V is not None:
            steps = [self.V(step) for step in steps]  # T of N, O
        if self.lengths:
            steps = [functional.pad(step, (0, 0, 0, len(x) - len(step))) for step in steps]
        return torch.stack(steps, 1)  # N, T, H

    def _steps(self, x: Tensor) -> list[Tensor]:
        """The steps of a batch, each without the sequences that are over."""
        steps = list(x.unbind(1))  # T of N, I
        if not self.lengths:
            return steps
        running = [sum(length > t for length in self.lengths) for t in range(len(steps))]
        return [step[:rows] if rows < len(x) else step for step, rows in zip(steps, running, strict=True)]


@dataclass(frozen=True)
class Layers:
    """The sizes of recurrent layers, and whether they have biases."""

    input_size: int
    hidden_size: int
    num_layers: int = 1
    bidirectional: bool = False
    bias: bool = True
    proj_size: int = 0

    @property
    def width(self) -> int:
        """The features that the last layer gives at a step."""
        return (self.proj_size or self.hidden_size) * (1 + self.bidirectional)

    def built(self, kind: str) -> list[list[Direction]]:
        """The directions of every layer; BadKnob for sizes that cannot be."""
        for knob in ("input_size", "hidden_size", "num_layers"):
            at_least(knob, getattr(self, knob), 1)
        at_least("proj_size", self.proj_size, 0)
        if self.proj_size >= self.hidden_size:
            reason = f"a projection is smaller than hidden_size={self.hidden_size}"
            raise BadKnob("proj_size", self.proj_size, reason)
        sizes = [self.input_size, *[self.width] * (self.num_layers - 1)]
        return [
            [self.direction(kind, size, back) for back in (False, True)[: 1 + self.bidirectional]] for size in sizes
        ]

    def direction(self, kind: str, input_size: int, backwards: bool = False) -> Direction:
        """One direction of a layer with a cell of a kind: rnn, gru or lstm."""
        H, P = self.hidden_size, self.proj_size
        if kind == "lstm":
            return Direction(LSTMCell(input_size, H, P, self.bias), (P or H, H), backwards)
        cell = RNNCell(input_size, H, self.bias) if kind == "rnn" else GRUCell(input_size, H, self.bias)
        return Direction(cell, (H,), backwards)


OUTPUTS = ("every", "last", "none")


def recurrent(
    kind: str,
    layers: Layers,
    output: str = "every",
    output_size: int = 0,
    lengths: tuple[int, ...] = (),
    dropout: float = 0.0,
) -> Recurrent:
    """Layers with an output matrix of `output_size` rows, 0 for none; BadKnob for knobs that cannot go together."""
    one_of("output", output, OUTPUTS)
    at_least("output_size", output_size, 0)
    if output == "none" and output_size:
        raise BadKnob("output_size", output_size, "output=none asks for no output", "write  --set output=last")
    V = nn.Linear(layers.width, output_size, bias=False) if output_size else None
    return Recurrent(layers.built(kind), dropout, V, output, lengths)


def _batch(seq_len: int | None, lengths: tuple[int, ...] | None) -> tuple[int, ...]:
    """The lengths of a packed batch, () for one sequence of `seq_len`; BadKnob for others than falling ones."""
    if lengths is None:
        at_least("seq_len", seq_len or 0, 1)
        return ()
    if seq_len is not None:
        raise BadKnob(
            "seq_len", seq_len, f"lengths={setting(lengths)} says how long the sequences are", "leave one of them out"
        )
    at_least("lengths", min(lengths), 1)
    falling = tuple(sorted(lengths, reverse=True))
    if lengths != falling:
        hint = f"write  --set lengths={setting(falling)}"
        raise BadKnob("lengths", lengths, "a batch is packed with its longest sequence first", hint)
    return lengths


def rnn(
    input_size: int = 64,
    hidden_size: int = 128,
    num_layers: int = 1,
    bidirectional: bool = False,
    bias: bool = True,
    output: str = "every",
    output_size: int = 0,
    seq_len: int | None = 20,
    lengths: tuple[int, ...] | None = None,
) -> Recurrent:
    """Elman's network; `output_size` adds o = V h at every step, or at the last; `lengths` pack a batch."""
    layers = Layers(input_size, hidden_size, num_layers, bidirectional, bias)
    return recurrent("rnn", layers, output, output_size, _batch(seq_len, lengths))


def gru(
    input_size: int = 64,
    hidden_size: int = 128,
    num_layers: int = 1,
    bidirectional: bool = False,
    bias: bool = True,
    output: str = "every",
    output_size: int = 0,
    seq_len: int | None = 20,
    lengths: tuple[int, ...] | None = None,
) -> Recurrent:
    """Gated recurrent units, with the knobs of rnn."""
    layers = Layers(input_size, hidden_size, num_layers, bidirectional, bias)
    return recurrent("gru", layers, output, output_size, _batch(seq_len, lengths))


def lstm(
    input_size: int = 64,
    hidden_size: int = 128,
    num_layers: int = 1,
    bidirectional: bool = False,
    bias: bool = True,
    proj_size: int = 0,
    output: str = "every",
    output_size: int = 0,
    seq_len: int | None = 20,
    lengths: tuple[int, ...] | None = None,
) -> Recurrent:
    """Long short-term memory, with the knobs of rnn; `proj_size` projects the state."""
    layers = Layers(input_size, hidden_size, num_layers, bidirectional, bias, proj_size)
    return recurrent("lstm", layers, output, output_size, _batch(seq_len, lengths))


def sequence(config: Mapping[str, Any]) -> tuple[Input, ...]:
    """Sequences of vectors, N x T x I: one of seq_len steps, or the padded batch of `lengths`."""
    lengths = config.get("lengths") or (config["seq_len"],)
    return (Input("x", ("batch", "seq_len", "input_size"), (len(lengths), max(lengths), config["input_size"])),)


def padded_share(config: Mapping[str, Any]) -> str:
    """The sentence that says how much of a packed batch would be padding; '' without lengths."""
    lengths = config.get("lengths")
    if not lengths:
        return ""
    steps, padded = sum(lengths), len(lengths) * max(lengths)
    left = f"{padded - steps:,} of padding are left out ({share(padded - steps, padded)} of the padded batch)"
    return f"packed: {steps:,} of {len(lengths)} x {max(lengths)} = {padded:,} steps run; {left}"


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
TORCH = "torch 2.13.0"
KERAS = "keras 3.15.1"
ONE_BIAS = "one bias a gate where torch, and we, have two"

register(
    Network(
        name="rnn",
        family=RECURRENT,
        build=rnn,
        inputs=sequence,
        either=("seq_len", "lengths"),
        remark=padded_share,
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
        either=("seq_len", "lengths"),
        remark=padded_share,
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
        either=("seq_len", "lengths"),
        remark=padded_share,
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
