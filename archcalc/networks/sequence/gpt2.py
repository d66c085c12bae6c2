"""GPT-2: the Transformer's decoder alone, norms before the sublayers, every word seeing those before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from archcalc.networks.sequence.transformer import TRANSFORMER, FeedForward, MultiHeadAttention, checked, within
from archcalc.networks.spec import Input, Network, Paper, Published, register

GPT2_BLOCK_DRAWING = """
x -> LN -> masked self-attention -> + x -> LN -> linear 4d, GELU, linear -> +
"""


class GPT2Block(nn.Module):
    """Pre-norm: x + Attention(LN(x)), then x + FeedForward(LN(x)): N, n, d_model -> N, n, d_model."""

    def __init__(self, d_model: int, heads: int, d_k: int, d_v: int, d_ff: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(d_model)
        self.self_attention = MultiHeadAttention(d_model, heads, d_k, True, 0.1, d_v)
        self.norm2 = nn.LayerNorm(d_model)
        self.feed_forward = FeedForward(d_model, d_ff, nn.GELU(approximate="tanh"), 0.0)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, mask: Tensor, kept: list[Tensor] | None = None) -> Tensor:
        y = self.norm1(x)
        x = x + self.dropout(self.self_attention(y, y, mask, kept))
        return x + self.dropout(self.feed_forward(self.norm2(x)))


class GPT2(nn.Module):
    """The decoder alone; the word embedding is the output matrix too: N, n -> N, n, V.

    `sequence_mask` (1, 1, n, n) hides the words still to come. With `use_cache` the answer is the logits and the cache,
    keys and values of each block, for the next words.
    """

    def __init__(
        self, layers: int, d_model: int, heads: int, d_k: int, d_v: int, d_ff: int, vocab_size: int, length: int
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocab_size, d_model)
        self.positions = nn.Embedding(length, d_model)
        self.dropout = nn.Dropout(0.1)
        self.blocks = nn.ModuleList(GPT2Block(d_model, heads, d_k, d_v, d_ff) for _ in range(layers))
        self.norm = nn.LayerNorm(d_model)

    def forward(
        self,
        tokens: Tensor,
        sequence_mask: Tensor,
        cache: list[list[Tensor]] | None = None,
        use_cache: bool = False,
    ) -> Any:
        start = cache[0][0].shape[2] if cache else 0
        if use_cache and cache is None:
            cache = [[] for _ in self.blocks]
        places = torch.arange(start, start + tokens.shape[1], device=tokens.device)  # n
        x = self.dropout(self.words(tokens) + self.positions(places))  # N, n, d_model
        for number, block in enumerate(self.blocks):
            x = block(x, sequence_mask, cache[number] if cache else None)  # N, n, d_model
        logits = functional.linear(self.norm(x), self.words.weight)  # N, n, V
        return (logits, cache) if use_cache else logits


def gpt2(
    layers: int = 12,
    d_model: int = 768,
    heads: int = 12,
    d_k: int = 0,
    d_v: int = 0,
    d_ff: int = 0,
    vocab_size: int = 50_257,
    seq_len: int = 1024,
    max_len: int = 1024,
) -> GPT2:
    """GPT-2 with its language-model head, tied to the embedding; `d_ff` 0 means 4 d_model."""
    d_k = checked(layers, d_model, heads, d_k, d_v, d_ff or 1, vocab_size)
    within(seq_len, max_len)
    return GPT2(layers, d_model, heads, d_k, d_v, d_ff or 4 * d_model, vocab_size, max_len)


def text(config: Mapping[str, Any]) -> tuple[Input, ...]:
    """A text and its sequence mask."""
    n = config["seq_len"]
    return (
        Input("tokens", ("batch", "seq_len"), (1, n), "int64"),
        Input("sequence_mask", ("one", "one", "seq_len", "seq_len"), (1, 1, n, n), "bool"),
    )


PAPER = Paper(
    "Language Models are Unsupervised Multitask Learners", "Radford, Wu, Child, Luan, Amodei, Sutskever", 2019, "OpenAI"
)
HF = "transformers 5.23.0"
CORRECTED = "the paper's count was wrong; OpenAI's README corrects it to"
for name, layers, d_model, heads, paper_says, readme, exact in (
    ("gpt2", 12, 768, 12, "117M", "124M", "124,439,808"),
    ("gpt2-medium", 24, 1024, 16, "345M", "355M", "354,823,168"),
    ("gpt2-large", 36, 1280, 20, "762M", "774M", ""),
    ("gpt2-xl", 48, 1600, 25, "1542M", "1558M", "1,557,611,200"),
):
    flops = (Published("macs", "145,824,153,600", "291,648,307,200 FLOPs at 1,024 tokens, counted by hand"),)
    register(
        Network(
            name=name,
            family=TRANSFORMER,
            diagram=GPT2_BLOCK_DRAWING,
            build=gpt2,
            same_as="hf:GPT2LMHeadModel" if name == "gpt2" else "",
            inputs=text,
            paper=PAPER,
            knobs={"layers": layers, "d_model": d_model, "heads": heads},
            about="The decoder alone: every word sees those before it.",
            published=(
                Published("params", paper_says, "GPT-2 paper, Table 2", note=f"{CORRECTED} {readme}"),
                Published("params", readme, "openai/gpt-2 README"),
                *((Published("params", exact, HF),) if exact else ()),
                *(flops if name == "gpt2" else ()),
            ),
        ),
        file=__name__,
    )
