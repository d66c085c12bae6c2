"""Causal attention: found by how the mask is made, halved exactly, and left alone where it is not causal."""

import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.helpers import report, run, totals

N, H, T, D = 2, 4, 16, 8
HIDDEN = 2 * N * H * D * (T * (T - 1) // 2)  # both products, for the T(T-1)/2 pairs above the diagonal


class Attends(nn.Module):
    """Attention with a mask of its own making."""

    def __init__(self, mask: Callable[[int], Tensor]) -> None:
        super().__init__()
        self.mask = mask

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = q @ k.transpose(-1, -2) / 8**0.5
        scores = scores.masked_fill(self.mask(q.shape[-2]), float("-inf"))
        return functional.dropout(scores.softmax(-1), 0.1, self.training) @ v


def upper(n: int) -> Tensor:
    return torch.triu(torch.ones(n, n), 1) > 0


def compared(n: int) -> Tensor:
    places = torch.arange(n, device="meta")
    return places[:, None] < places[None, :]


def lengths(n: int) -> Tensor:
    return torch.arange(n, device="meta")[None, :] > 5


class Fused(nn.Module):
    """F.scaled_dot_product_attention with its own flag."""

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)


@pytest.mark.parametrize("module", [Attends(upper), Attends(compared), Fused()], ids=["triu", "compared", "is_causal"])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_causal_mask_is_found(module: nn.Module, mode: str) -> None:
    made = report(module, [(N, H, T, D)] * 3, mode=mode)
    assert made.totals["causal_hidden_macs"] == HIDDEN
    assert made.macs == 2 * N * H * T * T * D


def test_torch_attention_with_its_square_mask() -> None:
    layer = nn.MultiheadAttention(H * D, H, batch_first=True)
    mask = nn.Transformer.generate_square_subsequent_mask

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x, x, x, attn_mask=mask(x.shape[1]), need_weights=False)[0]

    assert report(Model(), (N, T, H * D)).totals["causal_hidden_macs"] == HIDDEN


@pytest.mark.parametrize("module", [Attends(lengths)], ids=["padding"])
def test_a_padding_mask_is_not_causal(module: nn.Module) -> None:
    assert report(module, [(N, H, T, D)] * 3).totals["causal_hidden_macs"] == 0


def test_other_lengths_are_counted_in_full() -> None:
    assert report(Fused(), [(N, H, T, D), (N, H, 2 * T, D), (N, H, 2 * T, D)]).totals["causal_hidden_macs"] == 0


def test_the_decoder_hides_and_the_encoder_does_not() -> None:
    """6 layers x 8 heads x 128·127/2 pairs x 64 features x 2 products."""
    hidden = 6 * 8 * (128 * 127 // 2) * 64 * 2
    full, half = totals("flops", "transformer"), totals("flops", "transformer", "--convention", "half-causal")
    assert full["causal_hidden_macs"] == hidden == full["macs"] - half["macs"]
    assert totals("flops", "bert-base")["causal_hidden_macs"] == 0


def test_both_ways_are_offered_in_words() -> None:
    assert "--convention half-causal" in run("flops", "gpt2").out
    assert "in full 145,824,153,600" in run("flops", "gpt2", "--convention", "half-causal").out
    assert run("flops", "gpt2", "--convention", "thrup").code == 2


def test_rows_add_up_under_every_convention() -> None:
    document = json.loads(run("flops", "gpt2", "--convention", "half-causal", "--json").out)
    assert sum(row["macs"] for row in document["rows"]) == document["totals"]["macs"]
