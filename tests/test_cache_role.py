"""The cache of a decoder has a role of its own in the bill: what forward returns, and what a step gets."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc.errors import UnknownKnob
from tests.helpers import run

WIDTH, LAYERS, MOST, WORDS = 16, 3, 32, 11
FLOAT = 4


class Appending(nn.Module):
    """A cache of (keys, values) tuples in a list; a step makes new ones with cat."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.layers = nn.ModuleList(nn.Linear(WIDTH, 2 * WIDTH) for _ in range(LAYERS))

    def forward(self, tokens: Tensor, past: Any = None) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        x, kept = self.words(tokens), []
        for number, layer in enumerate(self.layers):
            k, v = (part.clone() for part in layer(x).chunk(2, -1))
            if past is not None:
                k, v = torch.cat([past[number][0], k], 1), torch.cat([past[number][1], v], 1)
            kept.append((k, v))
            x = x + (x @ k.mT).softmax(-1) @ v
        return x, kept


@dataclass
class Slots:
    """Keys and values of a longest text, and how much of it is used."""

    keys: list[Tensor]
    values: list[Tensor] = field(default_factory=list)
    used: int = 0


class Writing(Appending):
    """A cache for the longest text in a dataclass; a step writes into it."""

    def forward(self, tokens: Tensor, cache: Any = None) -> tuple[Tensor, Any]:
        x = self.words(tokens)
        if cache is None:
            made = [x.new_zeros(len(tokens), MOST, WIDTH) for _ in range(2 * LAYERS)]
            cache = Slots(made[:LAYERS], made[LAYERS:])
        at = torch.arange(cache.used, cache.used + tokens.shape[1], device=tokens.device)
        for layer, keys, values in zip(self.layers, cache.keys, cache.values, strict=True):
            k, v = layer(x).chunk(2, -1)
            keys.index_copy_(1, at, k), values.index_copy_(1, at, v)
            x = x + (x @ keys.mT).softmax(-1) @ values
        cache.used += tokens.shape[1]
        return x, cache


class Recurrent(nn.Module):
    """A language model that keeps a state."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.cell = nn.Embedding(WORDS, WIDTH), nn.GRUCell(WIDTH, WIDTH)

    def forward(self, tokens: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        state = self.cell(self.words(tokens[:, 0]), state)
        return state @ self.words.weight.T, state


def texts(batch: int, tokens: int) -> Tensor:
    return torch.ones(batch, tokens, dtype=torch.int64)


def after(module: nn.Module, batch: int, tokens: int) -> Any:
    """The cache that a real prefill leaves."""
    with torch.no_grad():
        return module(texts(batch, tokens))[1]


def cache_at_the_end(report: Any) -> int:
    last = len(report.trace.calls) - 1
    return sum(s.bytes for s in report.trace.storages if s.role == "cache" and s.live_at(last))


def test_a_prefill_that_appends() -> None:
    """3 layers · 2 · 2 x 10 tokens · 16 · 4 bytes = 7,680 when forward ends, of which no line counts any twice."""
    report = archcalc.analyze(Appending(), texts(2, 10))
    assert cache_at_the_end(report) == LAYERS * 2 * 2 * 10 * WIDTH * FLOAT == 7_680
    lines = ("params", "buffers", "inputs", "cache", "saved", "gradients", "optimizer", "temporaries")
    assert sum(report.totals[f"{line}_bytes"] for line in lines) == report.totals["peak_bytes"]


def test_a_step_that_appends_holds_the_old_cache_and_the_new_one() -> None:
    """What cat reads is the caller's, 10 tokens; what it makes has 11."""
    module = Appending()
    report = archcalc.analyze(module, (texts(2, 1), after(module, 2, 10)))
    assert cache_at_the_end(report) == LAYERS * 2 * 2 * (10 + 11) * WIDTH * FLOAT
    assert report.totals["inputs_bytes"] == 2 * 8


def test_a_step_that_writes_holds_one_cache_of_the_longest_text() -> None:
    module = Writing()
    whole = LAYERS * 2 * 2 * MOST * WIDTH * FLOAT
    assert cache_at_the_end(archcalc.analyze(module, texts(2, 10))) == whole
    assert archcalc.analyze(module, (texts(2, 1), after(module, 2, 10))).totals["cache_bytes"] == whole


def test_the_state_of_a_recurrent_model() -> None:
    module = Recurrent()
    report = archcalc.analyze(module, (texts(5, 1), after(module, 5, 1)))
    assert cache_at_the_end(report) == 2 * 5 * WIDTH * FLOAT  # what came in, and what goes out


def test_a_model_without_a_cache_has_none() -> None:
    """A second output alone is no cache: forward takes none."""

    class Two(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x + 1, x + 2

    report = archcalc.analyze(Two(), torch.ones(2, 3))
    assert report.totals["cache_bytes"] == 0
    assert not any(storage.role == "cache" for storage in report.trace.storages)


def test_the_command_and_a_stored_trace_have_it(tmp_path: Path) -> None:
    report = archcalc.analyze(Appending(), texts(2, 10))
    stored = tmp_path / "trace.json"
    stored.write_text(report.trace.to_json())
    reference = "tests/test_cache_role.py:Appending"
    for typed in ([reference, "-i", "int64:2x10"], [str(stored)]):
        answer = json.loads(run("memory", *typed, "--json").out)
        assert answer["totals"]["cache_bytes"] == report.totals["cache_bytes"] > 0
        assert "the cache of the decoder" in [holder["why"] for holder in answer["holders_by_module"]]
    assert "6 tensors, 7.500 KiB at the end of forward" in run("memory", reference, "-i", "int64:2x10").out


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cache_object_of_transformers() -> None:
    """2 layers · 2 · 2 x 7 tokens · 32 · 4 bytes; a step puts what it makes in the place of what it got."""
    from bench.models import torchvision_ops

    torchvision_ops()
    library = pytest.importorskip("transformers")
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 16, "num_attention_heads": 2, "vocab_size": 20}
    config = library.LlamaConfig(num_hidden_layers=2, num_key_value_heads=2, **sizes)
    model = library.LlamaForCausalLM(config)
    report = archcalc.analyze(model, {"input_ids": texts(2, 7), "use_cache": True})
    assert cache_at_the_end(report) == 2 * 2 * 2 * 7 * 32 * FLOAT
    with torch.no_grad():
        past = model(texts(2, 7), use_cache=True).past_key_values
    step = archcalc.analyze(model, {"input_ids": texts(2, 1), "past_key_values": past, "use_cache": True})
    assert cache_at_the_end(step) == 2 * 2 * 2 * 8 * 32 * FLOAT


LLAVA = {
    "model_type": "llava", "architectures": ["LlavaForConditionalGeneration"], "image_token_index": 99,
    "vision_config": {"model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 64, "image_size": 28,
                      "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 14},
    "text_config": {"model_type": "llama", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                    "num_attention_heads": 2, "vocab_size": 100},
}  # fmt: skip


def test_a_part_of_a_configuration_makes_no_cache_either(tmp_path: Path) -> None:
    """The text of LLaVA says by itself that it keeps one; a plain forward pass does not, and --set turns it on."""
    pytest.importorskip("transformers")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(LLAVA))
    without, kept = (archcalc.trace(str(path), knobs=knobs) for knobs in ({}, {"use_cache": True}))
    assert "cache" not in {storage.role for storage in without.storages}
    tokens = next(given.shape[1] for given in kept.inputs if given.name == "input_ids")
    cached = [storage.bytes for storage in kept.storages if storage.role == "cache"]
    assert sum(cached) == 2 * 2 * tokens * 32 * 4  # two layers, keys and values, float32
    path.write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(UnknownKnob):
        archcalc.params(str(path), knobs={"use_cache": True})
