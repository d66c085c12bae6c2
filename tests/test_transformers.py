"""Models of transformers from their configurations, where the library is installed.

The configurations in tests/data/configs were written from public knowledge of these models; totals by closed forms
(128 tokens, batch 1, head on every token). MACs of small models equal torch's FlopCounterMode on real tensors.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

import archcalc
from bench.models import torchvision_ops
from tests.helpers import report, run

torchvision_ops()
transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")
CONFIGS = Path(__file__).parent / "data" / "configs"
KNOWN: dict[str, tuple[int, int | None]] = {
    "bert-large": (335_141_888, 39_461_060_608),
    "llama3-8b": (8_030_261_248, 964_891_246_592),
    "llama3.1-405b": (405_853_388_800, 51_747_376_594_944),
    "mixtral-8x7b": (46_702_792_704, 1_636_114_104_320),
    "deepseek-v3": (671_026_404_352, 4_728_884_822_016),
    "gpt-oss-20b": (20_914_757_184, 464_935_452_672),
    "qwen3-30b-a3b": (30_532_122_624, 395_774_525_440),
    "gemma3-1b": (999_885_952, 128_840_630_272),
    "t5-11b": (11_307_321_344, 1_485_974_798_336),
    "whisper-large-v3": (1_543_490_560, 1_413_693_112_320),
    "clip-vit-l-14": (427_616_513, 87_662_611_200),
    "mamba-2.8b": (2_768_345_600, None),
    "mamba2-2.7b": (2_702_599_680, 431_894_757_376),
    "jamba-v0.1": (51_570_323_328, None),
    "llava1.5-7b": (7_063_427_072, 4_984_528_486_400),
    "gemma3-4b": (4_300_079_472, None),
    "paligemma-3b": (2_923_466_480, None),
    "detr-r50": (41_524_768, None),
}
"""Parameters, and MACs where a closed form gives them."""
QUICK = ("bert-large", "clip-vit-l-14", "paligemma-3b")


def _timm(name: str) -> None:
    if name == "detr-r50":
        pytest.importorskip("timm")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in KNOWN])
def test_totals_of_well_known_configurations(name: str) -> None:
    _timm(name)
    params, macs = KNOWN[name]
    made = report(str(CONFIGS / f"{name}.json"))
    assert made.params == params
    assert macs in (None, made.macs)
    assert not made.totals["uncounted"]


OTHERS = sorted(path.stem for path in CONFIGS.glob("*.json") if path.stem not in KNOWN)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_every_configuration_is_answered(name: str) -> None:
    """Parameters are the sum over unique ones of the module; every op has a rule and every part ran."""
    path = CONFIGS / f"{name}.json"
    settings = json.loads(path.read_text())
    with torch.device("meta"):
        config = transformers.CONFIG_MAPPING[settings["model_type"]].from_dict(settings)
        module = getattr(transformers, settings["architectures"][0])(config)
    made = report(str(path))
    assert made.params == sum(p.numel() for p in module.parameters())
    assert not made.totals["uncounted"]
    assert made.macs > 0


@pytest.mark.slow
def test_detr_at_the_size_of_its_paper() -> None:
    """91.07 GMACs at 800x1200 in all: backbone, transformer and heads."""
    _timm("detr-r50")
    made = report(str(CONFIGS / "detr-r50.json"), size=(800, 1200))
    assert round(made.macs / 1e9, 2) == 91.07


def test_no_server_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by a backbone's name in a configuration, nor under --offline."""
    _timm("detr-r50")

    def refused(*_: Any) -> None:
        raise AssertionError("a server was asked")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    assert archcalc.params(str(CONFIGS / "detr-r50.json")).params == 41_524_768
    ran = run("params", "hf:nobody/nothing", "--offline")
    assert ran.code == 3
    assert "there is no config.json in the local cache" in ran.err


SMALL: dict[str, dict[str, Any]] = {
    "mixtral": {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2,
                "num_hidden_layers": 2, "num_local_experts": 4, "vocab_size": 100},
    "switch_transformers": {"d_model": 64, "d_kv": 16, "d_ff": 96, "num_heads": 4, "num_layers": 2,
                            "num_decoder_layers": 2, "num_experts": 4, "vocab_size": 100, "expert_capacity": 128},
    "llava": {"text_config": {"model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "vocab_size": 100,
                              "num_attention_heads": 4, "num_hidden_layers": 2}, "image_token_index": 90,
              "vision_config": {"model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 48,
                                "num_attention_heads": 2, "num_hidden_layers": 3, "image_size": 28, "patch_size": 14}},
    "whisper": {"d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
                "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96, "vocab_size": 100,
                "max_source_positions": 50, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
                "decoder_start_token_id": 1},
    "deberta-v2": {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_hidden_layers": 2,
                   "vocab_size": 100, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "patchtst": {"num_input_channels": 3, "context_length": 64, "patch_length": 8, "patch_stride": 8, "d_model": 64,
                 "num_attention_heads": 4, "num_hidden_layers": 2, "ffn_dim": 96},
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_macs_equal_torch_counter_on_real_tensors(name: str) -> None:
    """Of convolutions and in all: the same model on real tensors with the shapes and values that were assumed here."""
    from torch.utils.flop_counter import FlopCounterMode
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    from archcalc.analyses.flops import Contractions
    from archcalc.engine.load.build import load
    from archcalc.engine.meta.known_values import kept
    from archcalc.engine.record.run import prepared
    from archcalc.engine.setup import Setup

    config = transformers.CONFIG_MAPPING[name](**SMALL[name], use_cache=False, attn_implementation="eager")
    torch.manual_seed(0)
    module = MODEL_MAPPING[type(config)](config).eval().requires_grad_(False)
    if name == "mixtral":
        module.set_experts_implementation("eager")
    made = report(module)
    _, inputs = prepared(load(module, Setup()), Setup())
    real = {}
    for argument, tensor in inputs.kwargs.items():
        values = kept(tensor)
        real[argument] = torch.randn(tensor.shape) if values is None else values.clone()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(**real)
    theirs = {str(op): flops // 2 for op, flops in counter.get_flop_counts()["Global"].items()}
    ours = {op: macs for op, macs in made.record(Contractions).macs_by_op.items() if macs}
    for word in ("convolution", ""):  # a linear layer is an mm or an addmm by the strides of its input
        assert sum(macs for op, macs in ours.items() if word in op) == sum(n for op, n in theirs.items() if word in op)


SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2,
         "vocab_size": 100, "head_dim": 16, "num_hidden_layers": 4, "pad_token_id": 0}  # fmt: skip
WINDOW, LENGTH = 8, 21
CAUSAL = LENGTH * (LENGTH + 1) // 2
SEEN: dict[str, int] = {
    "causal": CAUSAL,
    "window": sum(min(i + 1, WINDOW) for i in range(LENGTH)),
    "chunk": sum(i % WINDOW + 1 for i in range(LENGTH)),
    "both sides": sum(abs(i - j) <= WINDOW for i in range(LENGTH) for j in range(LENGTH)),
    "all": LENGTH * LENGTH,
}
"""Pairs of a query and a key that are visible, of 21 tokens."""
LOCAL = {"sliding_window": WINDOW}
MASKED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "mistral": (LOCAL, ["window"] * 4),
    "gemma2": (LOCAL, ["window", "causal"] * 2),
    "gemma3_text": ({**LOCAL, "layer_types": ["sliding_attention"] * 3 + ["full_attention"]},
                    ["window"] * 3 + ["causal"]),
    "gpt_oss": ({**LOCAL, "num_local_experts": 4}, ["window", "causal"] * 2),
    "qwen3": ({**LOCAL, "use_sliding_window": True, "max_window_layers": 2}, ["causal"] * 2 + ["window"] * 2),
    "llama4_text": ({"attention_chunk_size": WINDOW, "num_local_experts": 2, "intermediate_size_mlp": 96},
                    ["chunk"] * 3 + ["causal"]),
    "modernbert": ({"local_attention": 2 * WINDOW, "global_attn_every_n_layers": 2, "cls_token_id": 1,
                    "sep_token_id": 2},
                   ["all", "both sides"] * 2),
}  # fmt: skip


@pytest.mark.parametrize("name", MASKED)
def test_what_masks_of_the_library_hide(name: str) -> None:
    """2 sequences, 4 heads of 16 features and both products: 256 MACs for each pair of a query and a key."""
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    settings, layers = MASKED[name]
    config = transformers.CONFIG_MAPPING[name](**SIZES, **settings, use_cache=False)
    totals = report(MODEL_MAPPING[type(config)](config).eval(), batch=2, seq_len=LENGTH).totals
    causal = sum(LENGTH**2 - CAUSAL for kind in layers if kind in ("causal", "window", "chunk"))
    hidden = sum(LENGTH**2 - SEEN[kind] for kind in layers)
    assert totals["causal_hidden_macs"] == 256 * causal
    assert totals["window_hidden_macs"] == 256 * (hidden - causal)


@pytest.fixture
def config(tmp_path: Path) -> Any:
    """Writes a configuration of a small BERT with some more settings, and returns its path."""

    def write(**settings: Any) -> str:
        sizes = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 96}
        path = tmp_path / "config.json"
        path.write_text(json.dumps({"model_type": "bert", **sizes, "vocab_size": 100, **settings}))
        return str(path)

    return write


def test_the_type_of_a_configuration_is_followed(config: Any) -> None:
    path = config(dtype="bfloat16")
    half, single = report(path), report(path, dtype="float32")
    assert half.trace.assumptions["dtype"] == "bfloat16"
    assert 2 * half.totals["params_bytes"] == single.totals["params_bytes"] == 4 * single.params
    assert any(note.startswith("its config says bfloat16, and so are its weights") for note in half.notes)
    assert not single.notes


def test_weights_as_stored_stand_beside_those_counted(config: Any) -> None:
    (note,) = report(config(quantization_config={"quant_method": "fp8", "weight_block_size": [128, 128]})).notes
    assert "quantization_config (fp8) is not applied" in note
    assert "as stored they take" in note


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        ({"architectures": ["BertTokenizer"]}, 0, "transformers has no model BertTokenizer: this is BertModel"),
        ({"architectures": ["os.system"]}, 0, "this is BertModel, without a head"),
        (
            {"model_type": "mine", "auto_map": {"AutoModel": "mine.Mine"}},
            2,
            "code on the hub, which archcalc does not run",
        ),
        ({"model_type": "mine"}, 2, "transformers has no 'mine'"),
        ({"model_type": None}, 2, "states no model_type"),
        ({"model_type": None, "_class_name": "UNet"}, 2, "name its class  diffusers:UNet"),
    ],
)
def test_only_models_of_the_library_are_built(config: Any, settings: dict[str, Any], code: int, said: str) -> None:
    ran = run("params", config(**settings))
    assert ran.code == code
    assert said in ran.out + ran.err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_hidden_layers": -1}, "its num_hidden_layers is -1"),
        ({"torch_dtype": "floaty"}, "its torch_dtype is 'floaty', which is no type of torch"),
        ({"hidden_act": "nope"}, "transformers knows no hidden_act='nope'"),
        ({"hidden_size": "24"}, "Field 'hidden_size' expected int"),
        ({"quantization_config": "fp8"}, "its quantization_config is 'fp8', and no table of settings"),
        ({"quantization_config": {"quant_method": "gptq", "bits": "four"}}, "quantization_config cannot be read"),
    ],
)
def test_a_setting_that_is_wrong_is_named(config: Any, settings: dict[str, Any], said: str) -> None:
    """The hint speaks of the file, and not of the library's defaults."""
    ran = run("params", config(**settings))
    assert ran.code == 2
    assert said in ran.err
    assert "correct it in the file" in ran.err


def test_a_run_that_fails_is_not_laid_to_the_defaults(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in the folder one is in has no slash in its name."""
    path = config(max_position_embeddings=4)
    monkeypatch.chdir(tmp_path)
    ran = run("flops", Path(path).name, "--seq-len", "8")
    assert (ran.code, "default configuration" in ran.err) == (3, False)


@pytest.mark.parametrize(
    ("settings", "dtype"),
    [
        ({"torch_dtype": "bf16"}, "bfloat16"),
        ({"torch_dtype": "torch.float16"}, "float16"),
        ({"dtype": "auto"}, "float32"),
        ({"architectures": "BertForMaskedLM"}, "float32"),
        ({"attn_implementation": "flash_attention_2"}, "float32"),
        ({"_attn_implementation": "flash_attention_3"}, "float32"),
    ],
)
def test_a_configuration_as_people_write_it(config: Any, settings: dict[str, Any], dtype: str) -> None:
    """The same MACs as with the usual spelling, the head included; with a byte order mark, too."""
    plain = report(config(architectures=["BertForMaskedLM"]))
    path = Path(config(**{"architectures": ["BertForMaskedLM"], **settings}).removeprefix("hf:"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    made = report(str(path))
    assert made.macs == plain.macs
    assert made.trace.assumptions["dtype"] == dtype
    assert any("flash_attention" in note for note in made.notes) is ("attn" in str(settings))


@pytest.mark.parametrize(
    ("kind", "named", "taken", "head"),
    [
        ("mpt", "MPTForCausalLM", "MptForCausalLM", 50_368 * 2_048),
        ("falcon", "RWForCausalLM", "FalconForCausalLM", 65_024 * 4_544),
        ("phimoe", "PhiMoEForCausalLM", "PhimoeForCausalLM", 32_064 * 4_096),
    ],
)
def test_a_class_of_the_hubs_code_is_the_librarys_for_the_same_task(
    tmp_path: Path, kind: str, named: str, taken: str, head: int
) -> None:
    """Beside the bare model there is an untied head, a vocabulary by the width."""
    path = tmp_path / "config.json"
    totals = []
    for more in ({}, {"architectures": [named]}):
        path.write_text(json.dumps({"model_type": kind, "tie_word_embeddings": False, **more}))
        totals.append(archcalc.params(f"hf:{path}"))
    assert f"transformers has no model {named}: this is {taken}" in totals[1].notes
    assert totals[1].params - totals[0].params == head


def test_a_value_that_the_library_replaces_is_said(tmp_path: Path) -> None:
    """T5Config ties whatever the file says, though T5 1.1 was published with a head of its own."""
    sizes = {"d_model": 64, "d_ff": 96, "d_kv": 16, "num_heads": 4, "num_layers": 1, "vocab_size": 100}
    settings = {"model_type": "t5", "architectures": ["T5ForConditionalGeneration"], **sizes}
    path = tmp_path / "config.json"
    said = "its config says tie_word_embeddings=false; transformers reads it as true"
    for more, notes in (({"tie_word_embeddings": False}, [said]), ({"tie_word_embeddings": True}, []), ({}, [])):
        path.write_text(json.dumps({**settings, **more}))
        assert notes == [note for note in archcalc.params(f"hf:{path}").notes if "transformers reads it" in note]
    path.write_text(json.dumps({**settings, "tie_word_embeddings": False}))
    chosen = archcalc.params(f"hf:{path}", knobs={"tie_word_embeddings": False})
    assert not any("transformers reads it" in note for note in chosen.notes)


def test_a_default_that_lacks_a_setting_says_what_it_was_taken_with() -> None:
    made = report("hf:patchtst")
    assert not any("its default configuration" in note for note in made.notes)
    made = report("hf:informer")
    assert "its default configuration does not run by itself: it is taken with prediction_length=24" in made.notes


def test_a_sweep_names_the_type_of_the_configuration(config: Any) -> None:
    path = config(dtype="bfloat16")
    ran = run("sweep", f"hf:{path}", "--set", "num_hidden_layers=1,2", "--figure", "peak_bytes", "--jobs", "1")
    assert "training step: bfloat16, adamw, loss sum" in ran.out
    other = run("sweep", f"hf:{path}", "--set", "num_hidden_layers=1", "--figure", "peak_bytes", "--dtype", "float32")
    assert "training step: float32, adamw, loss sum" in other.out


def test_the_next_command_keeps_a_type_that_the_configuration_does_not_state(config: Any) -> None:
    path = config(dtype="bfloat16")
    assert "--dtype float32" in run("flops", f"hf:{path}", "--dtype", "float32").out
    assert "--dtype" not in run("flops", f"hf:{path}").out.partition("next:")[2]


@pytest.mark.parametrize("images", ["0", "1", "2"])
def test_pairs_of_a_text_and_an_image_take_no_number_of_images(images: str) -> None:
    """CLIP has one image a text: a number that changes nothing is refused."""
    ran = run("flops", str(CONFIGS / "clip-vit-l-14.json"), "--images", images)
    assert ran.code == 2
    assert "--images does not apply" in ran.err
