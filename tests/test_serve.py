"""`archcalc serve`: the cache, weights as stored, what fits, and bounds, against closed forms, logs and real caches."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc.engine.serving import Weight
from archcalc.engine.setup import Setup
from archcalc.errors import ArchcalcError, BadInput, NoCache, WrongUse
from archcalc.hardware import device_typed
from archcalc.studies.serve.curves import Line
from archcalc.studies.serve.laws import Laws
from archcalc.studies.serve.layers import Cached
from archcalc.studies.serve.pace import Pace
from archcalc.studies.serve.placement import Placement
from archcalc.studies.serve.serve import serve
from archcalc.studies.serve.stored import Form, Stored, parse_form, share_reached, stored
from archcalc.studies.serve.wanted import Wanted
from tests.helpers import run

GIB = 2**30
WIDTH, HEADS, LAYERS, WORDS = 16, 2, 5, 11


class Attention(nn.Module):
    """Keys and values of all tokens so far, behind those of a cache."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, past: Any) -> tuple[Tensor, Any]:
        q, k, v = (t.unflatten(-1, (HEADS, -1)).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        weights = (q @ k.transpose(-2, -1)).softmax(-1)
        return x + self.out((weights @ v).transpose(1, 2).flatten(2)), (k, v)


class Block(nn.Module):
    """Attention in a block, so that a layer of the list has parts."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Attention()

    def forward(self, x: Tensor, past: Any) -> tuple[Tensor, Any]:
        return self.attention(x, past)


class Decoder(nn.Module):
    """A decoder by hand: forward(tokens, cache=None) returns (logits, cache)."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH)
        self.layers = nn.ModuleList(Block() for _ in range(LAYERS))
        self.head = nn.Linear(WIDTH, WORDS, bias=False)

    def forward(self, tokens: Tensor, cache: Any = None) -> tuple[Tensor, list[Any]]:
        x, kept = self.words(tokens), []
        for number, layer in enumerate(self.layers):
            x, own = layer(x, None if cache is None else cache[number])
            kept.append(own)
        return self.head(x), kept


def of_decoder(**wanted: Any) -> Any:
    return archcalc.serve(Decoder, inputs="int64:1x8", wanted={"context": 100, **wanted}, batch=3)


def test_a_module_by_hand_keeps_two_vectors_a_layer_and_token() -> None:
    """2·5 layers·16 values·2 bytes = 320 a token; one layer is traced and stands for five."""
    made = of_decoder()
    assert made.kv_bytes_per_token == 2 * LAYERS * WIDTH * 2 == 320
    assert made.kv_bytes == 3 * 100 * 320
    assert made.kv_held_bytes == 3 * 100 * 480  # keys and values are views of one storage with the queries
    assert made.state_bytes == 0
    assert made.model.counts == {"layers.0": LAYERS}


def test_macs_of_prefill_and_decode_by_hand() -> None:
    """A token: 5·(3 + 1)·16² with weights, and 5·2·16 with each token that it sees; the head 16·11."""
    laws = of_decoder().laws
    assert laws.decode_macs(100) == 5 * 4 * 256 + 5 * 2 * 16 * 100 + 16 * 11
    assert laws.prefill_macs(7, full_head=True) == 7 * 5 * 4 * 256 + 5 * 2 * 16 * 49 + 7 * 16 * 11
    assert laws.prefill_macs(7) == laws.prefill_macs(7, full_head=True) - 6 * 16 * 11
    whole = archcalc.analyze(Decoder(), inputs="int64:1x7").macs  # all five layers, without the laws
    assert laws.prefill_macs(7, full_head=True) == whole


def test_a_layer_that_differs_is_not_taken_for_another() -> None:
    """A third layer of twice the width of keys has its own row, and its bytes are its own."""

    class Wide(Decoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers[2].attention.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)  # type: ignore[union-attr]

    made = archcalc.serve(Wide, inputs="int64:1x8")
    assert made.model.counts == {"layers.0": LAYERS - 1}
    assert made.kv_bytes_per_token == 320
    assert [cached.path for cached in made.laws.cache][::2] == ["layers.0", "layers.2"]


def test_largest_context_and_batch_are_the_last_that_fit() -> None:
    made = of_decoder(fit=2**20)
    room = 2**20 - made.weights.total
    assert made.largest_context == room // (3 * 320)
    assert made.largest_batch == room // (100 * 320)
    assert made.fits
    assert not of_decoder(fit=made.weights.total + 3 * 100 * 320 - 1).fits
    assert of_decoder(fit=made.weights.total + 3 * 100 * 320).fits


def test_pages_and_types_of_the_cache() -> None:
    """Pages of 16 tokens keep 112 of 100; fp8 takes half of bf16."""
    assert of_decoder(page=16).kv_bytes == 3 * 112 * 320
    assert of_decoder(kv="fp8").kv_bytes == 3 * 100 * 160


def test_heads_that_do_not_divide_leave_one_device_with_more() -> None:
    """2 heads on 3 devices: one head on two of them, so half of the cache."""
    placed = of_decoder(gpus=3, fit="1GiB").placement
    assert placed.cache_on_one(1, 100) == 100 * 320 // 2
    assert any("2 heads do not divide among 3" in note for note in of_decoder(gpus=3, fit="1GiB").notes)


def test_devices_needed_is_the_fewest() -> None:
    made = of_decoder(fit=20_000, context=16, reserve=0)
    needed = made.devices_needed
    assert needed > 1
    for gpus, fits in ((needed, True), (needed - 1, False)):
        assert of_decoder(fit=20_000, context=16, reserve=0, gpus=gpus).fits is fits


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        ({"context": "32q"}, BadInput),
        ({"context": 0}, BadInput),
        ({"weights": "int4"}, WrongUse),
        ({"weights": "int5:32"}, WrongUse),
        ({"weights": "config"}, WrongUse),
        ({"kv": "int3"}, WrongUse),
        ({"gpus": 2}, WrongUse),
        ({"reserve": "5%"}, WrongUse),
        ({"generate": 5}, WrongUse),
        ({"page": 0}, WrongUse),
        ({"contxt": 5}, WrongUse),
    ],
)
def test_what_cannot_be_asked(wanted: dict[str, Any], kind: type[ArchcalcError]) -> None:
    with pytest.raises(kind) as caught:
        of_decoder(**wanted)
    assert caught.value.hint


def test_a_model_without_a_cache() -> None:
    with pytest.raises(NoCache, match="resnet-18 keeps no cache"):
        archcalc.serve("resnet-18")
    with pytest.raises(NoCache, match="Linear keeps no cache") as caught:
        archcalc.serve("torch.nn:Linear(4, 4)", inputs="1x4")
    assert "archcalc flops 'torch.nn:Linear(4, 4)'" in caught.value.hint  # what is typed, not the name


# ---- weights as stored ----


def test_forms() -> None:
    """Scales and zeros counted: DeepSeek-V3's blocks of 128, MXFP4's byte for 32."""
    assert parse_form("fp8:128").matrix(256, 7168) == 256 * 7168 + 4 * 2 * 56
    assert parse_form("mxfp4").matrix(2, 64) == 64 + 2 * 2
    assert parse_form("bfloat16") == parse_form("bf16")


@pytest.mark.parametrize(("tokens", "share"), [(1, 2 / 8), (2, 1 - (6 / 8) ** 2), (10**6, 1.0)])
def test_experts_that_tokens_reach(tokens: int, share: float) -> None:
    assert share_reached(tokens, 2, 8) == pytest.approx(share)


def llama(width: int, layers: int, kv: int, inner: int, words: int) -> list[Weight]:
    """The matrices of a Llama, by hand."""
    shapes = [(width, width), (kv, width), (kv, width), (width, width), (inner, width), (inner, width), (width, inner)]
    many = [Weight(f"l{n}", o * i, "linear", 1, o, i) for n in range(layers) for o, i in shapes]
    table = Weight("table", words * width, "embedding", 1, words, width)
    norms = Weight("norms", (2 * layers + 1) * width, "other")
    return [*many, table, Weight("head", words * width, "head", 1, words, width), norms]


LLAMA2_7B = (4096, 32, 4096, 11008, 32000)
LLAMA2_70B = (8192, 80, 1024, 28672, 32000)
LLAMA31_8B = (4096, 32, 1024, 14336, 128256)
LLAMA31_70B = (8192, 80, 1024, 28672, 128256)
A100, GCD = 2039e9, 1638e9
GPT_FAST = [
    (LLAMA2_7B, "bf16", 104.9, 1397.31, False, A100),
    (LLAMA2_7B, "int8", 155.58, 1069.20, True, A100),
    (LLAMA2_7B, "int4:32", 196.80, 862.69, True, A100),
    (LLAMA2_70B, "int8", 19.13, 1322.58, True, A100),
    (LLAMA2_70B, "int4:32", 25.25, 1097.66, True, A100),
    (LLAMA31_8B, "bf16", 93.89, 1410.76, False, A100),
    (LLAMA31_8B, "int8", 137.64, 1030.89, False, A100),
    (LLAMA31_70B, "int8", 18.04, 1253.78, False, A100),
    (LLAMA2_7B, "bf16", 76.33, 1028.70, True, GCD),
    (LLAMA2_7B, "int8", 101.86, 700.06, True, GCD),
]
"""gpt-fast's README: the model, its form, tokens a second, GB/s, and whether its bytes include the embedding table."""


def by_form(sizes: tuple[int, ...], form: str) -> Stored:
    return stored(llama(*sizes), parse_form(form), "bfloat16")


@pytest.mark.parametrize(("sizes", "form", "rate", "bandwidth", "table", "peak"), GPT_FAST)
def test_gpt_fast_counts_the_same_bytes_and_stays_below_the_bound(
    sizes: tuple[int, ...], form: str, rate: float, bandwidth: float, table: bool, peak: float
) -> None:
    """GB/s over tokens/s are its bytes a token: within 0.5 % (Llama-2-7B bf16: 0.8 % without the cache it reads)."""
    held = by_form(sizes, form)
    bytes_ = held.total
    if not table:
        bytes_ -= held.tables
    if sizes == LLAMA2_7B and form == "bf16" and not table:
        bytes_ += 208 * 2 * 32 * 4096 * 2  # the cache of 208 tokens, which these rows read beside the weights
    assert bytes_ / 1e9 == pytest.approx(bandwidth / rate, rel=0.005)
    assert rate < peak / (held.total - held.tables)


PARALLEL = {
    LLAMA2_7B: ({2: 168.84, 4: 254.02, 8: 328.43}, "bf16"),
    LLAMA2_70B: ({2: 21.32, 4: 38.01, 8: 62.50}, "bf16"),
    LLAMA31_8B: ({2: 149.10, 4: 217.21, 8: 276.01}, "bf16"),
    LLAMA31_70B: ({2: 16.03, 4: 37.45, 8: 58.78}, "bf16"),
}


@pytest.mark.parametrize("sizes", PARALLEL)
def test_no_tensor_parallel_speed_is_above_its_bound(sizes: tuple[int, ...]) -> None:
    rates, form = PARALLEL[sizes]
    kv = sizes[2]
    cached = Cached("k", "l", sizes[1], 2 * kv, 0, 2, "bfloat16", kv // 128, Line(0, 0))
    for devices, rate in rates.items():
        placed = Placement(Laws([cached], [], 0, 1), by_form(sizes, form), devices)
        pace = Pace(placed, 0, "bfloat16", Form(form, 16), device_typed("a100-80g"))
        most = pace.tokens_at_most(1, 208)
        assert most is not None
        assert rate < most


# ---- logs of engines, papers, and models of transformers ----


def configured(folder: Path, **config: Any) -> str:
    (folder / "config.json").write_text(json.dumps({"torch_dtype": "bfloat16", "vocab_size": 64, **config}))
    return f"hf:{folder / 'config.json'}"


def dense(**more: Any) -> dict[str, Any]:
    return {"hidden_size": 64, "intermediate_size": 32, "num_hidden_layers": 6, "num_attention_heads": 4, **more}


SHRUNK: dict[str, tuple[dict[str, Any], int, int]] = {
    # bytes of one token more, and of the state of a sequence, by hand
    "llama": (dense(model_type="llama", num_key_value_heads=2), 2 * 6 * 2 * 16 * 2, 0),
    "qwen3": (dense(model_type="qwen3", num_key_value_heads=2, head_dim=32), 2 * 6 * 2 * 32 * 2, 0),
    "gemma3": (
        dense(model_type="gemma3_text", num_key_value_heads=1, head_dim=16, sliding_window=32), 2 * 6 * 16 * 2, 0,
    ),
    "gpt-oss": (
        dense(
            model_type="gpt_oss", num_key_value_heads=2, head_dim=16, sliding_window=32, num_local_experts=4,
            num_experts_per_tok=2,
        ), 2 * 6 * 2 * 16 * 2, 0,
    ),
    "deepseek-v3": (
        dense(
            model_type="deepseek_v3", num_key_value_heads=4, kv_lora_rank=32, q_lora_rank=32, qk_rope_head_dim=8,
            qk_nope_head_dim=16, v_head_dim=16, n_routed_experts=8, num_experts_per_tok=2, n_group=2, topk_group=1,
            moe_intermediate_size=16, first_k_dense_replace=1,
        ), 6 * (32 + 8) * 2, 0,
    ),
    "mixtral": (
        dense(model_type="mixtral", num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2),
        2 * 6 * 2 * 16 * 2, 0,
    ),
    "falcon": (
        {
            "model_type": "falcon", "hidden_size": 64, "num_hidden_layers": 6, "num_attention_heads": 4,
            "multi_query": True, "new_decoder_architecture": False,
        }, 2 * 6 * 16 * 2, 0,
    ),
    "mamba2": (
        {
            "model_type": "mamba2", "hidden_size": 32, "num_hidden_layers": 4, "num_heads": 4, "head_dim": 16,
            "state_size": 8, "n_groups": 1, "chunk_size": 16, "expand": 2, "conv_kernel": 4,
        },
        0, 4 * ((64 + 2 * 8) * 4 * 2 + 4 * 16 * 8 * 4),  # the recurrent state is float32
    ),
    "jamba": (
        dense(
            model_type="jamba", num_key_value_heads=2, attn_layer_period=3, attn_layer_offset=1, num_experts=4,
            num_experts_per_tok=2, mamba_d_state=8, mamba_d_conv=4, mamba_expand=2, use_mamba_kernels=False,
        ),
        2 * 2 * 2 * 16 * 2, 4 * (128 * 4 * 2 + 128 * 8 * 4),
    ),
    "whisper": (
        {
            "model_type": "whisper", "d_model": 64, "encoder_layers": 2, "decoder_layers": 4, "vocab_size": 64,
            "encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32,
            "max_source_positions": 20, "num_mel_bins": 8, "pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 1,
            "decoder_start_token_id": 1, "architectures": ["WhisperForConditionalGeneration"],
        },
        2 * 4 * 64 * 2, 2 * 4 * 64 * 20 * 2,
    ),
    "t5": (
        {
            "model_type": "t5", "d_model": 64, "d_kv": 16, "num_heads": 4, "num_layers": 4, "d_ff": 32,
            "architectures": ["T5ForConditionalGeneration"],
        },
        2 * 2 * 4 * 64 * 2, 0,
    ),
}  # fmt: skip


SLOW = pytest.mark.slow
QUICK = ("llama", "deepseek-v3", "mamba2")
"""Those of every run; the others are  pytest -m slow."""


@pytest.fixture
def library() -> Any:
    from bench.models import torchvision_ops

    torchvision_ops()
    return pytest.importorskip("transformers")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name if name in QUICK else pytest.param(name, marks=SLOW) for name in SHRUNK])
def test_bytes_of_a_token_by_hand(name: str, tmp_path: Path, library: Any) -> None:
    config, token, state = SHRUNK[name]
    made = serve(configured(tmp_path, **config), Setup(), Wanted(context=64))
    assert (made.kv_bytes_per_token, made.state_bytes) == (token, state)


REAL: tuple[Any, ...] = ("llama", "qwen3", "gemma3", "gpt-oss", "deepseek-v3", "mixtral", "falcon", "mamba2", "jamba")
"""Decoders whose cache a real run on the CPU leaves."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name if name == "gemma3" else pytest.param(name, marks=SLOW) for name in REAL])
def test_a_real_cache_takes_the_same_bytes(name: str, tmp_path: Path, library: Any) -> None:
    """Storages behind the cache of a real run over 50 tokens, beyond the windows of 32, are what the library holds."""
    config, _, _ = SHRUNK[name]
    made = serve(configured(tmp_path, **config), Setup(dtype="float32", batch=2), Wanted(context=50))
    settings = library.CONFIG_MAPPING[config["model_type"]].from_dict({"vocab_size": 64, **config})
    torch.manual_seed(0)
    model = library.AutoModelForCausalLM.from_config(settings, dtype=torch.float32).eval()
    with torch.no_grad():
        out = model(torch.randint(3, 60, (2, 50)), use_cache=True)
        cache = out.get("past_key_values", out.get("cache_params"))
        assert storages(cache) == made.kv_held_bytes
        if name == "gemma3":  # a step later a window's storage is as large as an engine needs it
            model(torch.randint(3, 60, (2, 1)), past_key_values=cache, use_cache=True)
    if name == "gemma3":
        later = serve(configured(tmp_path, **config), Setup(dtype="float32", batch=2), Wanted(context=51))
        assert storages(cache) == later.kv_bytes


def storages(cache: Any) -> int:
    from archcalc.engine.load.nested import tensors_with_places

    found = {t.untyped_storage().data_ptr(): t for _, t in tensors_with_places("", cache) if t.dim() > 1}
    return sum(tensor.untyped_storage().nbytes() for tensor in found.values())


PUBLISHED: dict[str, tuple[dict[str, Any], int]] = {
    # DeepSeek-V3 (arXiv 2505.09343), table 1; Llama-3-8B: 2·32·8·128·2
    "llama-3-8b": (
        {"model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
         "num_key_value_heads": 8, "intermediate_size": 64}, 131_072,
    ),
    "llama-3.1-405b": (
        {"model_type": "llama", "hidden_size": 16384, "num_hidden_layers": 126, "num_attention_heads": 128,
         "num_key_value_heads": 8, "intermediate_size": 64}, 516_096,
    ),
    "qwen-2.5-72b": (
        {"model_type": "qwen2", "hidden_size": 8192, "num_hidden_layers": 80, "num_attention_heads": 64,
         "num_key_value_heads": 8, "intermediate_size": 64}, 327_680,
    ),
    "deepseek-v3": (
        {"model_type": "deepseek_v3", "num_hidden_layers": 61, "intermediate_size": 64, "moe_intermediate_size": 64},
        70_272,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", [name if name == "llama-3-8b" else pytest.param(name, marks=SLOW) for name in PUBLISHED]
)
def test_published_bytes_a_token(name: str, tmp_path: Path, library: Any) -> None:
    config, published = PUBLISHED[name]
    assert serve(configured(tmp_path, **config), Setup(), Wanted()).kv_bytes_per_token == published


@SLOW
@pytest.mark.filterwarnings("ignore")
def test_logs_of_engines(tmp_path: Path, library: Any) -> None:
    """Qwen3-1.7B: 18.78 GiB hold 175,856 tokens; Qwen3-235B on 4 devices: K of 367,404 tokens takes 8.23 GiB each.

    vLLM issue 33263, and a log of SGLang in vLLM issue 21348.
    """
    small = dense(
        model_type="qwen3", hidden_size=2048, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8,
        head_dim=128,
    )  # fmt: skip
    made = serve(configured(tmp_path, **small), Setup(), Wanted(context=175_856))
    assert made.kv_bytes / GIB == pytest.approx(18.78, rel=0.001)
    large = dense(
        model_type="qwen3", hidden_size=4096, num_hidden_layers=94, num_attention_heads=64, num_key_value_heads=4,
        head_dim=128,
    )  # fmt: skip
    made = serve(configured(tmp_path, **large), Setup(), Wanted(fit="80GiB", gpus=4))
    assert made.placement.cache_on_one(1, 367_404) / 2 / GIB == pytest.approx(8.23, rel=0.001)


@pytest.mark.filterwarnings("ignore")
def test_macs_of_a_chunked_model_at_any_length(tmp_path: Path, library: Any) -> None:
    """Mamba-2 pads to whole chunks: the law of 16-token chunks gives what a trace of 40 tokens gives."""
    reference = configured(tmp_path, **SHRUNK["mamba2"][0])
    law = serve(reference, Setup(), Wanted()).laws
    for tokens in (5, 16, 40):
        assert law.prefill_macs(tokens, full_head=True) == archcalc.analyze(reference, seq_len=tokens).macs


# ---- the command ----

FILE = "tests/test_serve.py:Decoder"


def test_the_command_says_what_fits_first_and_exits_with_1_if_it_does_not() -> None:
    fits = run("serve", FILE, "-i", "int64:1x8", "--context", "1k", "--fit", "1GiB", "--on", "a100-80g")
    assert fits.code == 0
    assert fits.out.startswith("batch 1 at 1,024 tokens fits within 1.000 GiB")
    tight = run("serve", FILE, "-i", "int64:1x8", "--context", "1k", "--fit", "1KiB")
    assert tight.code == 1
    assert "does not fit" in tight.out


def test_its_json_has_the_totals_of_the_library() -> None:
    out = run("serve", FILE, "-i", "int64:1x8", "--batch", "3", "--context", "100", "--json").out
    answer = json.loads(out)
    assert answer["totals"]["kv_bytes"] == of_decoder().kv_bytes
    assert answer["totals"]["largest_context"] is None
    assert [row["layers"] for row in answer["rows"]] == [LAYERS]
    assert sum(row["cache_bytes"] for row in answer["rows"]) == answer["totals"]["kv_bytes"]


@pytest.mark.parametrize("option", ["--seq-len 5", "--mode train", "--seed 3", "--size 7"])
def test_settings_of_a_run_that_change_nothing_are_refused(option: str) -> None:
    refused = run("serve", "gpt2", *option.split())
    assert refused.code == 2
    assert "changes nothing in serve" in refused.err


def test_a_picture_needs_a_capacity(tmp_path: Path) -> None:
    refused = run("serve", FILE, "-i", "int64:1x8", "-o", str(tmp_path / "x.svg"))
    assert refused.code == 2
    assert "--fit" in refused.err


def test_sweeps_and_checks_know_the_bytes_of_a_token(tmp_path: Path) -> None:
    """2·layers·768·2 bytes: 12,288 for 4 layers of gpt2, 36,864 for its 12."""
    swept = archcalc.sweep("gpt2", "layers=4,12", ["kv_bytes_per_token"])
    assert [row["kv_bytes_per_token"] for row in swept.rows] == [12_288, 36_864]
    file = tmp_path / "archcalc.toml"
    for limit, code in (("36 KiB", 0), ("35 KiB", 1)):
        file.write_text(f'[[check]]\nmodel = "gpt2"\nmax_kv_per_token = "{limit}"\n')
        assert run("check", str(file)).code == code


@pytest.mark.parametrize(("name", "token"), [("gpt2", 2 * 12 * 768 * 2), ("transformer", 2 * 2 * 6 * 512 * 2)])
def test_networks_of_the_catalogue(name: str, token: int) -> None:
    """The Transformer keeps keys and values of both texts, which are as long as each other here."""
    made = archcalc.serve(name, wanted={"context": 64})
    assert made.kv_bytes_per_token == token
    head = made.laws.head * 63
    assert made.laws.prefill_macs(64, full_head=True) - head == made.laws.prefill_macs(64)
