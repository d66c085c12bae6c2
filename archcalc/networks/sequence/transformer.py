"""The Transformer: encoder, decoder and the attention that both are made of.

Attention(Q, K, V) = softmax(Q Kᵀ / √d_k) V, in h heads, in three uses: encoder self-attention, masked decoder
self-attention, encoder-decoder attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from archcalc.errors import BadKnob
from archcalc.networks.sequence.positions import sinusoids
from archcalc.networks.spec import Family, Input, Network, Paper, Published, at_least, register

ATTENTION_DRAWING = """
Q: n x d_k     K: m x d_k
     |              |
     +-- Q K^T / sqrt(d_k): n x m scores
                |
        mask, then softmax over the m keys
                |         V: m x d_v
                +---- weights V: n x d_v
"""
MULTI_HEAD_ATTENTION_DRAWING = """
 x          memory    memory
 |W_Q       |W_K      |W_V        linear, split into h heads
 +----------+---------+
   attention in h heads at once
           concat
             |W_O
         n x d_model
"""
ENCODER_LAYER_DRAWING = """
x -> self-attention (padding mask) -> + x -> LN
  -> linear d_ff, ReLU, linear     -> +   -> LN
"""
DECODER_LAYER_DRAWING = """
x -> self-attention (sequence mask) -> + x -> LN
  -> attention over the encoder's output (padding mask) -> + -> LN
  -> linear d_ff, ReLU, linear -> + -> LN
"""
TRANSFORMER_DRAWING = """
source -> embedding + positions -> [self-attention, feed-forward] x6 -> memory
                                    padding mask                          |
                                         +--------------------------------+
                                         |
target -> embedding + positions -> [masked self-attention, attention to memory,
                                    sequence mask
                                    feed-forward] x6 -> linear -> words
(each sublayer: x + F(x), then LN)
"""


class ScaledDotProductAttention(nn.Module):
    """softmax(Q Kᵀ / √d_k) V: N, h, n, d_k with N, h, m, d_k and N, h, m, d_v -> N, h, n, d_v.

    `mask` is true where a query may look, and broadcasts to N, h, n, m.
    """

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)

    def forward(self, Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None) -> Tensor:
        scores = Q @ K.transpose(-2, -1) / sqrt(Q.shape[-1])  # N, h, n, m
        if mask is not None:
            scores = scores.masked_fill(mask.logical_not(), float("-inf"))
        A = self.dropout(torch.softmax(scores, -1))  # N, h, n, m
        return A @ V  # N, h, n, d_v


class MultiHeadAttention(nn.Module):
    """h attentions over projections of x, concatenated and projected: N, n, d_model -> N, n, d_model.

    Queries come from `x`, keys and values from `memory`: the same in self-attention, the encoder's output in
    encoder-decoder attention. `d_v` 0 means d_model / heads. `kept` holds K and V of earlier words, behind which those
    of `memory` are put; if it is empty it gets them. Without a memory it is all that there is.
    """

    def __init__(self, d_model: int, heads: int, d_k: int, bias: bool, dropout: float, d_v: int = 0) -> None:
        super().__init__()
        self.heads = heads
        d_v = d_v or d_model // heads
        self.W_Q = nn.Linear(d_model, heads * d_k, bias=bias)
        self.W_K = nn.Linear(d_model, heads * d_k, bias=bias)
        self.W_V = nn.Linear(d_model, heads * d_v, bias=bias)
        self.attention = ScaledDotProductAttention(dropout)
        self.W_O = nn.Linear(heads * d_v, d_model, bias=bias)

    def forward(
        self, x: Tensor, memory: Tensor | None, mask: Tensor | None, kept: list[Tensor] | None = None
    ) -> Tensor:
        Q = self._split(self.W_Q(x))  # N, h, n, d_k
        if memory is not None:
            K = self._split(self.W_K(memory))  # N, h, m, d_k
            V = self._split(self.W_V(memory))  # N, h, m, d_v
            if kept:
                K, V = torch.cat([kept[0], K], 2), torch.cat([kept[1], V], 2)
            if kept is not None:
                kept[:] = [K, V]
        elif kept:
            K, V = kept
        heads = self.attention(Q, K, V, mask)  # N, h, n, d_v
        return self.W_O(heads.transpose(1, 2).flatten(2))  # N, n, d_model

    def _split(self, x: Tensor) -> Tensor:
        N, n, width = x.shape
        return x.view(N, n, self.heads, width // self.heads).transpose(1, 2)  # N, h, n, width/h


class FeedForward(nn.Module):
    """Two linear maps with an activation between, the same at every position: N, n, d_model -> N, n, d_model."""

    def __init__(self, d_model: int, d_ff: int, activation: nn.Module, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(d_model, d_ff)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)
        self.linear2 = nn.Linear(d_ff, d_model)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(self.activation(self.linear1(x)))  # N, n, d_ff
        return self.linear2(x)  # N, n, d_model


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each LayerNorm(x + Sublayer(x)): N, n, d_model -> N, n, d_model."""

    def __init__(
        self,
        d_model: int,
        heads: int,
        d_k: int,
        d_ff: int,
        bias: bool,
        activation: nn.Module,
        dropout: float,
        d_v: int = 0,
    ) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, heads, d_k, bias, dropout, d_v)
        self.norm1 = nn.LayerNorm(d_model)
        self.feed_forward = FeedForward(d_model, d_ff, activation, 0.0)
        self.norm2 = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.norm1(x + self.dropout(self.self_attention(x, x, mask)))
        return self.norm2(x + self.dropout(self.feed_forward(x)))


Kept = tuple[list[Tensor], list[Tensor]]
"""K and V of a decoder layer: those of the words so far, and those of the encoder's output."""


class DecoderLayer(nn.Module):
    """Masked self-attention, attention over the encoder's output, feed-forward: N, n, d_model -> N, n, d_model."""

    def __init__(self, d_model: int, heads: int, d_k: int, d_ff: int, dropout: float, d_v: int = 0) -> None:
        super().__init__()
        self.self_attention = MultiHeadAttention(d_model, heads, d_k, False, dropout, d_v)
        self.norm1 = nn.LayerNorm(d_model)
        self.cross_attention = MultiHeadAttention(d_model, heads, d_k, False, dropout, d_v)
        self.norm2 = nn.LayerNorm(d_model)
        self.feed_forward = FeedForward(d_model, d_ff, nn.ReLU(), 0.0)
        self.norm3 = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, memory: Tensor | None, sequence_mask: Tensor, padding_mask: Tensor, kept: Kept | None = None
    ) -> Tensor:
        of_words, of_memory = kept or (None, None)
        x = self.norm1(x + self.dropout(self.self_attention(x, x, sequence_mask, of_words)))
        x = self.norm2(x + self.dropout(self.cross_attention(x, memory, padding_mask, of_memory)))
        return self.norm3(x + self.dropout(self.feed_forward(x)))


class Transformer(nn.Module):
    """Encoder and decoder; one matrix is source embedding, target embedding and output (section 3.4).

    `padding_mask` (N, 1, 1, S) hides the padding of the source, `sequence_mask` (1, 1, T, T) the words still to come.
    With `use_cache` the answer is the logits and the cache for the next words, which takes the encoder's place.
    """

    def __init__(
        self,
        layers: int,
        d_model: int,
        heads: int,
        d_k: int,
        d_v: int,
        d_ff: int,
        vocab_size: int,
        length: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.positions: Tensor
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.register_buffer("positions", sinusoids(length, d_model), persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.ModuleList(
            EncoderLayer(d_model, heads, d_k, d_ff, False, nn.ReLU(), dropout, d_v) for _ in range(layers)
        )
        self.decoder = nn.ModuleList(DecoderLayer(d_model, heads, d_k, d_ff, dropout, d_v) for _ in range(layers))

    def embed(self, tokens: Tensor, start: int = 0) -> Tensor:
        x = self.embedding(tokens) * sqrt(self.embedding.embedding_dim)  # N, n, d_model
        return self.dropout(x + self.positions[start : start + tokens.shape[1]])

    def encoded(self, source: Tensor, padding_mask: Tensor) -> Tensor:
        memory = self.embed(source)  # N, S, d_model
        for layer in self.encoder:
            memory = layer(memory, padding_mask)  # N, S, d_model
        return memory

    def forward(
        self,
        source: Tensor,
        target: Tensor,
        padding_mask: Tensor,
        sequence_mask: Tensor,
        cache: list[Kept] | None = None,
        use_cache: bool = False,
    ) -> Any:
        memory = self.encoded(source, padding_mask) if cache is None else None  # N, S, d_model
        start = cache[0][0][0].shape[2] if cache else 0
        if use_cache and cache is None:
            cache = [([], []) for _ in self.decoder]
        x = self.embed(target, start)  # N, T, d_model
        for number, layer in enumerate(self.decoder):
            x = layer(x, memory, sequence_mask, padding_mask, cache[number] if cache else None)  # N, T, d_model
        logits = functional.linear(x, self.embedding.weight)  # N, T, V
        return (logits, cache) if use_cache else logits


def transformer(
    layers: int = 6,
    d_model: int = 512,
    heads: int = 8,
    d_k: int = 0,
    d_v: int = 0,
    d_ff: int = 2048,
    vocab_size: int = 37_000,
    dropout: float = 0.1,
    src_len: int = 128,
    tgt_len: int = 128,
) -> Transformer:
    """The encoder-decoder of the paper; `d_k` and `d_v` 0 mean d_model / heads (Table 3, row B, varies d_k alone)."""
    d_k = checked(layers, d_model, heads, d_k, d_v, d_ff, vocab_size)
    for knob, value in (("src_len", src_len), ("tgt_len", tgt_len)):
        at_least(knob, value, 1)
    return Transformer(layers, d_model, heads, d_k, d_v, d_ff, vocab_size, max(src_len, tgt_len, 512), dropout)


def checked(layers: int, d_model: int, heads: int, d_k: int, d_v: int, d_ff: int, vocab_size: int) -> int:
    """Refuse what cannot be built; the d_k that is meant. Heads need not divide the model if d_k and d_v are given."""
    sizes = (("layers", layers), ("d_model", d_model), ("heads", heads), ("d_ff", d_ff), ("vocab_size", vocab_size))
    for knob, value in sizes:
        at_least(knob, value, 1)
    at_least("d_k", d_k, 0)
    at_least("d_v", d_v, 0)
    if not (d_k and d_v) and d_model % heads:
        raise BadKnob("heads", heads, f"d_model={d_model} does not divide into {heads} heads")
    if d_model % 2:
        raise BadKnob("d_model", d_model, "positions are pairs of sine and cosine")
    return d_k or d_model // heads


def within(seq_len: int, max_len: int) -> None:
    """Refuse a text that is longer than there are learnt positions."""
    at_least("seq_len", seq_len, 1)
    if seq_len > max_len:
        raise BadKnob("seq_len", seq_len, f"there are {max_len} positions", f"add  --set max_len={seq_len}")


def two_texts(config: Mapping[str, Any]) -> tuple[Input, ...]:
    """A source and a target text, and their masks."""
    S, T = config["src_len"], config["tgt_len"]
    return (
        Input("source", ("batch", "src_len"), (1, S), "int64"),
        Input("target", ("batch", "tgt_len"), (1, T), "int64"),
        Input("padding_mask", ("batch", "one", "one", "src_len"), (1, 1, 1, S), "bool"),
        Input("sequence_mask", ("one", "one", "tgt_len", "tgt_len"), (1, 1, T, T), "bool"),
    )


TRANSFORMER = Family(
    name="transformer",
    default="transformer-base",
    title="Transformer",
    diagram=TRANSFORMER_DRAWING,
    idea=(
        "Every position looks at every other in one step: queries meet keys, and the softmax of their products weighs "
        "the values. No recurrence, so all positions run side by side; the price is the n x n products of attention. "
        "Heads attend to different things, position is added as sines and cosines, and masks hide padding and future."
    ),
    paper=Paper(
        "Attention Is All You Need",
        "Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin",
        2017,
        "arXiv:1706.03762",
    ),
)
TABLE3 = "Transformer paper, Table 3"
CLOSED_FORM = "closed form: no attention bias, one tied matrix, V = 37,000"
VOCABULARY = "no one vocabulary gives both 65M and 213M; this is V = 37,000"


def _row(printed: str, exact: str, note: str = "", **knobs: int) -> tuple[Published, Published]:
    reason = "; ".join(part for part in (note, VOCABULARY) if part)
    return (
        Published("params", printed, TABLE3, note=reason, knobs=knobs),
        Published("params", exact, CLOSED_FORM, note=note, knobs=knobs),
    )


register(
    Network(
        name="transformer-base",
        family=TRANSFORMER,
        build=transformer,
        inputs=two_texts,
        about="Encoder and decoder of 6 layers each, d_model 512, 8 heads.",
        published=(
            *_row("65M", "63,045,632"),
            *_row("58M", "55,967,744", "row B", d_k=16),
            *_row("60M", "58,327,040", "row B", d_k=32),
            *_row("36M", "33,644,544", "row C", layers=2),
            *_row("50M", "48,345,088", "row C", layers=4),
            *_row("28M", "26,816,512", "row C", d_model=256),
            *_row("168M", "163,815,424", "row C", d_model=1024),
            *_row("53M", "50,450,432", "row C", d_ff=1024),
        ),
    ),
    Network(
        name="transformer-big",
        family=TRANSFORMER,
        build=transformer,
        inputs=two_texts,
        knobs={"d_model": 1024, "heads": 16, "d_ff": 4096, "dropout": 0.3},
        about="Encoder and decoder of 6 layers each, d_model 1024, 16 heads.",
        published=_row("213M", "214,171,648"),
    ),
    file=__name__,
)
