"""Stages of attention and of whole transformer layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.random_programs.stage import SEQUENCE, Apply, Draw, parameter, stage


@stage(SEQUENCE)
def multihead(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Self-attention with all that the module offers."""
    layer = nn.MultiheadAttention(
        c, 2, 0.1, draw.flag(), add_bias_kv=draw.flag(), add_zero_attn=draw.flag(), batch_first=True
    )
    weights = draw.flag()
    return Apply(lambda m, x: m.layer(x, x, x, need_weights=weights)[0], layer=layer)


@stage(SEQUENCE)
def cross_attention(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Keys and values of other widths, steps first, the weights of each head are used."""
    memory = nn.Linear(c, 6)

    def forward(m: Apply, x: Tensor) -> Tensor:
        q, kv = x.transpose(0, 1), m.memory(x[:, :3]).transpose(0, 1)
        out, weights = m.layer(q, kv, kv, average_attn_weights=False)
        return out.transpose(0, 1) + weights.mean((1, 3)).unsqueeze(2)

    return Apply(forward, layer=nn.MultiheadAttention(c, 2, kdim=6, vdim=6), memory=memory)


@stage(SEQUENCE)
def masked_attention(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """The module with a causal mask, a float mask, or a mask of padded keys."""
    causal = nn.Transformer.generate_square_subsequent_mask(t)
    padded = torch.zeros(n, t, dtype=torch.bool)
    padded[:, t - 1] = True
    which = draw.pick({"attn_mask": causal}, {"attn_mask": causal < 0}, {"key_padding_mask": padded})
    if "attn_mask" in which and draw.flag():
        which = {"attn_mask": causal, "is_causal": True}

    def forward(m: Apply, x: Tensor) -> Tensor:
        masks = {name: getattr(m, name) for name in which if name != "is_causal"}
        flags = {"is_causal": True} if "is_causal" in which else {}
        return m.layer(x, x, x, need_weights=False, **masks, **flags)[0]

    tensors = {name: mask for name, mask in which.items() if isinstance(mask, Tensor)}
    return Apply(forward, layer=nn.MultiheadAttention(c, 2, batch_first=True), **tensors)


@stage(SEQUENCE)
def sdpa(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """The functional: causal, with a mask of numbers or of truths, or plain."""
    mask = draw.pick(None, "bool", "float")
    causal = mask is None and draw.flag()

    def forward(m: Apply, x: Tensor) -> Tensor:
        q, k, v = m.qkv(x).view(n, t, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
        given = None if mask is None else torch.ones(t, t, dtype=torch.bool).tril()
        if mask == "float":
            given = torch.zeros(t, t).masked_fill(~given, float("-inf"))
        out = F.scaled_dot_product_attention(q, k, v, given, 0.1 if m.training else 0.0, causal, scale=draw_scale)
        return out.transpose(1, 2).flatten(2)

    draw_scale = draw.pick(None, 0.5)
    return Apply(forward, qkv=nn.Linear(c, 3 * c))


@stage(SEQUENCE)
def grouped_queries(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Four heads of queries share two heads of keys and values, of unlike widths."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        q = m.q(x).view(n, t, 4, 3).transpose(1, 2)
        k = m.k(x).view(n, t, 2, 3).transpose(1, 2)
        v = m.v(x).view(n, t, 2, 2).transpose(1, 2)
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=True).transpose(1, 2).flatten(2)

    return Apply(forward, q=nn.Linear(c, 12), k=nn.Linear(c, 6), v=nn.Linear(c, 4))


@stage(SEQUENCE)
def written_attention(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Attention in matrix products with a causal mask from a buffer, and a bias taken from a table by distance."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        q, k, v = (part.view(n, t, 2, -1).transpose(1, 2) for part in m.qkv(x).split(c, 2))
        scores = q @ k.mT / c**0.5 + m.table.take(m.distance[:t, :t])
        scores = scores.masked_fill(m.mask[:t, :t] == 0, float("-inf"))
        return (scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, c)

    places = torch.arange(12)
    distance = (places[:, None] - places[None]).abs()
    mask = torch.tril(torch.ones(12, 12))
    return Apply(forward, qkv=nn.Linear(c, 3 * c), table=parameter(12), distance=distance, mask=mask)


@stage(SEQUENCE)
def rotary(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Pairs of features turn as complex numbers by the place."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        angles = torch.outer(torch.arange(t), 1.0 / 100 ** (torch.arange(0, c, 2) / c))
        turns = torch.polar(torch.ones_like(angles), angles)
        pairs = torch.view_as_complex(m.layer(x).float().reshape(n, t, c // 2, 2))
        return torch.view_as_real(pairs * turns).flatten(2).type_as(x)

    return Apply(forward, layer=nn.Linear(c, c, bias=False))


@stage(SEQUENCE)
def encoder_layer(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Norms before or after, either activation; one layer or a stack."""
    layer = nn.TransformerEncoderLayer(
        c, 2, 10, 0.1, draw.pick("relu", "gelu"), batch_first=True, norm_first=draw.flag(), bias=draw.flag()
    )
    return draw.pick(layer, nn.TransformerEncoder(layer, 2, nn.LayerNorm(c), enable_nested_tensor=False))


@stage(SEQUENCE)
def decoder_layer(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """A layer of a decoder over a memory of other length, with a causal mask."""
    layer = nn.TransformerDecoderLayer(c, 2, 10, 0.1, batch_first=True, norm_first=draw.flag())

    def forward(m: Apply, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(t)
        return m.layer(x, x[:, 1:], tgt_mask=mask, tgt_is_causal=True)

    return Apply(forward, layer=layer)


@stage(SEQUENCE)
def transformer(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """The whole module: encoder and decoder."""
    model = nn.Transformer(c, 2, 1, 1, 8, 0.1, batch_first=True)
    return Apply(lambda m, x: m.model(x, x.flip(1)), model=model)


@stage(SEQUENCE)
def cached_steps(draw: Draw, n: int, t: int, c: int) -> nn.Module:
    """Step by step: each query meets the keys of all steps so far, kept in a cache that grows."""

    def forward(m: Apply, x: Tensor) -> Tensor:
        keys = x.new_empty(n, 0, c)
        out = []
        for step in m.layer(x).split(1, dim=1):
            keys = torch.cat([keys, step], 1)
            out.append(torch.baddbmm(step, (step @ keys.mT).softmax(2), keys, beta=0.5))
        return torch.cat(out, 1)

    return Apply(forward, layer=nn.Linear(c, c))
