"""A decoder of one's own with a cache: forward(tokens, cache=None) returns the logits and the cache."""

import torch
from torch import Tensor, nn
from torch.nn import functional

Cache = list[tuple[Tensor, Tensor]]


class Attention(nn.Module):
    """Eight heads of queries over two of keys and values."""

    def __init__(self, width: int, heads: int = 8, kv_heads: int = 2) -> None:
        super().__init__()
        self.size = width // heads
        self.queries = nn.Linear(width, width, bias=False)
        self.keys_and_values = nn.Linear(width, 2 * kv_heads * self.size, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The answer of each token, and the keys and values of all tokens so far."""
        q = self.queries(x).unflatten(-1, (-1, self.size)).transpose(1, 2)  # N, 8, n, d
        k, v = self.keys_and_values(x).unflatten(-1, (-1, self.size)).transpose(1, 2).chunk(2, 1)  # N, 2, n, d
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=past is None, enable_gqa=True)
        return self.out(y.transpose(1, 2).flatten(2)), (k, v)


class Layer(nn.Module):
    """Attention and a feed-forward part, each behind a norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attention = Attention(width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The next states, and the cache of this layer."""
        y, kept = self.attention(self.norm1(x), past)
        x = x + y
        return x + self.feed_forward(self.norm2(x)), kept


class Decoder(nn.Module):
    """A small language model."""

    def __init__(self, width: int = 1024, layers: int = 16, words: int = 32_000) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(layers))
        self.head = nn.Linear(width, words, bias=False)

    def forward(self, tokens: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Logits of every position, and the cache for the next tokens."""
        x, kept = self.words(tokens), []
        for number, layer in enumerate(self.layers):
            x, own = layer(x, None if cache is None else cache[number])
            kept.append(own)
        return self.head(x), kept
