"""Plans beside what was published of real training: rates of work, differences of memory, and times above the bounds.

Models of many equal layers are extrapolated from one and two layers: each figure is linear in their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import archcalc
from archcalc import Training
from archcalc.studies.plan.facts import Facts
from archcalc.studies.plan.layout import Layout
from archcalc.studies.plan.rank import Ranks
from archcalc.studies.plan.schedule import bubble

MIXED = Training("adamw", recipe="bf16-fp32-master")
FULL = Training("adamw", recipe="bf16-fp32-master", checkpoint=("blocks.*",))


# ---- the models ----


@dataclass(frozen=True)
class Size:
    """A Llama: width, layers, heads, heads of keys and values, width of the feed-forward part, words."""

    h: int
    layers: int
    heads: int
    keys: int
    wide: int
    words: int = 128_256


LLAMAS = {
    "8b": Size(4096, 32, 32, 8, 14_336),
    "70b": Size(8192, 80, 64, 8, 28_672),
    "405b": Size(16_384, 126, 128, 8, 53_248),
    "2-13b": Size(5120, 40, 40, 40, 13_824, 32_000),
    "2-70b": Size(8192, 80, 64, 8, 28_672, 32_000),
}
"""The configs of meta-llama/Llama-3.1-8B, -70B and -405B, and of Llama-2-13b and -70b."""


class LlamaLayer(nn.Module):
    """Attention with shared keys and values, and a gated feed-forward part."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        h, each = size.h, size.h // size.heads
        self.each = each
        self.norm1, self.norm2 = nn.RMSNorm(h), nn.RMSNorm(h)
        self.q, self.o = nn.Linear(h, h, bias=False), nn.Linear(h, h, bias=False)
        self.k, self.v = (nn.Linear(h, size.keys * each, bias=False) for _ in range(2))
        self.gate, self.up = (nn.Linear(h, size.wide, bias=False) for _ in range(2))
        self.down = nn.Linear(size.wide, h, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """b, s, h -> b, s, h."""
        b, s, h = x.shape
        y = self.norm1(x)
        q, k, v = (part(y).view(b, s, -1, self.each).transpose(1, 2) for part in (self.q, self.k, self.v))
        y = functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
        x = x + self.o(y.transpose(1, 2).reshape(b, s, h))
        y = self.norm2(x)
        out: Tensor = x + self.down(functional.silu(self.gate(y)) * self.up(y))
        return out


class Llama(nn.Module):
    """Some layers of a Llama between its table of words and its head."""

    def __init__(self, size: Size, layers: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(size.words, size.h)
        self.layers = nn.ModuleList(LlamaLayer(size) for _ in range(layers))
        self.norm, self.head = nn.RMSNorm(size.h), nn.Linear(size.h, size.words, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """b, s -> b, s, words."""
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x)
        out: Tensor = self.head(self.norm(x))
        return out


def llama(name: str, layers: int, batch: int, seq: int) -> tuple[nn.Module, Tensor]:
    with torch.device("meta"):
        return Llama(LLAMAS[name], layers), torch.zeros(batch, seq, dtype=torch.long)


def gpt(a: int, h: int, layers: int) -> dict[str, int]:
    """The knobs of a GPT of Megatron's papers: s 2048, V 51200."""
    return {"layers": layers, "d_model": h, "heads": a, "seq_len": 2048, "max_len": 2048, "vocab_size": 51_200}


def extrapolated(one: float, two: float, layers: float) -> float:
    """What so many layers have, from what one and two have."""
    return one + (layers - 1) * (two - one)


# ---- rates of work: torchtitan's older page ----

TORCHTITAN_MFU = (
    ("8b", 8192, 2904, 56.8), ("8b", 8192, 2973, 58.2), ("70b", 8192, 331, 51.7), ("2-13b", 4096, 2162, 61.1),
    ("2-13b", 4096, 1914, 54.1), ("2-13b", 4096, 1904, 53.8), ("2-70b", 4096, 355, 50.8), ("2-70b", 4096, 353, 50.5),
)  # fmt: skip
"""Model, sequence, tokens a second of one of 64 A100, MFU in %: pytorch/torchtitan docs/performance.md @0413364."""


@cache
def work_of(name: str, seq: int) -> tuple[int, int]:
    """Parameters, and MACs of a forward pass of one sequence."""
    one, two = (archcalc.analyze(*llama(name, layers, 1, seq)) for layers in (1, 2))
    more = LLAMAS[name].layers - 1
    return one.params + more * (two.params - one.params), one.macs + more * (two.macs - one.macs)


@pytest.mark.parametrize(("name", "seq", "rate", "printed"), TORCHTITAN_MFU)
def test_torchtitans_mfu(name: str, seq: int, rate: int, printed: float) -> None:
    """Their 6 N + 12 L h s a token counts words and norms as if they were products; ours are the MACs beside these."""
    size, (params, macs) = LLAMAS[name], work_of(name, seq)
    no_products = size.words * size.h + (2 * size.layers + 1) * size.h
    flops = 6 * (macs // seq + no_products)
    assert flops == 6 * params + 12 * size.layers * size.h * seq
    assert 100 * flops * rate / 312e12 == pytest.approx(printed, abs=0.1)


# ---- differences of memory: torchtitan on 8 and on 128 devices ----


def test_8_and_128_devices() -> None:
    """82.4 and 67.0 GiB for Llama 3.1 8B under FSDP: 16 bytes a parameter, divided by 8 and by 128, differ by 14.0.

    torchtitan benchmarks/llama3_h100_202412_torchtitan.md, tables 1 and 3; parameters in float32 under autocast.
    """
    found: list[int] = []
    for layers in (1, 2):
        facts = Facts(archcalc.trace(*llama("8b", layers, 1, 128), train=Training("adamw", recipe="amp-bf16")))
        held = [sum(Ranks(facts, Layout(dp=ranks, zero=3), 1).held(0).values()) for ranks in (8, 128)]
        found.append(held[0] - held[1])
    difference = extrapolated(found[0], found[1], LLAMAS["8b"].layers) / 2**30
    assert difference == pytest.approx(8_030_261_248 * 16 * (1 / 8 - 1 / 128) / 2**30, rel=0.001)
    assert difference == pytest.approx(82.4 - 67.0, rel=0.1)


# ---- times: no published step is faster than its bound ----


def least(sized: Any, layers: int, training: Training, on: str, tp: int, pp: int, microbatches: int) -> float:
    """The bound of a step: the parts of plans without a pipeline, with the layers of a stage, and its bubble."""
    made = [
        archcalc.plan(model, tp, inputs, on, {"tp": tp, "pp": 1, "dp": 1, "sp": tp > 1}, train=training, **how)
        for model, inputs, how in (sized(1), sized(2))
    ]
    one, two = (plan.best.bound.parts for plan in made if plan.best and plan.best.bound)
    waits = 1 + bubble(pp, 1, microbatches)
    each = {part: extrapolated(one[part], two[part], layers / pp) / tp for part in one}  # a step is of tp samples
    return microbatches * max(each["products"] * waits, *each.values())


KORTHIKANTI = ((64, 6144, 48, 1, 4, 1.42, 1.10), (96, 12288, 96, 8, 64, 18.13, 13.75),
               (128, 20480, 105, 35, 280, 49.05, 37.83), (160, 25600, 128, 64, 512, 94.42, 71.49))  # fmt: skip
"""a, h, L, stages, samples of a pipeline; seconds with all recomputed, and with selective: table 5 of the paper."""


@pytest.mark.parametrize(("a", "h", "layers", "pp", "samples", "full", "selective"), KORTHIKANTI)
def test_korthikantis_steps(a: int, h: int, layers: int, pp: int, samples: int, full: float, selective: float) -> None:
    """With t = 8 on A100, between 40 and 100 % of what was measured; pipelines of 8 and 35 are interleaved by 3."""
    for training, seconds in ((FULL, full), (MIXED, selective)):
        microbatches = samples * (3 if pp in (8, 35) else 1)  # chunks make the bubble as small as more microbatches do
        bound = least(
            lambda n: ("gpt2", None, {"knobs": gpt(a, h, n)}), layers, training, "a100-80g", 8, pp, microbatches
        )
        assert 0.4 * seconds < bound * samples / microbatches < seconds


NARAYANAN = (
    (24, 2304, 24, 1, 1, 32, 512, 137), (32, 3072, 30, 2, 1, 64, 512, 138), (32, 4096, 36, 4, 1, 128, 512, 142),
    (48, 6144, 40, 8, 1, 256, 1024, 135), (64, 8192, 48, 8, 2, 512, 1536, 138), (80, 10240, 60, 8, 4, 1024, 1792, 140),
    (96, 12288, 80, 8, 8, 1536, 2304, 148), (128, 16384, 96, 8, 16, 1920, 2160, 155),
    (128, 20480, 105, 8, 35, 2520, 2520, 163), (160, 25600, 128, 8, 64, 3072, 3072, 163),
)  # fmt: skip
"""a, h, L, t, p, GPUs, batch, TFLOP/s of one: table 1 of Narayanan et al. 2021."""


@pytest.mark.parametrize(
    ("a", "h", "layers", "tp", "pp", "gpus", "batch", "rate"),
    [pytest.param(*row, marks=() if place % 3 == 0 else pytest.mark.slow) for place, row in enumerate(NARAYANAN)],
)
def test_narayanans_steps(a: int, h: int, layers: int, tp: int, pp: int, gpus: int, batch: int, rate: int) -> None:
    """The time is their work, 96 B s L h² (1 + s/6h + V/16Lh), over their rate."""
    s, words = 2048, 51_200
    work = 96 * batch * s * layers * h**2 * (1 + s / (6 * h) + words / (16 * layers * h))
    seconds = work / (gpus * rate * 1e12)
    samples = batch * tp * pp // gpus
    bound = least(lambda n: ("gpt2", None, {"knobs": gpt(a, h, n)}), layers, FULL, "a100-80g", tp, pp, samples)
    assert 0.4 * seconds < bound < seconds


@cache
def bound_of_llama(name: str, samples: int, tp: int, pp: int) -> float:
    """The bound of a step on sequences of 8,192."""

    def sized(layers: int) -> tuple[nn.Module, Tensor, dict[str, Any]]:
        return *llama(name, layers, 1, 8192), {}

    return least(sized, LLAMAS[name].layers, MIXED, "h100-sxm", tp, pp, samples)


TORCHTITAN = (
    ("8b", 2, 1, 1, 5762, 1), ("8b", 2, 1, 1, 6667, 1), ("8b", 2, 1, 1, 8532, 2), ("8b", 2, 1, 1, 5605, 1),
    ("8b", 2, 1, 1, 6514, 1), ("8b", 2, 1, 1, 8380, 2), ("70b", 16, 8, 1, 829, 2), ("70b", 16, 8, 1, 876, 2),
    ("405b", 32, 8, 8, 100, 2), ("405b", 32, 8, 8, 128, 2),
)  # fmt: skip
"""Model, samples of a data parallel rank, t, p, tokens a second of one H100, and how much faster its products are
than in bfloat16 (in float8 twice): torchtitan benchmarks/llama3_h100_202412_torchtitan.md, tables 1, 3, 4 and 5."""


@pytest.mark.parametrize(("name", "samples", "tp", "pp", "rate", "faster"), TORCHTITAN)
def test_torchtitans_steps(name: str, samples: int, tp: int, pp: int, rate: int, faster: int) -> None:
    """No recomputation is in the bound, as selective recomputation leaves the products out; sequences of 8,192."""
    seconds = samples * 8192 / (rate * tp * pp)
    assert 0.25 * seconds < bound_of_llama(name, samples, tp, pp) / faster < seconds
