"""Modules of torch.nn and by hand for the memory bench: recurrent nets, Transformers with every attention, dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Shape = tuple[int, ...]


class Cells(nn.Module):
    """A recurrent cell of torch.nn unrolled by hand."""

    def __init__(self, cell: nn.Module, hidden: int) -> None:
        super().__init__()
        self.cell, self.hidden = cell, hidden

    def forward(self, x: Tensor) -> Tensor:
        """T, N, I -> N, H."""
        state: Any = x.new_zeros(x.shape[1], self.hidden)
        if isinstance(self.cell, nn.LSTMCell):
            state = (state, state)
        for step in x:
            state = self.cell(step, state)
        return state[0] if isinstance(state, tuple) else state


class Block(nn.Module):
    """Pre-norm causal self-attention and a feed-forward part, as GPTs have them."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """N, T, D -> N, T, D."""
        n, t, d = x.shape
        heads = (
            part.view(n, t, self.heads, d // self.heads).transpose(1, 2) for part in self.qkv(self.norm(x)).split(d, 2)
        )
        y = functional.scaled_dot_product_attention(*heads, dropout_p=self.dropout, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(n, t, d))
        return x + self.feed_forward(self.norm2(x))


class GPT(nn.Module):
    """A small language model whose attention is torch's own."""

    def __init__(
        self, width: int = 128, heads: int = 4, layers: int = 3, vocab: int = 1000, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(vocab, width), nn.Parameter(torch.zeros(256, width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocab, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """N, T -> N, T, V."""
        x = self.words(tokens) + self.positions[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Pairs(nn.Module):
    """An encoder-decoder Transformer of torch.nn with a causal mask."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.net = nn.Transformer(128, 4, 2, 2, 256, dropout, batch_first=True)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """N, S, D and N, T, D -> N, T, D."""
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1], device=target.device, dtype=target.dtype)
        return self.net(source, target, tgt_mask=mask)


def encoder(dropout: float) -> nn.Module:
    """Three encoder layers of torch.nn."""
    layer = nn.TransformerEncoderLayer(128, 4, 512, dropout, batch_first=True)
    return nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)


def mlp() -> nn.Module:
    """Two linear layers."""
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 8))


class InAutocast(nn.Module):
    """A network whose forward enters autocast by itself, in bfloat16."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """The network's result."""
        with torch.autocast(x.device.type, torch.bfloat16):
            return self.network(x)


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[Shape, ...]]] = {
    "nn.LSTM": (lambda: nn.LSTM(96, 128), ((35, 8, 96),)),
    "nn.LSTM, 2 layers, both directions": (
        lambda: nn.LSTM(96, 128, 2, bidirectional=True, dropout=0.2, batch_first=True),
        ((8, 35, 96),),
    ),
    "nn.LSTM projected": (lambda: nn.LSTM(96, 128, proj_size=64), ((20, 8, 96),)),
    "nn.GRU": (lambda: nn.GRU(96, 128), ((20, 8, 96),)),
    "nn.RNN, 2 layers": (lambda: nn.RNN(96, 128, 2), ((20, 8, 96),)),
    "nn.LSTMCell": (lambda: Cells(nn.LSTMCell(96, 128), 128), ((20, 8, 96),)),
    "nn.GRUCell": (lambda: Cells(nn.GRUCell(96, 128), 128), ((20, 8, 96),)),
    "nn.TransformerEncoder": (lambda: encoder(0.0), ((4, 100, 128),)),
    "nn.TransformerEncoder, dropout": (lambda: encoder(0.1), ((4, 100, 128),)),
    "nn.Transformer": (lambda: Pairs(0.0), ((4, 60, 128), (4, 50, 128))),
    "nn.Transformer, dropout": (lambda: Pairs(0.1), ((4, 60, 128), (4, 50, 128))),
    "GPT": (GPT, ((4, 128),)),
    "GPT, dropout": (lambda: GPT(dropout=0.1), ((4, 128),)),
    "GPT, wide": (lambda: GPT(width=512, heads=8, vocab=8000), ((4, 256),)),
    "Conv1d": (
        lambda: nn.Sequential(nn.Conv1d(32, 64, 9, padding=4), nn.ReLU(), nn.Conv1d(64, 64, 9, stride=2), nn.ReLU()),
        ((8, 32, 500),),
    ),
    "Conv3d": (
        lambda: nn.Sequential(nn.Conv3d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv3d(32, 48, 3, stride=2), nn.ReLU()),
        ((2, 3, 12, 24, 24),),
    ),
    "MLP": (mlp, ((32, 64),)),
    "MLP in its own autocast": (lambda: InAutocast(mlp()), ((32, 64),)),
    "nn.TransformerEncoder in its own autocast": (lambda: InAutocast(encoder(0.1)), ((4, 100, 128),)),
}
"""By name: how to make it, and the shapes of its inputs; token numbers for the GPTs."""


def inputs_of(name: str) -> tuple[Tensor, ...]:
    """Real zeros for a model."""
    dtype = torch.int64 if name.startswith("GPT") else torch.float32
    return tuple(torch.zeros(shape, dtype=dtype) for shape in MODELS[name][1])
