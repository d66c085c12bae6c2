"""Forms of recurrent nets: one vector to a sequence, a sequence to one, a sequence to another; and without sharing.

The cells are those of `rnn`, `gru` and `lstm`. Beside them stands the net that recurrence replaces: a layer for each
step with weights of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.networks.sequence.cells import RNNCell, State
from archcalc.networks.sequence.recurrent import RECURRENT, Direction, Layers, Recurrent, recurrent, sequence
from archcalc.networks.spec import Input, Network, Paper, at_least, one_of, register

CELLS = ("rnn", "gru", "lstm")
ONE_TO_MANY_DRAWING = """
      o1      o2      o3
      |V      |V      |V        each output is the input of the next step
h0 -> h1 ---> h2 ---> h3
      |U   +--|U   +--|U
      x   o1      o2
"""
MANY_TO_ONE_DRAWING = """
                      o         one output, from the last state
                      |V
h0 -> h1 ---> h2 ---> h3
      |U      |U      |U
      x1      x2      x3
"""
SEQ2SEQ_DRAWING = """
encoder                     decoder     o1      o2
                                        |V      |V
h0 -> h1 ---> h2 ---> h3 -> state ----> s1 ---> s2
      |U      |U      |U                |U      |U
      x1      x2      x3                y1      y2        y: the target so far
"""
ATTENTION_DRAWING = """
h1  h2  h3      states of the encoder, both directions
 |   |   |
 +---+---+-- e_j = v . tanh(W_a s + U_a h_j)   for each step of the decoder
     |
 softmax -> context c = sum a_j h_j -> [y, c] -> cell -> s' -> V -> o
"""
UNROLLED_DRAWING = """
      h1           h2           h3      h_t = tanh(U_t x_t + W_t h_(t-1) + b_t)
      |            |            |
   U1, W1  ---> U2, W2 ---> U3, W3      weights of its own at every step
      |            |            |
      x1           x2           x3
"""


class OneToMany(nn.Module):
    """A sequence from one vector: each output is the input of the next step. N, I -> N, T, I."""

    def __init__(self, direction: Direction, input_size: int, steps: int) -> None:
        super().__init__()
        self.cell, self.sizes = direction.cell, direction.sizes
        self.V = nn.Linear(direction.sizes[0], input_size, bias=False)
        self.steps = steps

    def forward(self, x: Tensor) -> Tensor:
        state = tuple(x.new_zeros(len(x), size) for size in self.sizes)  # N, H each
        outputs = []
        for _ in range(self.steps):
            state = self.cell(x, state)
            x = self.V(state[0])  # N, I
            outputs.append(x)
        return torch.stack(outputs, 1)  # N, T, I


class EncoderDecoder(nn.Module):
    """The encoder's last state starts the decoder (Sutskever et al. 2014). N, S, I and N, T, I -> N, T, O.

    The target stands for what was given out before: both sequences are known, as in training.
    """

    def __init__(self, encoder: Direction, decoder: Direction, output_size: int) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.V = nn.Linear(decoder.sizes[0], output_size, bias=False)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        _, state = self.encoder(list(source.unbind(1)))  # N, H
        states, _ = self.decoder(list(target.unbind(1)), state)  # T of N, H
        return torch.stack([self.V(s) for s in states], 1)  # N, T, O


class AdditiveAttention(nn.Module):
    """e_j = v · tanh(W_a s + U_a h_j), softmax over j, the sum of h_j (Bahdanau et al. 2015, A.1.2)."""

    def __init__(self, state_size: int, memory_size: int, attention_size: int) -> None:
        super().__init__()
        self.W_a = nn.Linear(state_size, attention_size, bias=False)
        self.U_a = nn.Linear(memory_size, attention_size, bias=False)
        self.v = nn.Linear(attention_size, 1, bias=False)

    def forward(self, s: Tensor, memory: Tensor, keys: Tensor) -> Tensor:
        e = self.v(torch.tanh(self.W_a(s).unsqueeze(1) + keys))  # N, S, 1
        a = torch.softmax(e, 1)  # N, S, 1
        return (a.transpose(1, 2) @ memory).squeeze(1)  # N, M


class AttentiveDecoder(nn.Module):
    """Each step of the decoder looks at all states of the encoder (Bahdanau et al. 2015).

    N, S, I and N, T, I -> N, T, O.
    """

    def __init__(
        self, encoder: Recurrent, width: int, decoder: Direction, attention_size: int, output_size: int
    ) -> None:
        super().__init__()
        H = decoder.sizes[0]
        self.encoder, self.cell, self.sizes = encoder, decoder.cell, decoder.sizes
        self.attention = AdditiveAttention(H, width, attention_size)
        self.V = nn.Linear(H, output_size, bias=False)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        memory = self.encoder(source)  # N, S, M
        keys = self.attention.U_a(memory)  # N, S, A: once, for all steps of the decoder
        state: State = tuple(target.new_zeros(len(target), size) for size in self.sizes)  # N, H each
        outputs = []
        for y in target.unbind(1):
            c = self.attention(state[0], memory, keys)  # N, M
            state = self.cell(torch.cat([y, c], 1), state)  # N, H
            outputs.append(self.V(state[0]))  # N, O
        return torch.stack(outputs, 1)  # N, T, O


class Unrolled(nn.Module):
    """T layers in a row, each with a cell of its own, in place of one cell at T steps: N, T, I -> N, T, H."""

    def __init__(self, cells: list[RNNCell], hidden_size: int) -> None:
        super().__init__()
        self.cells = nn.ModuleList(cells)
        self.hidden_size = hidden_size

    def forward(self, x: Tensor) -> Tensor:
        state: State = (x.new_zeros(len(x), self.hidden_size),)  # N, H
        outputs = []
        for cell, step in zip(self.cells, x.unbind(1), strict=True):
            state = cell(step, state)
            outputs.append(state[0])  # N, H
        return torch.stack(outputs, 1)  # N, T, H


def one_to_many(
    cell: str = "rnn", input_size: int = 64, hidden_size: int = 128, bias: bool = True, tgt_len: int = 20
) -> OneToMany:
    """One vector to a sequence, such as a caption to an image: T·(H(I + H) + I·H) multiply-adds with Elman's cell."""
    _check(cell, input_size=input_size, hidden_size=hidden_size, tgt_len=tgt_len)
    direction = Layers(input_size, hidden_size, bias=bias).direction(cell, input_size)
    return OneToMany(direction, input_size, tgt_len)


def many_to_one(
    cell: str = "rnn", input_size: int = 64, hidden_size: int = 128, bias: bool = True, output_size: int = 2,
    seq_len: int = 20,
) -> Recurrent:  # fmt: skip
    """A sequence to one vector, such as a review to a verdict: V is multiplied once, behind the last step."""
    _check(cell, seq_len=seq_len, output_size=output_size)
    return recurrent(cell, Layers(input_size, hidden_size, bias=bias), "last", output_size)


def seq2seq(
    cell: str = "lstm", input_size: int = 64, hidden_size: int = 128, bias: bool = True, output_size: int = 64,
    src_len: int = 20, tgt_len: int = 20,
) -> EncoderDecoder:  # fmt: skip
    """A sequence to another one through one state of fixed size: encoder and decoder, the same kind of cell."""
    _check(
        cell, input_size=input_size, hidden_size=hidden_size, output_size=output_size, src_len=src_len, tgt_len=tgt_len
    )
    layers = Layers(input_size, hidden_size, bias=bias)
    encoder, decoder = (layers.direction(cell, input_size) for _ in range(2))
    return EncoderDecoder(encoder, decoder, output_size)


def seq2seq_attention(
    cell: str = "gru", input_size: int = 64, hidden_size: int = 128, bidirectional: bool = True, bias: bool = True,
    attention_size: int = 128, output_size: int = 64, src_len: int = 20, tgt_len: int = 20,
) -> AttentiveDecoder:  # fmt: skip
    """The same with attention: each step of the decoder weighs all states of the encoder, S·T scores in all."""
    _check(cell, input_size=input_size, hidden_size=hidden_size, attention_size=attention_size, output_size=output_size)
    _check(cell, src_len=src_len, tgt_len=tgt_len)
    layers = Layers(input_size, hidden_size, 1, bidirectional, bias)
    decoder = layers.direction(cell, input_size + layers.width)
    return AttentiveDecoder(recurrent(cell, layers), layers.width, decoder, attention_size, output_size)


def unrolled_rnn(input_size: int = 64, hidden_size: int = 128, bias: bool = True, seq_len: int = 20) -> Unrolled:
    """Elman's net without sharing: T·H(I + H) weights in place of H(I + H), and no other length than T."""
    _check("rnn", input_size=input_size, hidden_size=hidden_size, seq_len=seq_len)
    return Unrolled([RNNCell(input_size, hidden_size, bias) for _ in range(seq_len)], hidden_size)


def _check(cell: str, **sizes: int) -> None:
    one_of("cell", cell, CELLS)
    for knob, value in sizes.items():
        at_least(knob, value, 1)


def one_vector(config: Mapping[str, Any]) -> tuple[Input, ...]:
    """One vector, N x I."""
    return (Input("x", ("batch", "input_size"), (1, config["input_size"])),)


def two_sequences(config: Mapping[str, Any]) -> tuple[Input, ...]:
    """A source and a target sequence of vectors."""
    I = config["input_size"]  # noqa: E741
    return (
        Input("source", ("batch", "src_len", "input_size"), (1, config["src_len"], I)),
        Input("target", ("batch", "tgt_len", "input_size"), (1, config["tgt_len"], I)),
    )


SUTSKEVER = Paper(
    "Sequence to Sequence Learning with Neural Networks", "Sutskever, Vinyals, Le", 2014, "arXiv:1409.3215"
)
BAHDANAU = Paper(
    "Neural Machine Translation by Jointly Learning to Align and Translate",
    "Bahdanau, Cho, Bengio",
    2015,
    "arXiv:1409.0473",
)

register(
    *(
        Network(name, RECURRENT, build, inputs, about=str(build.__doc__), paper=paper, diagram=diagram)
        for name, build, inputs, paper, diagram in (
            ("one-to-many", one_to_many, one_vector, None, ONE_TO_MANY_DRAWING),
            ("many-to-one", many_to_one, sequence, None, MANY_TO_ONE_DRAWING),
            ("seq2seq", seq2seq, two_sequences, SUTSKEVER, SEQ2SEQ_DRAWING),
            ("seq2seq-attention", seq2seq_attention, two_sequences, BAHDANAU, ATTENTION_DRAWING),
            ("unrolled-rnn", unrolled_rnn, sequence, None, UNROLLED_DRAWING),
        )
    ),
    file=__name__,
)
