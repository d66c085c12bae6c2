"""Llama 3 of 70 billion parameters from its published configuration: grouped queries, SwiGLU, rotary positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

D, LAYERS, HEADS, KV_HEADS, D_FF, VOCABULARY = 8192, 80, 64, 8, 28672, 128256
D_K = D // HEADS


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """N, h, T, d_k: pairs of features turned by their position's angle."""
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class Layer(nn.Module):
    """Attention and feed-forward part, each behind its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.norm2 = nn.RMSNorm(D), nn.RMSNorm(D)
        self.q, self.o = (nn.Linear(D, D, bias=False) for _ in "qo")
        self.k, self.v = (nn.Linear(D, KV_HEADS * D_K, bias=False) for _ in "kv")
        self.gate, self.up = (nn.Linear(D, D_FF, bias=False) for _ in "gu")
        self.down = nn.Linear(D_FF, D, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """N, T, D -> N, T, D."""
        n, t, _ = x.shape
        y = self.norm(x)
        q, k, v = (part(y).view(n, t, -1, D_K).transpose(1, 2) for part in (self.q, self.k, self.v))
        q, k = rotated(q, cos, sin), rotated(k, cos, sin)
        k, v = (one.repeat_interleave(HEADS // KV_HEADS, 1) for one in (k, v))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(n, t, D))
        y = self.norm2(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    """Words, layers, and a head of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, D)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm, self.head = nn.RMSNorm(D), nn.Linear(D, VOCABULARY, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """N, T -> N, T, V."""
        x = self.words(tokens)
        angles = torch.ones(tokens.shape[1], D_K, dtype=x.dtype, device=x.device)
        for layer in self.layers:
            x = layer(x, angles.cos(), angles.sin())
        return self.head(self.norm(x))
