"""Attention in its three uses: what knobs, masks and padding cost, in closed form."""

from typing import Any

import pytest
import torch

from archcalc.networks.blocks.attention import masked_self_attention, positional_encoding
from tests.helpers import report, run

d, h, n = 512, 8, 128
CASES: list[tuple[str, dict[str, Any], int, int]] = [
    # name, knobs, parameters, MACs: projections at every position, d_k + d_v products a pair of positions and head
    ("multi-head-attention", {"d_k": 16}, 2 * d * h * (16 + 64), 2 * n * d * h * (16 + 64) + n * n * h * (16 + 64)),
    ("multi-head-attention", {"d_k": 16, "d_v": 32}, 2 * d * h * 48, 2 * n * d * h * 48 + n * n * h * 48),
    ("multi-head-attention", {"heads": 7, "d_k": 64, "d_v": 64}, 4 * d * 448, 4 * n * d * 448 + 2 * n * n * 448),
    ("encoder-self-attention", {}, 4 * d * d, 4 * n * d * d + 2 * n * n * d),
    ("masked-self-attention", {}, 4 * d * d, 4 * n * d * d + 2 * n * n * d),
    # Q and O at 10 positions of the target, K and V at 30 of the source, 10·30 pairs
    ("cross-attention", {"tgt_len": 10, "src_len": 30}, 4 * d * d, 80 * d * d + 2 * 300 * d),
    ("encoder-layer", {"d_k": 16, "d_v": 32}, 2 * d * h * 48 + 2 * d * 2048 + 2048 + d + 4 * d,
     2 * n * d * h * 48 + n * n * h * 48 + 2 * n * d * 2048),
    ("decoder-layer", {"d_v": 32}, 4 * d * h * 96 + 2 * d * 2048 + 2048 + d + 6 * d,
     4 * n * d * h * 96 + 2 * n * n * h * 96 + 2 * n * d * 2048),
    ("positional-encoding", {}, 0, 0),
]  # fmt: skip


@pytest.mark.parametrize(("name", "knobs", "params", "macs"), CASES)
def test_attention_in_closed_form(name: str, knobs: dict[str, Any], params: int, macs: int) -> None:
    made = report(name, knobs=knobs)
    assert (made.params, made.macs) == (params, macs)


@pytest.mark.parametrize("block", ["encoder-self-attention", "encoder-layer"])
def test_work_on_padding_is_the_batch_without_its_sequences(block: str) -> None:
    """A padded batch of 128, 90 and 37, less three batches of one sequence each."""
    padded = report(f"{block}[lengths=(128,90,37)]")
    used = sum(report(f"{block}[seq_len={length}]").macs for length in (128, 90, 37))
    share = f"{100 * (padded.macs - used) / padded.macs:.1f} %"
    wanted = f"129 of 3 x 128 positions are padding; they take {padded.macs - used:,} MACs, {share} of all"
    assert any(wanted in note for note in padded.notes)
    assert padded.macs > used
    position = 2 * d * h * 128 + (2 * d * 2048 if block == "encoder-layer" else 0)
    pairs = 3 * 128**2 - 128**2 - 90**2 - 37**2  # 23,299
    assert padded.macs - used == 129 * position + pairs * h * 128
    formula = f" = {position:,}, and {pairs:,} of 3 x 128² pairs of h(d_k + d_v) = {h * 128:,}"
    assert any(note.endswith(formula) for note in padded.notes)


WIDE = 48  # d_k + d_v of 16 and 32


@pytest.mark.parametrize(
    ("name", "d", "h", "attentions", "bias", "pairs"),
    [
        # three attentions in each of 6 pairs of layers, 128 x 128; biases of W_Q, W_K, W_V and W_O
        ("transformer-base", 512, 8, 18, 0, 128 * 128),
        ("bert-base", 768, 12, 12, 12 * (2 * 16 + 32) + 768, 512 * 512),
        ("gpt2", 768, 12, 12, 12 * (2 * 16 + 32) + 768, 1024 * 1024),
    ],
)
def test_heads_of_other_sizes_in_whole_networks(  # letters of the closed form
    name: str, d: int, h: int, attentions: int, bias: int, pairs: int
) -> None:
    """Smaller heads change the projections, 2·d·h·(d_k + d_v), and the products of pairs, h·(d_k + d_v)."""
    plain, made = report(name), report(name, knobs={"d_k": 16, "d_v": 32})
    of_own = 4 * d * d + (4 * d if bias else 0)
    assert plain.params - made.params == attentions * (of_own - 2 * d * h * WIDE - bias)
    n = round(pairs**0.5)
    assert plain.macs - made.macs == attentions * (n * (4 * d * d - 2 * d * h * WIDE) + pairs * h * (2 * d // h - WIDE))


def test_heads_need_not_divide_the_model_if_both_of_their_sizes_are_given() -> None:
    assert report("bert-base", knobs={"heads": 7, "d_k": 64, "d_v": 64, "layers": 1}).params > 0
    ran = run("params", "bert-base", "--set", "heads=7", "--set", "d_k=64")
    assert ran.code == 2
    assert "d_model=768 does not divide into 7 heads" in ran.err
    assert "d_v=-1" in run("params", "gpt2", "--set", "d_v=-1").err


def test_the_triangle_of_the_sequence_mask() -> None:
    """128·127/2 = 8,128 of 16,384 scores are hidden, and so many times 2·8·64 products."""
    whole = report("masked-self-attention")
    assert any("8,128 of 16,384 scores of a head are hidden (49.6 %)" in note for note in whole.notes)
    ran = run("flops", "masked-self-attention", "--convention", "half-causal")
    assert f"{whole.macs - 8_128 * 2 * 512:,} MACs" in ran.out


def test_a_masked_position_sees_none_behind_it() -> None:
    block = masked_self_attention(d_model=8, heads=2, seq_len=4)
    x, mask = torch.randn(1, 4, 8), torch.ones(1, 1, 4, 4).tril().bool()
    later = x.clone()
    later[:, 2:] += 1
    torch.testing.assert_close(block(x, mask)[:, :2], block(later, mask)[:, :2])
    assert not torch.allclose(block(x, mask)[:, 2:], block(later, mask)[:, 2:])


def test_positions_are_added_and_kept_as_a_buffer() -> None:
    made = report("positional-encoding", knobs={"max_len": 200})
    assert (made.totals["buffers"], made.totals["elementwise_flops"]) == (200 * 512, 128 * 512)
    table = positional_encoding(d_model=8)(torch.zeros(1, 3, 8))
    assert table[0, 1, 2].item() == pytest.approx(torch.tensor(1 / 10_000 ** (2 / 8)).sin().item())


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("multi-head-attention[heads=7]", "does not divide"),
        ("multi-head-attention[d_k=-1]", "it must be at least 0"),
        ("positional-encoding[d_model=7]", "pairs of sine and cosine"),
        ("positional-encoding[seq_len=600]", "add  --set max_len=600"),
        ("encoder-layer[lengths=(4,2),seq_len=4]", "leave one of them out"),
        ("encoder-layer[lengths=(4,2)] --batch 4", "makes the batch"),
    ],
)
def test_what_cannot_be_is_refused(typed: str, said: str) -> None:
    ran = run("flops", *typed.split())
    assert ran.code == 2
    assert said in ran.err
