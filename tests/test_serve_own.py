"""`archcalc serve` on decoders of a user: caches kept in many ways, with closed forms of their bytes and traffic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc.engine.load.nested import with_tensors
from archcalc.errors import ForwardFailed, NoLaw, WrongUse
from archcalc.studies.serve.curves import Line, line
from tests.helpers import run

WIDTH, HEADS, LAYERS, WORDS, MOST = 32, 4, 3, 20, 64
EACH = WIDTH // HEADS
BF16 = 2


class Attention(nn.Module):
    """Attention whose keys and values are kept as `keep` says: all, the last of a window, or in places made before."""

    def __init__(self, keep: str, kv: int, window: int) -> None:
        super().__init__()
        self.keep, self.kv, self.window = keep, kv, window
        self.q, self.k, self.v = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, kv * EACH), nn.Linear(WIDTH, kv * EACH)

    def heads(self, x: Tensor, heads: int) -> Tensor:
        return x.unflatten(-1, (heads, EACH)).transpose(1, 2)

    def forward(self, x: Tensor, past: Any, used: int) -> tuple[Tensor, Any]:
        q, k, v = self.heads(self.q(x), HEADS), self.heads(self.k(x), self.kv), self.heads(self.v(x), self.kv)
        if self.keep == "slots":
            empty = [x.new_zeros(len(x), self.kv, MOST, EACH) for _ in range(2)]
            kept = empty if past is None else past
            at = torch.arange(used, used + x.shape[1], device=x.device)
            for slots, new in zip(kept, (k, v), strict=True):
                slots.index_copy_(2, at, new)
            k, v = kept
        elif past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        if self.keep == "window":
            kept = k[:, :, -self.window :].clone(), v[:, :, -self.window :].clone()
            k, v = (k, v) if past is None else kept
        elif self.keep != "slots":
            kept = k, v
        if self.keep == "slice" and past is not None:  # all is kept, and a step reads the last of it
            k, v = k[:, :, -self.window :], v[:, :, -self.window :]
        groups = HEADS // self.kv
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        return x + ((q @ k.mT).softmax(-1) @ v).transpose(1, 2).flatten(2), kept


@dataclass
class Slots:
    """A cache with places for the longest text, and how many are used."""

    layers: list[Any]
    used: int = 0


class Decoder(nn.Module):
    """A list of (keys, values) tuples, or a dataclass."""

    def __init__(self, keep: str = "all", kv: int = HEADS, window: int = 0) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.layers = nn.ModuleList(Attention(keep, kv, window) for _ in range(LAYERS))

    def forward(self, tokens: Tensor, past: Any = None) -> tuple[Tensor, Any]:
        x = self.words(tokens)
        cache = past or Slots([None] * LAYERS)
        kept = []
        for layer, own in zip(self.layers, cache.layers, strict=True):
            x, new = layer(x, own, cache.used)
            kept.append(new)
        return x @ self.words.weight.T, Slots(kept, cache.used + tokens.shape[1])


class Recurrent(nn.Module):
    """An LSTM that keeps hidden states and cells."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.cells = nn.Embedding(WORDS, WIDTH), nn.LSTM(WIDTH, WIDTH, LAYERS, batch_first=True)

    def forward(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        x, state = self.cells(self.words(tokens), state)
        return x @ self.words.weight.T, state


class Hybrid(nn.Module):
    """Attention over all, a GRU, and attention over a window, each with its own part of a list."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.all, self.some = Attention("all", 2, 0), Attention("window", 2, 20)
        self.cells = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def forward(self, tokens: Tensor, caches: Any = None) -> tuple[Tensor, Any]:
        own = caches or [None] * 3
        x, first = self.all(self.words(tokens), own[0], 0)
        x, second = self.cells(x, own[1])
        x, third = self.some(x, own[2], 0)
        return x @ self.words.weight.T, [first, second, third]


QUICK = ("places made before", "a buffer of 8 tokens", "a buffer of 1,000 tokens", "a hybrid")
"""Those of every run; the others are  pytest -m slow."""


def token(kv: int) -> int:
    """Bytes of keys and values of a token in all layers."""
    return 2 * LAYERS * kv * EACH * BF16


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[int], int], int]] = {
    # what it needs for a sequence of n tokens that grows with them, and its state
    "tuples, joined by cat": (Decoder, lambda n: token(4) * n, 0),
    "grouped queries": (lambda: Decoder(kv=2), lambda n: token(2) * n, 0),
    "places made before": (lambda: Decoder("slots", 2), lambda n: 0, token(2) * MOST),
    "a buffer of 8 tokens": (lambda: Decoder("window", 2, 8), lambda n: token(2) * min(n, 8), 0),
    "a buffer of 3 tokens": (lambda: Decoder("window", 2, 3), lambda n: token(2) * min(n, 3), 0),
    "a buffer of 1,000 tokens": (lambda: Decoder("window", 2, 1000), lambda n: token(2) * min(n, 1000), 0),
    "a window that steps slice": (lambda: Decoder("slice", 2, 40), lambda n: token(2) * min(n, 40), 0),
    "an LSTM": (Recurrent, lambda n: 0, 2 * LAYERS * WIDTH * BF16),
    "a hybrid": (Hybrid, lambda n: 2 * 2 * EACH * BF16 * (n + min(n, 20)), WIDTH * BF16),
}


@cache
def served(name: str) -> Any:
    """The answer at 3 sequences of 30 tokens."""
    return archcalc.serve(CASES[name][0](), inputs="int64:1x8", batch=3, wanted={"context": 30})


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in CASES])
def test_bytes_of_a_cache_by_hand(name: str) -> None:
    """At 2 tokens, at 30, at 5,000, whatever the windows."""
    _, grows, state = CASES[name]
    first = served(name)
    assert (first.kv_bytes, first.state_bytes) == (3 * grows(30), 3 * state)
    placed = first.placement
    for context in (2, 30, 5_000):
        assert placed.cache(1, context) == grows(context) + state


@pytest.mark.parametrize("name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in CASES])
def test_traffic_of_a_step_is_that_of_its_trace(name: str) -> None:
    """A step of 3 sequences behind 50 tokens of a real cache: what `traffic` counts op by op, to the byte."""
    module = CASES[name][0]()
    with torch.no_grad():
        _, left = module(torch.ones(3, 50, dtype=torch.int64))
    left = with_tensors(left, lambda tensor: tensor.to(torch.bfloat16))
    step = archcalc.analyze(module, (torch.ones(3, 1, dtype=torch.int64), left), dtype="bfloat16")
    assert served(name).pace.decode_as_run(3, 51).traffic_bytes == step.totals["traffic_bytes"]


def test_all_is_held_where_steps_read_a_slice() -> None:
    """The engine needs the window of 40 tokens; the module holds 100."""
    made = served("a window that steps slice")
    assert made.placement.cache(1, 100) == token(2) * 40
    assert sum(cached.held_bytes(100) for cached in made.laws.cache) == token(2) * 100
    assert {cached.window for cached in made.laws.cache} == {40}


def test_the_form_of_a_cache_that_does_not_grow_is_refused() -> None:
    for wanted in ({"kv": "fp8"}, {"page": 16}):
        with pytest.raises(WrongUse, match="changes nothing: its cache is a state"):
            archcalc.serve(Recurrent(), inputs="int64:1x8", wanted=wanted)


def test_a_line_that_stops_and_one_that_is_none() -> None:
    assert line([(1, 7), (2, 12), (16, 42), (64, 42)], "x") == Line(5, 2, 8)
    with pytest.raises(NoLaw, match="3 tokens 9"):
        line([(1, 1), (2, 4), (3, 9), (4, 16)], "x")


def test_the_time_of_a_step_op_by_op_is_no_shorter_than_an_engine_s() -> None:
    made = archcalc.serve(Decoder(), inputs="int64:1x8", batch=2, wanted={"context": 500, "on": "h100"})
    assert made.pace.decode_as_run(2, 500).seconds > made.pace.decode(2, 500).seconds


# ---- what stands in front of a text, and what a batch does together --------------------------------

FRONT = 5
LINEAR = WIDTH * WIDTH + 2 * WIDTH * 2 * EACH
"""MACs of a token in a layer: queries, then keys and values of two heads."""


class Prefixed(Decoder):
    """Five vectors in front of every text, as the tokens of an image are, in a cache that states its window or none."""

    def __init__(self, window: int = 0) -> None:
        super().__init__("window" if window else "all", 2, window)
        self.front = nn.Parameter(torch.zeros(FRONT, WIDTH))

    def forward(self, tokens: Tensor, past: Any = None) -> tuple[Tensor, Any]:
        x = self.words(tokens)
        if past is None:
            x = torch.cat([self.front.expand(len(x), -1, -1), x], 1)
        cache = past or Slots([None] * LAYERS)
        kept = []
        for layer, own in zip(self.layers, cache.layers, strict=True):
            x, new = layer(x, own, 0)
            kept.append(new)
        return x @ self.words.weight.T, Slots(kept, 0)


@pytest.mark.parametrize("window", [40, pytest.param(0, marks=pytest.mark.slow)])
def test_what_stands_in_front_of_a_text_has_a_part_of_its_window(window: int) -> None:
    """The cache holds 5 tokens more than the text, at most the window; a causal mask hides half of all products."""
    n, batch = 60, 3
    answer = archcalc.serve(Prefixed(window), inputs="int64:1x8", batch=batch, wanted={"context": n})
    kept = min(n + FRONT, window or n + FRONT)
    assert answer.kv_bytes + answer.state_bytes == batch * kept * token(2)
    all_tokens = n + FRONT  # each sees itself and those before it, at most the window
    seen = sum(min(number, window or number) for number in range(1, all_tokens + 1))
    least = LAYERS * (all_tokens * LINEAR + 2 * WIDTH * seen) + WIDTH * WORDS
    assert answer.laws.prefill_macs_at_least(n) == least
    assert answer.laws.decode_macs(n) == LAYERS * (LINEAR + 2 * WIDTH * kept) + WIDTH * WORDS


class Sees(Decoder):
    """Four patches a sequence: a product on places that a batch does once, and one in which all its patches meet."""

    def __init__(self, meets: bool) -> None:
        super().__init__("all", 2)
        self.meets, self.patches, self.places = meets, nn.Linear(3, WIDTH), nn.Linear(7, WIDTH)

    def forward(self, tokens: Tensor, past: Any = None) -> tuple[Tensor, Any]:
        if past is None:
            new_zeros = self.words.weight.new_zeros
            patches = self.patches(new_zeros(len(tokens) * 4, 3)) + self.places(new_zeros(1, 7))
            patches @ patches.T if self.meets else patches.view(-1, 4, WIDTH) @ patches.view(-1, 4, WIDTH).mT
        return super().forward(tokens, past)


@pytest.mark.parametrize("meets", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_what_a_batch_does_once_and_where_its_images_meet(meets: bool) -> None:
    """Three sequences, one by one where they would meet; the product on places is one for all of them."""
    text = LAYERS * (30 * LINEAR + 2 * WIDTH * 30 * 30) + WIDTH * WORDS
    answer = archcalc.serve(Sees(meets), inputs="int64:1x8", batch=3, wanted={"context": 30})
    image = 4 * 3 * WIDTH + 4 * 4 * WIDTH
    assert answer.pace.prefill(3, 30).macs == 3 * (text + image) + 7 * WIDTH
    more = 8 * 8 * WIDTH - 2 * 4 * 4 * WIDTH
    said = f"two in one run meet in the model itself, which takes {more:,} MACs more"
    assert any(said in note for note in answer.notes) is meets
    run = archcalc.analyze(Sees(meets), torch.ones(2, 30, dtype=torch.int64))
    head = 2 * 29 * WIDTH * WORDS  # a run has it on every position
    assert run.macs == answer.pace.prefill(2, 30).macs + head + (more if meets else 0)


class NoStep(Decoder):
    """It wants its image with every token, as models do whose text part alone makes texts."""

    def forward(self, tokens: Tensor, past: Any = None) -> tuple[Tensor, Any]:
        if past is not None:
            raise ValueError("You have to specify the image")
        return super().forward(tokens, past)


def test_a_refused_step_says_that_it_is_one() -> None:
    with pytest.raises(ForwardFailed, match="specify the image") as caught:
        archcalc.serve(NoStep(), inputs="int64:1x8", wanted={})
    assert "one token after 16 others and their cache" in caught.value.hint
    assert "its pass alone  archcalc flops" in caught.value.hint


def test_the_pass_alone_is_shown_with_the_inputs_that_were_typed(tmp_path: Path) -> None:
    reference = f"{tmp_path / 'net.py'}:Net"
    (tmp_path / "net.py").write_text("from torch import nn\n\nclass Net(nn.Embedding):\n    pass\n", encoding="utf-8")
    ran = run("serve", f"{reference}(9, 4)", "-i", "int64:1x8")
    assert ran.code != 0
    assert f"archcalc flops '{reference}(9, 4)' -i int64:1x8  or" in ran.err
