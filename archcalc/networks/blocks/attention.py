"""Attention by itself, in its three uses, and the layers of the Transformer (Vaswani et al. 2017).

Masks hide scores that are computed all the same; the remark of a block says how many.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from archcalc.errors import BadKnob
from archcalc.networks.blocks.block_inputs import (
    cross_inputs,
    decoder_inputs,
    masked_positions,
    positions,
    positions_with_mask,
    queries_keys_values,
)
from archcalc.networks.blocks.blocks import BLOCKS, divides
from archcalc.networks.sequence.positions import POSITIONAL_ENCODING_DRAWING, PositionalEncoding
from archcalc.networks.sequence.transformer import (
    ATTENTION_DRAWING,
    DECODER_LAYER_DRAWING,
    ENCODER_LAYER_DRAWING,
    MULTI_HEAD_ATTENTION_DRAWING,
    TRANSFORMER,
    DecoderLayer,
    EncoderLayer,
    MultiHeadAttention,
    ScaledDotProductAttention,
)
from archcalc.networks.spec import Network, at_least, register
from archcalc.text.spelling import setting
from archcalc.text.units import share

ENCODER_SELF_ATTENTION_DRAWING = """
            key 1   2   3  pad
position 1      *   *   *   .       * a score that counts
position 2      *   *   *   .       . hidden: the softmax gives it no weight
position 3      *   *   *   .
padding         *   *   *   .       computed, and its output is not read
"""
MASKED_SELF_ATTENTION_DRAWING = """
            key 1   2   3   4
position 1      *   .   .   .       * a score that counts
position 2      *   *   .   .       . hidden: a word that is still to come
position 3      *   *   *   .
position 4      *   *   *   *       n(n + 1)/2 of n² scores count
"""
CROSS_ATTENTION_DRAWING = """
            key 1   2   3  pad      keys and values: the encoder's output
target 1        *   *   *   .
target 2        *   *   *   .       queries: the target so far
"""


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself: N, n, d_model -> N, n, d_model."""

    def __init__(self, attention: MultiHeadAttention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.attention(x, x, mask)  # N, n, d_model


class MaskedSelfAttention(SelfAttention):
    """The same where a position sees those before it alone: N, n, d_model -> N, n, d_model."""

    def forward(self, x: Tensor, sequence_mask: Tensor) -> Tensor:  # type: ignore[override]
        return self.attention(x, x, sequence_mask)  # N, n, d_model


def attention(heads: int = 8, d_k: int = 64, d_v: int = 64, n: int = 128, m: int = 128) -> ScaledDotProductAttention:
    """softmax(Q Kᵀ / √d_k) V for n queries and m keys: n·m·(d_k + d_v) multiply-adds a head, no parameters."""
    _sizes(heads=heads, d_k=d_k, d_v=d_v, n=n, m=m)
    return ScaledDotProductAttention(0.0)


def multi_head_attention(
    d_model: int = 512, heads: int = 8, d_k: int = 0, d_v: int = 0, bias: bool = False, seq_len: int = 128
) -> SelfAttention:
    """H attentions between four projections: 4d² weights, 4nd² + 2n²d multiply-adds where d_k = d_v = d/h."""
    _sizes(seq_len=seq_len)
    return SelfAttention(_heads(d_model, heads, d_k, d_v, bias))


def encoder_self_attention(
    d_model: int = 512, heads: int = 8, d_k: int = 0, d_v: int = 0, seq_len: int | None = 128,
    lengths: tuple[int, ...] | None = None,
) -> SelfAttention:  # fmt: skip
    """The encoder's use: every position sees all that are not padding; `lengths` are those of a padded batch."""
    _demand_batch(seq_len, lengths)
    return SelfAttention(_heads(d_model, heads, d_k, d_v))


def masked_self_attention(
    d_model: int = 512, heads: int = 8, d_k: int = 0, d_v: int = 0, seq_len: int = 128
) -> SelfAttention:
    """The decoder's own use: a position sees itself and those before it, half of the scores are hidden."""
    _sizes(seq_len=seq_len)
    return MaskedSelfAttention(_heads(d_model, heads, d_k, d_v))


def cross_attention(
    d_model: int = 512, heads: int = 8, d_k: int = 0, d_v: int = 0, src_len: int = 128, tgt_len: int = 128
) -> MultiHeadAttention:
    """The decoder's use of the encoder: queries of the target, keys and values of the source."""
    _sizes(src_len=src_len, tgt_len=tgt_len)
    return _heads(d_model, heads, d_k, d_v)


def encoder_layer(
    d_model: int = 512, heads: int = 8, d_k: int = 0, d_v: int = 0, d_ff: int = 2048, seq_len: int | None = 128,
    lengths: tuple[int, ...] | None = None,
) -> EncoderLayer:  # fmt: skip
    """Self-attention and feed-forward; `lengths` are those of a padded batch."""
    _demand_batch(seq_len, lengths)
    return EncoderLayer(d_model, heads, _d_k(d_model, heads, d_k, d_v), d_ff, False, nn.ReLU(), 0.1, d_v)


def decoder_layer(
    d_model: int = 512, heads: int = 8, d_k: int = 0, d_v: int = 0, d_ff: int = 2048, src_len: int = 128,
    tgt_len: int = 128,
) -> DecoderLayer:  # fmt: skip
    """Masked self-attention, encoder-decoder attention and feed-forward."""
    _sizes(d_ff=d_ff, src_len=src_len, tgt_len=tgt_len)
    return DecoderLayer(d_model, heads, _d_k(d_model, heads, d_k, d_v), d_ff, 0.1, d_v)


def positional_encoding(d_model: int = 512, max_len: int = 512, seq_len: int = 128) -> PositionalEncoding:
    """PE(pos, 2i) = sin(pos/10000^(2i/d)), PE(pos, 2i+1) = cos of it, added to x: no parameters, no MACs."""
    _sizes(d_model=d_model, seq_len=seq_len)
    if d_model % 2:
        raise BadKnob("d_model", d_model, "positions are pairs of sine and cosine", f"for example {d_model + 1}")
    if seq_len > max_len:
        raise BadKnob("seq_len", seq_len, f"the table has {max_len} positions", f"add  --set max_len={seq_len}")
    return PositionalEncoding(max_len, d_model)


def _sizes(**sizes: int) -> None:
    for knob, value in sizes.items():
        at_least(knob, value, 1)


def _heads(d_model: int, heads: int, d_k: int, d_v: int, bias: bool = False) -> MultiHeadAttention:
    return MultiHeadAttention(d_model, heads, _d_k(d_model, heads, d_k, d_v), bias, 0.0, d_v)


def _d_k(d_model: int, heads: int, d_k: int, d_v: int) -> int:
    """The d_k that is meant; heads need not divide the model where both of their sizes are given."""
    _sizes(d_model=d_model, heads=heads)
    at_least("d_k", d_k, 0)
    at_least("d_v", d_v, 0)
    if not (d_k and d_v):
        divides("heads", heads, "d_model", d_model)
    return d_k or d_model // heads


def _demand_batch(seq_len: int | None, lengths: tuple[int, ...] | None) -> None:
    if lengths is None:
        at_least("seq_len", seq_len or 0, 1)
        return
    at_least("lengths", min(lengths), 1)
    if seq_len is not None:
        reason = f"lengths={setting(lengths)} says how long the sequences are"
        raise BadKnob("seq_len", seq_len, reason, "leave one of them out")


def spent_on_padding(config: Mapping[str, Any]) -> str:
    """The share of the multiply-adds that padding takes, as a sentence; '' without lengths.

    Projections and feed-forward run at every position, scores at every pair; what a sequence alone would take is used.
    """
    lengths = config.get("lengths")
    if not lengths:
        return ""
    d, h = config["d_model"], config["heads"]
    d_k, d_v = config["d_k"] or d // h, config["d_v"] or d // h
    position = 2 * d * h * (d_k + d_v) + 2 * d * config.get("d_ff", 0)
    pair = h * (d_k + d_v)
    N, n = len(lengths), max(lengths)
    whole = position * N * n + pair * N * n * n
    used = position * sum(lengths) + pair * sum(length * length for length in lengths)
    padded = N * n - sum(lengths)
    pairs = N * n * n - sum(length * length for length in lengths)
    of_position = f"2d·h(d_k + d_v){' + 2d·d_ff' if 'd_ff' in config else ''}"
    return (
        f"padding mask: {padded:,} of {N} x {n} positions are padding; they take {whole - used:,} MACs, "
        f"{share(whole - used, whole)} of all: {padded:,} positions of {of_position} = {position:,}, and "
        f"{pairs:,} of {N} x {n}² pairs of h(d_k + d_v) = {pair:,}"
    )


def hidden_triangle(config: Mapping[str, Any]) -> str:
    """The scores that a sequence mask hides, as a sentence."""
    n = config["seq_len"]
    hidden = n * (n - 1) // 2
    return (
        f"sequence mask: {n} x {n - 1} / 2 = {hidden:,} of {n * n:,} scores of a head are hidden "
        f"({share(hidden, n * n)}) and computed all the same; --convention half-causal leaves them out"
    )


register(
    *(
        Network(name, BLOCKS, build, inputs, about=str(build.__doc__), paper=TRANSFORMER.paper, diagram=diagram, **more)
        for name, build, inputs, diagram, more in (
            ("attention", attention, queries_keys_values, ATTENTION_DRAWING, {}),
            ("multi-head-attention", multi_head_attention, positions, MULTI_HEAD_ATTENTION_DRAWING, {}),
            (
                "encoder-self-attention",
                encoder_self_attention,
                positions_with_mask,
                ENCODER_SELF_ATTENTION_DRAWING,
                {"either": ("seq_len", "lengths"), "remark": spent_on_padding},
            ),
            (
                "masked-self-attention",
                masked_self_attention,
                masked_positions,
                MASKED_SELF_ATTENTION_DRAWING,
                {"remark": hidden_triangle},
            ),
            ("cross-attention", cross_attention, cross_inputs, CROSS_ATTENTION_DRAWING, {}),
            (
                "encoder-layer",
                encoder_layer,
                positions_with_mask,
                ENCODER_LAYER_DRAWING,
                {"either": ("seq_len", "lengths"), "remark": spent_on_padding},
            ),
            ("decoder-layer", decoder_layer, decoder_inputs, DECODER_LAYER_DRAWING, {}),
            ("positional-encoding", positional_encoding, positions, POSITIONAL_ENCODING_DRAWING, {}),
        )
    ),
    file=__name__,
)
