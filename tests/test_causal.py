"""Masked attention: masks are found by how they are made, what they hide is counted exactly, and all else in full."""

import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import archcalc
from archcalc.analyses import Flops, analyze
from archcalc.render.layers import Selection
from archcalc.render.pages import flops
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


def test_with_more_keys_than_queries_the_flag_counts_from_the_first_key() -> None:
    """Query i of 16 sees i + 1 of 32 keys: 16·32 - 16·17/2 = 376 pairs are hidden."""
    made = report(Fused(), [(N, H, T, D), (N, H, 2 * T, D), (N, H, 2 * T, D)])
    assert made.totals["causal_hidden_macs"] == 2 * N * H * D * 376


def pairs(n: int, m: int, hides: Callable[[int, int], bool]) -> int:
    """Hidden pairs of a query and a key, one by one."""
    return sum(hides(i, j) for i in range(n) for j in range(m))


def as_transformers(n: int, m: int, window: int, offset: int = 0, chunk: int = 0) -> Tensor:
    """The mask of transformers' masking_utils: conditions on broadcast positions, then 0 or the least number."""
    places = torch.arange(n, device="meta") + offset
    q, kv = places[None, None, :, None], torch.arange(m, device="meta")[None, None, None, :]
    mask = q.new_ones((), dtype=torch.bool)
    if window:
        mask = mask & (kv > q - window)
    if chunk:
        mask = mask & (kv // chunk == q // chunk)
    mask = (mask & (kv <= q)).expand(1, -1, n, m)
    return torch.where(mask, torch.tensor(0.0, device="meta"), torch.finfo(torch.float32).min)


class Sinks(nn.Module):
    """Attention of GPT-OSS: a learnt column beside the scores takes part in the softmax and is cut off again."""

    def __init__(self, window: int = 0, offset: int = 0, chunk: int = 0) -> None:
        super().__init__()
        self.sinks = nn.Parameter(torch.zeros(H))
        self.window, self.offset, self.chunk = window, offset, chunk

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        n, m = q.shape[-2], k.shape[-2]
        scores = q @ k.transpose(2, 3) * 0.1 + as_transformers(n, m, self.window, self.offset, self.chunk)
        sinks = self.sinks.reshape(1, -1, 1, 1).expand(q.shape[0], -1, n, -1)
        both = torch.cat([scores, sinks], dim=-1)
        both = both - both.max(dim=-1, keepdim=True).values
        return functional.dropout(both.softmax(-1)[..., :-1], 0.0, self.training) @ v


def band(window: int, ahead: int) -> Callable[[int], Tensor]:
    """True where a key is out of sight: `window` or more behind the query, or more than `ahead` in front of it."""

    def mask(n: int) -> Tensor:
        distance = torch.arange(n, device="meta")[:, None] - torch.arange(n, device="meta")
        return ((distance < window) & (distance >= -ahead)).logical_not()

    return mask


def both_sides(n: int) -> Tensor:
    """True where a key is more than 4 places away: the mask of encoders with local attention."""
    places = torch.arange(n, device="meta")
    return ((places[:, None] - places).abs() <= 4).logical_not()


def chunks_alone(n: int) -> Tensor:
    """True for keys in other chunks of 5."""
    chunk = torch.arange(n, device="meta") // 5
    return chunk[:, None] != chunk


def of_matrices(n: int) -> Tensor:
    """A window of 4 by triu and tril."""
    return (torch.ones(n, n).tril() * torch.ones(n, n).triu(-3)) == 0


def written_in_place(n: int) -> Tensor:
    """The upper triangle, and then something else in all but the first row."""
    mask = torch.ones(n, n, device="meta", dtype=torch.bool).triu(1)
    mask[1:] = torch.rand(n - 1, n, device="meta") > 0
    return mask


ABOVE = T * (T - 1) // 2  # 120 pairs above the diagonal
BEHIND = (T - 4) * (T - 3) // 2  # 78 pairs with a key that is 4 or more behind: 12 + 11 + ... + 1


@pytest.mark.parametrize(
    ("module", "m", "causal", "window"),
    [
        (Sinks(), T, ABOVE, 0),
        (Sinks(window=4), T, ABOVE, BEHIND),
        # 16 queries behind 8 cached keys: key j is hidden from query i if j > i + 8
        (Sinks(offset=8), T + 8, pairs(T, T + 8, lambda i, j: j > i + 8), 0),
        (
            Sinks(window=4, offset=8),
            T + 8,
            pairs(T, T + 8, lambda i, j: j > i + 8),
            pairs(T, T + 8, lambda i, j: j <= i + 4),
        ),
        (Sinks(chunk=4), T, ABOVE, 96),  # of 136 pairs 4 chunks of 1 + 2 + 3 + 4 are left
        # the chunks of 8 cached keys and 16 queries: query i at i + 8 sees (i + 8) % 5 + 1 keys
        (
            Sinks(chunk=5, offset=8),
            T + 8,
            pairs(T, T + 8, lambda i, j: j > i + 8),
            pairs(T, T + 8, lambda i, j: j <= i + 8 and j // 5 != (i + 8) // 5),
        ),
        (Attends(both_sides), T, 0, 11 * 12),  # |i - j| <= 4: 2 · (11 + 10 + ... + 1) are out of sight
        (Attends(chunks_alone), T, 0, T * T - 3 * 25 - 1),  # chunks of 5, 5, 5 and 1
        (Attends(band(4, 0)), T, ABOVE, BEHIND),
        (Attends(band(4, 3)), T, 0, 2 * BEHIND),  # a window to both sides has no causal mask
        (Attends(of_matrices), T, ABOVE, BEHIND),
        (Attends(written_in_place), T, 0, 0),
    ],
    ids=[
        "sinks",
        "window",
        "cache",
        "window and cache",
        "chunks",
        "chunks and cache",
        "distance to both sides",
        "chunks alone",
        "distance",
        "both sides",
        "matrices",
        "in place",
    ],
)
def test_what_masks_hide(module: nn.Module, m: int, causal: int, window: int) -> None:
    made = report(module, [(N, H, T, D), (N, H, m, D), (N, H, m, D)])
    products = 2 * N * H * D  # both products, for each pair
    hidden = made.totals["causal_hidden_macs"], made.totals["window_hidden_macs"]
    assert hidden == (products * causal, products * window)
    assert made.macs == products * T * m  # counted in full, as it runs
    if window:
        assert analyze(made.trace, (Flops("windowed"),)).macs == products * (T * m - causal - window)
    if causal:
        assert analyze(made.trace, (Flops("half-causal"),)).macs == products * (T * m - causal)


@pytest.mark.parametrize("kernel", ["flash", "efficient"])
def test_fused_kernels_hide_as_much(kernel: str) -> None:
    """By the flag, and by a mask of truth values that is added to the scores."""

    class Masked(nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return functional.scaled_dot_product_attention(q, k, v, attn_mask=band(4, 0)(q.shape[-2]).logical_not())

    setup = archcalc.Setup(device="cpu", attention=kernel)
    shapes = [(N, H, T, D)] * 3
    assert report(Fused(), shapes, setup=setup).totals["causal_hidden_macs"] == HIDDEN
    made = report(Masked(), shapes, setup=setup)
    assert made.totals["causal_hidden_macs"] == HIDDEN
    assert made.totals["window_hidden_macs"] == 2 * N * H * D * BEHIND


def test_a_convention_that_finds_no_mask_is_an_error() -> None:
    none = run("flops", "resnet-20", "--convention", "half-causal")
    assert (none.code, none.out) == (2, "")
    assert "--convention half-causal found no causal mask in resnet-20." in none.err
    other = run("flops", "gpt2", "--convention", "windowed")
    assert other.code == 2
    assert "found no sliding window in gpt2" in other.err
    assert "--convention half-causal" in other.err


def test_a_window_is_said_and_offered_with_both_figures() -> None:
    """2·2·4·8 = 128 MACs a pair; 256 pairs, 120 behind the causal mask, 78 behind the window."""
    trace = archcalc.trace(Sinks(window=4), inputs=[(N, H, T, D)] * 3)
    text = archcalc.analyze(Sinks(window=4), [(N, H, T, D)] * 3)
    assert text.macs == 32_768
    for convention, said in (
        (
            "archcalc",
            ("counted in full, as it runs", "17,408 (--convention half-causal)", "7,424 (--convention windowed)"),
        ),
        ("half-causal", ("15,360 MACs of hidden keys left out; in full 32,768", "7,424 (--convention windowed)")),
        ("windowed", ("25,344 MACs of hidden keys left out; in full 32,768", "17,408 (--convention half-causal)")),
    ):
        page = flops.flops(analyze(trace, (Flops(convention),)), Selection())
        for words in said:
            assert words in "\n".join(page.foot), (convention, words)


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


class Stored(nn.Module):
    """Attention with a mask in a buffer, larger than the text: nanoGPT's, and that of the GPT-2 of transformers."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.register_buffer("tril", torch.tril(torch.ones(2 * T, 2 * T)).view(1, 1, 2 * T, 2 * T))

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        n, scores = q.shape[-2], q @ k.transpose(-1, -2)
        mask = self.tril[:, :, :n, :n]
        if self.form == "equal to 0":
            scores = scores.masked_fill(mask == 0, float("-inf"))
        elif self.form == "where":
            scores = torch.where(mask.bool(), scores, torch.full([], -3.4e38, device=q.device))
        elif self.form == "products":
            scores = scores * mask + -1e4 * (1 - mask)
        return scores.softmax(-1) @ v


@pytest.mark.parametrize("form", ["equal to 0", "where", "products"])
def test_a_mask_from_outside_is_known_by_its_name(form: str) -> None:
    assert report(Stored(form), [(N, H, T, D)] * 3).totals["causal_hidden_macs"] == HIDDEN


def overlaid(n: int) -> Tensor:
    """A causal mask of numbers, and a window of 4 laid over it: Gemma 2."""
    least = torch.finfo(torch.float32).min
    mask = torch.full((n, n), least, device="meta").triu(1)
    outside = torch.ones_like(mask, dtype=torch.bool).tril(-4)
    return torch.where(outside, least, mask)


def padded_too(n: int) -> Tensor:
    """A causal mask, and one of padding by numbers that are not known."""
    lengths = torch.rand(1, n, device="meta") > 0
    causal = torch.arange(n, device="meta")[:, None] >= torch.arange(n, device="meta")
    return torch.zeros(n, n, device="meta").masked_fill((causal & lengths).logical_not(), float("-inf"))


@pytest.mark.parametrize(
    ("mask", "causal", "window"), [(overlaid, ABOVE, BEHIND), (padded_too, ABOVE, 0)], ids=["overlaid", "padded too"]
)
def test_masks_of_numbers_are_added(mask: Callable[[int], Tensor], causal: int, window: int) -> None:
    class Added(nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return (q @ k.transpose(-1, -2) + mask(q.shape[-2])).softmax(-1) @ v

    totals_ = report(Added(), [(N, H, T, D)] * 3).totals
    hidden = totals_["causal_hidden_macs"], totals_["window_hidden_macs"]
    assert hidden == (2 * N * H * D * causal, 2 * N * H * D * window)
