"""BERT: the Transformer's encoder alone, reading in both directions at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.networks.sequence.transformer import ENCODER_LAYER_DRAWING, TRANSFORMER, EncoderLayer, checked, within
from archcalc.networks.spec import Input, Network, Paper, Published, register


class BERT(nn.Module):
    """The encoder alone, over two segments, with a pooler on the first token: N, n -> N, n, d_model and N, d_model."""

    def __init__(
        self, layers: int, d_model: int, heads: int, d_k: int, d_v: int, d_ff: int, vocab_size: int, length: int
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, d_model)
        self.positions = nn.Embedding(length, d_model)
        self.segments = nn.Embedding(2, d_model)
        self.norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(0.1)
        self.encoder = nn.ModuleList(
            EncoderLayer(d_model, heads, d_k, d_ff, True, nn.GELU(), 0.1, d_v) for _ in range(layers)
        )
        self.pooler = nn.Linear(d_model, d_model)

    def forward(self, tokens: Tensor, segments: Tensor, padding_mask: Tensor) -> tuple[Tensor, Tensor]:
        places = torch.arange(tokens.shape[1], device=tokens.device)  # n
        x = self.words(tokens) + self.positions(places) + self.segments(segments)  # N, n, d_model
        x = self.dropout(self.norm(x))
        for layer in self.encoder:
            x = layer(x, padding_mask)  # N, n, d_model
        return x, torch.tanh(self.pooler(x[:, 0]))  # N, n, d_model and N, d_model


def bert(
    layers: int = 12,
    d_model: int = 768,
    heads: int = 12,
    d_k: int = 0,
    d_v: int = 0,
    d_ff: int = 3072,
    vocab_size: int = 30_522,
    seq_len: int = 512,
    max_len: int = 512,
) -> BERT:
    """BERT with its pooler, without the heads of pre-training."""
    d_k = checked(layers, d_model, heads, d_k, d_v, d_ff, vocab_size)
    within(seq_len, max_len)
    return BERT(layers, d_model, heads, d_k, d_v, d_ff, vocab_size, max_len)


def padded_text(config: Mapping[str, Any]) -> tuple[Input, ...]:
    """A text of two segments and its padding mask."""
    n = config["seq_len"]
    return (
        Input("tokens", ("batch", "seq_len"), (1, n), "int64"),
        Input("segments", ("batch", "seq_len"), (1, n), "int64"),
        Input("padding_mask", ("batch", "one", "one", "seq_len"), (1, 1, 1, n), "bool"),
    )


PAPER = Paper(
    "BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
    "Devlin, Chang, Lee, Toutanova",
    2018,
    "arXiv:1810.04805",
)
HF = "transformers 5.23.0"

register(
    Network(
        name="bert-base",
        same_as="hf:bert",
        diagram=ENCODER_LAYER_DRAWING,
        family=TRANSFORMER,
        build=bert,
        inputs=padded_text,
        paper=PAPER,
        about="The encoder alone, both directions at once; pooler included, heads of pre-training not.",
        published=(
            Published(
                "params", "110M", "BERT paper, section 3", note="109.48 M with the pooler; 110.1 M with both heads"
            ),
            Published("params", "109,482,240", HF),
        ),
    ),
    Network(
        name="bert-large",
        diagram=ENCODER_LAYER_DRAWING,
        family=TRANSFORMER,
        build=bert,
        inputs=padded_text,
        paper=PAPER,
        knobs={"layers": 24, "d_model": 1024, "heads": 16, "d_ff": 4096},
        about="The encoder alone, both directions at once; pooler included, heads of pre-training not.",
        published=(
            Published(
                "params", "340M", "BERT paper, section 3", note="335.14 M with the pooler, 336.2 M with both heads"
            ),
            Published("params", "335,141,888", HF),
        ),
    ),
    file=__name__,
)
