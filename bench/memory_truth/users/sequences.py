"""Networks for texts, sounds and series as users write them: recurrent classifiers, attention by einsum, experts."""

# ruff: noqa: D102, forward reads as its user wrote it

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.memory_truth.users.given import Program, both, floats, tokens


class TextLSTM(nn.Module):
    """Embedding, a recurrent layer in both directions, the last hidden states, a classifier."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU] = nn.LSTM, layers: int = 2, both: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(5_000, 64, padding_idx=0)
        self.rnn = kind(64, 96, layers, batch_first=True, bidirectional=both, dropout=0.2 if layers > 1 else 0.0)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(96 * (1 + both), 4))

    def forward(self, words: Tensor) -> Tensor:
        _, state = self.rnn(self.embed(words))
        hidden = state[0] if isinstance(state, tuple) else state
        ends = torch.cat([hidden[-2], hidden[-1]], 1) if self.rnn.bidirectional else hidden[-1]
        return self.head(ends)


class Tagger(nn.Module):
    """A label for each word from a GRU over convolved characters."""

    def __init__(self) -> None:
        super().__init__()
        self.characters = nn.Embedding(100, 24)
        self.conv = nn.Conv1d(24, 48, 3, padding=1)
        self.rnn = nn.GRU(48, 64, batch_first=True, bidirectional=True)
        self.tags = nn.Linear(128, 17)

    def forward(self, characters: Tensor) -> Tensor:
        b, words, length = characters.shape
        x = self.characters(characters).view(b * words, length, -1).transpose(1, 2)
        x = F.relu(self.conv(x)).max(dim=2).values.view(b, words, -1)
        return F.log_softmax(self.tags(self.rnn(x)[0]), dim=-1)


class Seq2Seq(nn.Module):
    """A decoder of cells with Bahdanau's attention, step by step."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(1_000, width), nn.Embedding(1_000, width)
        self.encoder = nn.GRU(width, width, batch_first=True)
        self.cell = nn.GRUCell(2 * width, width)
        self.key, self.query, self.energy = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 1)
        self.out = nn.Linear(width, 1_000)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        states, last = self.encoder(self.source(source))
        hidden, steps = last[0], []
        keys = self.key(states)
        for t in range(target.shape[1]):
            weights = self.energy(torch.tanh(keys + self.query(hidden).unsqueeze(1))).softmax(1)
            context = (weights * states).sum(1)
            hidden = self.cell(torch.cat([self.target(target[:, t]), context], -1), hidden)
            steps.append(self.out(hidden))
        return torch.stack(steps, 1)


class Einsum(nn.Module):
    """Attention written with einsum, a mask filled in, rotary positions."""

    def __init__(self, width: int = 128, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.embed = nn.Embedding(2_000, width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))
        self.norm = nn.RMSNorm(width)
        self.gate, self.up, self.down = nn.Linear(width, 256), nn.Linear(width, 256), nn.Linear(256, width)

    def rotate(self, x: Tensor) -> Tensor:
        half = x.shape[-1] // 2
        frequencies = 1.0 / (10_000 ** (torch.arange(half, device=x.device) / half))
        angles = torch.outer(torch.arange(x.shape[1], device=x.device), frequencies)[None, :, None]
        a, b = x[..., :half], x[..., half:]
        return torch.cat([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], -1)

    def forward(self, words: Tensor) -> Tensor:
        x = self.embed(words)
        b, t, d = x.shape
        y = self.norm(x)
        q, k, v = (part(y).view(b, t, self.heads, -1) for part in (self.q, self.k, self.v))
        scores = torch.einsum("bqhd,bkhd->bhqk", self.rotate(q), self.rotate(k)) / math.sqrt(d // self.heads)
        mask = torch.triu(torch.ones(t, t, dtype=torch.bool, device=x.device), 1)
        weights = scores.masked_fill(mask, float("-inf")).softmax(-1)
        x = x + self.o(torch.einsum("bhqk,bkhd->bqhd", weights, v.to(weights.dtype)).reshape(b, t, d))
        return x + self.down(F.silu(self.gate(x)) * self.up(x))


class Experts(nn.Module):
    """Top-2 routing over experts in a loop; every expert sees all tokens, weighted."""

    def __init__(self, width: int = 96, experts: int = 4) -> None:
        super().__init__()
        self.router = nn.Linear(width, experts)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)) for _ in range(experts)
        )

    def forward(self, x: Tensor) -> Tensor:
        shares = self.router(x).softmax(-1)
        best, chosen = shares.topk(2, dim=-1)
        kept = torch.zeros_like(shares).scatter(-1, chosen, best)
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            out = out + kept[..., number : number + 1] * expert(x)
        return out


class TiedModel(nn.Module):
    """A language model whose head shares the embedding's weight."""

    def __init__(self, vocabulary: int = 4_000, width: int = 128) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, activation="gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, words: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(words.shape[1], device=words.device)
        x = self.embed(words)
        return self.head(self.body(x, mask=mask.to(x.dtype), is_causal=True))


class WaveNet(nn.Module):
    """Dilated causal convolutions with gates, skips added up."""

    def __init__(self, width: int = 32, layers: int = 6) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, width, 1)
        self.gates = nn.ModuleList(nn.Conv1d(width, 2 * width, 2, dilation=2**n) for n in range(layers))
        self.skips = nn.ModuleList(nn.Conv1d(width, width, 1) for _ in range(layers))
        self.last = nn.Conv1d(width, 64, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.first(x), None
        for n, (gate, skip) in enumerate(zip(self.gates, self.skips, strict=True)):
            a, b = gate(F.pad(x, (2**n, 0))).chunk(2, 1)
            y = skip(torch.tanh(a) * torch.sigmoid(b))
            total = y if total is None else total + y
            x = x + y
        return self.last(F.relu(total))


class Bags(nn.Module):
    """fastText: the mean of a bag's embeddings, and a number for each user."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(20_000, 64, mode="mean")
        self.users = nn.EmbeddingBag(5_000, 64, mode="sum")
        self.deep = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.BatchNorm1d(256), nn.Linear(256, 8))

    def forward(self, words: Tensor, users: Tensor) -> Tensor:
        words, users = words.repeat(8, 1), users.repeat(8, 1)
        return self.deep(torch.cat([self.words(words), self.users(users)], 1))


class Cumulative(nn.Module):
    """Linear attention by cumulative sums."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, -1)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        states = torch.cumsum(k.unsqueeze(-1) * v.unsqueeze(-2), dim=1)
        weights = torch.cumsum(k, dim=1)
        y = (q.unsqueeze(-2) @ states).squeeze(-2) / (q * weights).sum(-1, keepdim=True).clamp(min=1e-6)
        return self.out(y)


class Conformer(nn.Module):
    """Half feed-forward steps round attention and a gated depthwise 1-d convolution."""

    def __init__(self, width: int = 80) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width))
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, dropout=0.1, batch_first=True)
        self.wide = nn.Conv1d(width, 2 * width, 1)
        self.depth = nn.Conv1d(width, width, 15, padding=7, groups=width)
        self.batch = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.5 * self.first(x)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        x = x + F.silu(self.batch(self.depth(F.glu(self.wide(x.transpose(1, 2)), dim=1)))).transpose(1, 2)
        return x + 0.5 * self.second(x)


class Spectrum(nn.Module):
    """FNet: mixes tokens by a Fourier transform."""

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x + torch.fft.fft2(x.float(), dim=(-2, -1)).real.to(x.dtype))
        return x + self.mlp(x)


class Forecaster(nn.Module):
    """An LSTM over a series, decoded by an LSTM cell with teacher forcing."""

    def __init__(self, width: int = 64, horizon: int = 12) -> None:
        super().__init__()
        self.horizon = horizon
        self.encoder = nn.LSTM(8, width, 1, batch_first=True)
        self.cell = nn.LSTMCell(1, width)
        self.out = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        _, (h, c) = self.encoder(x)
        h, c, y, steps = h[0], c[0], x[:, -1, :1], []
        for _ in range(self.horizon):
            h, c = self.cell(y, (h, c))
            y = self.out(h)
            steps.append(y)
        return torch.cat(steps, 1)


class CTC(nn.Module):
    """Convolutions over a spectrogram, a unidirectional GRU, log-probabilities for CTC."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 16, 3, (2, 2), 1), nn.GELU(), nn.Conv2d(16, 16, 3, (2, 1), 1), nn.GELU())
        self.rnn = nn.GRU(16 * 20, 96, 2, batch_first=True)
        self.head = nn.Linear(96, 29)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x.unsqueeze(1))
        b, c, f, t = y.shape
        return self.head(self.rnn(y.permute(0, 3, 1, 2).reshape(b, t, c * f))[0]).log_softmax(-1)


SEQUENCES: dict[str, Program] = {
    "text lstm both ways": (TextLSTM, tokens(5_000, 48)),
    "text lstm": (lambda: TextLSTM(nn.LSTM, 1, False), tokens(5_000, 64)),
    "text gru both ways": (lambda: TextLSTM(nn.GRU, 2, True), tokens(5_000, 48)),
    "text gru": (lambda: TextLSTM(nn.GRU, 1, False), tokens(5_000, 64)),
    "tagger": (Tagger, tokens(100, 20, 12)),
    "seq2seq with attention": (Seq2Seq, both(tokens(1_000, 20), tokens(1_000, 16))),
    "einsum attention": (Einsum, tokens(2_000, 96)),
    "experts in a loop": (Experts, floats(64, 96)),
    "tied language model": (TiedModel, tokens(4_000, 48)),
    "wavenet": (WaveNet, floats(1, 2_000)),
    "embedding bags": (Bags, both(tokens(20_000, 30), tokens(5_000, 6))),
    "cumulative attention": (Cumulative, floats(128, 48)),
    "conformer": (Conformer, floats(120, 80)),
    "fourier mixing": (Spectrum, floats(96, 96)),
    "forecaster": (Forecaster, floats(48, 8)),
    "speech ctc": (CTC, floats(80, 120)),
}
