"""Bytes of weights by the methods of quantization that configurations state, also by the libraries' own layers."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import archcalc
from archcalc.engine.load.pretrained import compressed_tensors, stored_methods
from archcalc.engine.load.pretrained.stored_weights import checkpoint_names, is_known, stored_bytes
from tests.helpers import run, totals


def compressed(weights: dict[str, Any], format_: str, inputs: Any = None, **more: Any) -> dict[str, Any]:
    """Settings of compressed-tensors with one group; `weights` beside those of symmetric 8-bit rows."""
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel", "dynamic": False, **weights}
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs, **more.pop("group", {})}
    stated = {"quant_method": "compressed-tensors", "format": format_, "quantization_status": "compressed"}
    return {**stated, "ignore": ["lm_head"], "config_groups": {"group_0": group}, **more}


FOUR = {"num_bits": 4, "strategy": "group", "group_size": 64}
FLOAT = {"num_bits": 8, "type": "float"}
BLOCKS = {**FLOAT, "strategy": "block", "block_structure": [64, 64]}
SMALL = {"type": "float", "strategy": "group", "group_size": 32, "scale_dtype": "torch.uint8"}
NVFP4 = {"num_bits": 4, "type": "float", "strategy": "tensor_group", "group_size": 16, "symmetric": True}
TOKEN = {"num_bits": 8, "type": "int", "strategy": "token", "dynamic": True, "symmetric": True}
FIXED = {"num_bits": 8, "type": "float", "strategy": "tensor", "dynamic": False, "symmetric": True}
UNEVEN = {**TOKEN, "strategy": "tensor", "dynamic": False, "symmetric": False}
N, K = 192, 320

CASES = {
    # half a byte each, 5 scales of 2 bytes a row, the shape of 16 bytes
    "W4A16": (compressed(FOUR, "pack-quantized"), N * K // 2 + 2 * N * 5 + 16),
    "zeros": (compressed({**FOUR, "symmetric": False}, "pack-quantized"), N * K // 2 + 2 * N * 5 + N // 2 * 5 + 16),
    # 320 · 3 bits are 30 words of 4 bytes; 192 zeros of 3 bits 18 words
    "three bits": (
        compressed({"num_bits": 3, "symmetric": False}, "pack-quantized"),
        4 * N * 30 + 2 * N + 4 * 18 + 16,
    ),
    "W8A16": (compressed({}, "pack-quantized"), N * K + 2 * N + 16),
    "W8A8": (compressed({}, "int-quantized", TOKEN), N * K + 2 * N),
    # a zero of a byte for each row, and a scale and a zero of what goes in
    "uneven": (compressed({"symmetric": False}, "int-quantized", UNEVEN), N * K + 3 * N + 3),
    "fp8": (compressed(FLOAT, "float-quantized", {**TOKEN, **FLOAT}), N * K + 2 * N),
    "fixed": (compressed({**FLOAT, "strategy": "tensor"}, "float-quantized", FIXED), N * K + 2 + 2),
    "blocks": (compressed(BLOCKS, "float-quantized"), N * K + 2 * 3 * 5),
    # a scale of a byte for each 16, one of 4 bytes in all, and one more of what goes in
    "NVFP4": (compressed(NVFP4, "nvfp4-pack-quantized", {**NVFP4, "dynamic": "local"}), N * K * 9 // 16 + 4 + 4),
    "MXFP4": (compressed({**SMALL, "num_bits": 4}, "mxfp4-pack-quantized"), N * K * 17 // 32),
    "MXFP6": (compressed({**SMALL, "num_bits": 6}, "mxfp6-pack-quantized"), N * K * 25 // 32),
    "MXFP8": (compressed({**SMALL, "num_bits": 8}, "mxfp8-quantized"), N * K * 33 // 32),
    "inferred": (compressed(FOUR, "mixed-precision"), N * K // 2 + 2 * N * 5 + 16),
    "of the group": (
        compressed(FLOAT, "mixed-precision", group={"format": "naive-quantized"}),
        N * K + 2 * N,
    ),
    "expression": (compressed({}, "int-quantized", group={"targets": ["re:.*body"]}), N * K + 2 * N),
}


class Net(nn.Module):
    """A layer that is quantized, and one that is left out by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.lm_head = nn.Linear(K, N), nn.Linear(8, 8, bias=False)


@pytest.mark.parametrize("name", CASES)
def test_weights_of_compressed_tensors(name: str) -> None:
    settings, expected = CASES[name]
    assert stored_bytes(Net(), settings, "bfloat16") == expected + 2 * N + 2 * 64


def theirs(module: nn.Module, settings: dict[str, Any]) -> int:
    """Bytes of the state that compressed-tensors itself makes of a module."""
    from compressed_tensors.compressors.base import compress_module
    from compressed_tensors.quantization import QuantizationConfig
    from compressed_tensors.quantization.lifecycle.apply import apply_quantization_config

    module = copy.deepcopy(module).to(torch.bfloat16)
    apply_quantization_config(module, QuantizationConfig(**json.loads(json.dumps(settings))))
    for member in module.modules():
        if scheme := getattr(member, "quantization_scheme", None):
            for parameter in (p for name, p in member.named_parameters(recurse=False) if "scale" in name):
                parameter.data.fill_(1)
            stated = settings["format"]
            compress_module(member, scheme.format or (None if stated == "mixed-precision" else stated))
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_the_library_stores_as_many_bytes(name: str) -> None:
    pytest.importorskip("compressed_tensors")
    settings = CASES[name][0]
    assert stored_bytes(Net(), settings, "bfloat16") == theirs(Net(), settings)


def test_rules_of_layers() -> None:
    """A name comes before an expression, and both before a class; classes and expressions may be left out."""
    groups = {
        "a": {"targets": ["Linear"], "weights": FLOAT, "format": "float-quantized"},
        "b": {"targets": ["re:.*mlp.*"], "weights": FOUR, "format": "pack-quantized"},
        "c": {"targets": ["mlp.up"], "weights": {}, "format": "pack-quantized"},
    }
    settings = {"config_groups": groups, "ignore": ["re:.*vision.*", "Embedding"]}
    layer = nn.Linear(4, 4)
    for names, member, expected in (
        (["attn.q"], layer, "float-quantized"),
        (["mlp.down"], layer, "pack-quantized"),
        (["mlp.up"], layer, None),
        (["vision.mlp.down"], layer, None),
        (["embed"], nn.Embedding(4, 4), None),
        (["norm"], nn.LayerNorm(4), None),
        (["experts.0.up"], None, "float-quantized"),
    ):
        scheme = compressed_tensors.scheme_of(names, member, settings)
        assert (scheme and scheme.format) == expected
    assert "vision_tower.x" in checkpoint_names("model.vision_tower.x")


class Experts(nn.Module):
    """Two experts of 64 -> 2·96 and 96 -> 64, in stacks, as transformers holds them or turned round."""

    def __init__(self, turned: bool) -> None:
        super().__init__()
        self.is_transposed = turned
        sizes = ((2, 192, 64), (2, 64, 96))
        up, down = ((n, b, a) if turned else (n, a, b) for n, a, b in sizes)
        self.gate_up_proj, self.down_proj = nn.Parameter(torch.empty(up)), nn.Parameter(torch.empty(down))


@pytest.mark.parametrize("turned", [False, True])
def test_each_expert_is_quantized_by_itself(turned: bool) -> None:
    """Two times two matrices of 96 x 64 and two of 64 x 96, each with scales of its own."""
    net = nn.ModuleDict({"experts": Experts(turned)})
    numbers = 6 * 96 * 64
    rows = compressed({}, "int-quantized", TOKEN)
    assert stored_bytes(net, rows, "bfloat16") == numbers + 2 * (4 * 96 + 2 * 64)
    one = compressed({**FLOAT, "strategy": "tensor"}, "float-quantized")
    assert stored_bytes(net, one, "bfloat16") == numbers + 2 * 6
    blocks = {"quant_method": "fp8", "weight_block_size": [64, 64]}
    assert stored_bytes(net, blocks, "bfloat16") == numbers + 4 * 6 * 2
    narrow = {**blocks, "expert_dtype": "fp4", "scale_fmt": "ue8m0"}
    assert stored_bytes(net, narrow, "bfloat16") == numbers * 17 // 32
    left = {**rows, "ignore": ["re:.*experts.*"]}
    assert stored_bytes(net, left, "bfloat16") is None


UNKNOWN = (
    "torchao hqq quanto aqlm vptq spqr higgs fp_quant quark sinq auto-round gguf nvfp4 metal fouroversix gemma".split()
)


@pytest.mark.parametrize("method", UNKNOWN)
def test_methods_that_are_not_known(method: str) -> None:
    assert not is_known({"quant_method": method})


def test_every_method_of_the_library_is_decided() -> None:
    """A method that transformers adds must be looked at: its bytes known, or said not to be."""
    pytest.importorskip("transformers")
    from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

    known = {*stored_methods.METHODS, "bitsandbytes_4bit", "bitsandbytes_8bit", "compressed-tensors"}
    assert set(AUTO_QUANTIZER_MAPPING) == known | set(UNKNOWN)


def test_settings_of_known_methods_that_are_not_known() -> None:
    """Sparse weights, schemes told by their name, layers with settings of their own, what is quantized at the start."""
    sparse = compressed({}, "pack-quantized", sparsity_config={"format": "sparse-24-bitmask"})
    for settings in (
        sparse,
        compressed({}, "marlin-24"),
        {"quant_method": "compressed-tensors", "config_groups": {"W4A16": ["Linear"]}},
        {"quant_method": "gptq", "bits": 4, "dynamic": {"-:.*down.*": {}}},
        {"quant_method": "bitnet", "quantization_mode": "online"},
    ):
        assert not is_known(settings)
        assert stored_bytes(Net(), settings, "bfloat16") is None


@pytest.mark.filterwarnings("ignore")
def test_layers_of_transformers_take_as_many_bytes() -> None:
    """FP8Linear, FP8Experts and the layers of FBGEMM, EETQ and BitNet, each as the library makes it without values."""
    pytest.importorskip("transformers")
    from transformers import MixtralConfig
    from transformers.integrations.bitnet import BitLinear
    from transformers.integrations.eetq import EetqLinear
    from transformers.integrations.fbgemm_fp8 import FbgemmFp8Linear
    from transformers.integrations.finegrained_fp8 import FP8Experts, FP8Linear

    with torch.device("meta"):
        blocks = {"weight_block_size": (128, 128)}
        for own, name, settings in (
            (FP8Linear(K, N, (128, 128)), "fp8", blocks),
            (FP8Linear(K, N, (128, 128), scale_fmt="ue8m0"), "fp8", {**blocks, "scale_fmt": "ue8m0"}),
            (FP8Linear(K, N, None, "static"), "fp8", {"activation_scheme": "static"}),
            (FP8Linear(K, N, (1, 32), scale_fmt="ue8m0"), "mxfp8", {}),
            (FbgemmFp8Linear(K, N, False), "fbgemm_fp8", {}),
            (EetqLinear(K, N), "eetq", {}),
            (BitLinear(K, N, False, dtype=torch.bfloat16), "bitnet", {}),
        ):
            method = stored_methods.method_of(name, settings)
            assert method is not None
            assert method(N, K, settings) == sum(t.numel() * t.element_size() for t in own.state_dict().values())
        config = MixtralConfig(hidden_size=64, intermediate_size=96, num_local_experts=2)
        for more in ({}, {"expert_dtype": "fp4", "scale_fmt": "ue8m0"}):
            own = FP8Experts(config, (128, 128), **more)
            bytes_ = sum(t.numel() * t.element_size() for t in own.state_dict().values())
            ours = stored_bytes(
                nn.ModuleDict({"experts": Experts(False)}), {"quant_method": "fp8", **blocks, **more}, "float32"
            )
            assert ours == bytes_


LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 5, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100, "dtype": "bfloat16",
}  # fmt: skip
MATRICES = 5 * (64 * (64 + 32 + 32 + 64) + 3 * 64 * 128)
ROWS = 5 * (64 + 32 + 32 + 64 + 128 + 128 + 64)


def test_serving_reads_weights_as_stored(tmp_path: Path) -> None:
    """All five layers count, though one runs for all: a byte a number, two for each row, the rest in bfloat16."""
    pytest.importorskip("transformers")
    path = tmp_path / "config.json"
    path.write_text(
        json.dumps({**LLAMA, "quantization_config": compressed(FLOAT, "float-quantized", {**TOKEN, **FLOAT})})
    )
    beside = 2 * (2 * 100 * 64 + 11 * 64)
    answer = totals("serve", str(path), "--context", "64")
    assert answer["weights_bytes"] == MATRICES + 2 * ROWS + beside
    assert totals("params", str(path))["stored_params_bytes"] == MATRICES + 2 * ROWS + beside
    ran = run("serve", str(path), "--context", "64")
    assert "weights (fp8)" in ran.out
    assert "(compressed-tensors) stores them" in ran.err + ran.out


def test_a_step_reads_the_experts_that_it_reaches(tmp_path: Path) -> None:
    """2 of 8 experts at 17/32 byte a number, all that is no expert, and no table of embeddings."""
    pytest.importorskip("transformers")
    path = tmp_path / "config.json"
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_local_experts": 8, "num_experts_per_tok": 2}
    quantized = {"quant_method": "mxfp4", "modules_to_not_convert": ["self_attn"]}
    own = {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "quantization_config": quantized}
    path.write_text(json.dumps({**LLAMA, **sizes, **own}))
    answer = totals("serve", str(path), "--context", "64")
    experts = 5 * 8 * 3 * 64 * 96
    others = 5 * 64 * (64 + 32 + 32 + 64 + 8) + 100 * 64 + 11 * 64  # attention, routers, head, norms
    assert answer["weights_bytes"] == experts * 17 // 32 + 2 * (others + 100 * 64)
    assert answer["decode_traffic_bytes"] == experts // 4 * 17 // 32 + 2 * others + answer["kv_bytes"]


def test_serving_says_which_weights_it_takes_for_a_method_that_is_not_known(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**LLAMA, "quantization_config": {"quant_method": "hqq"}}))
    ran = run("serve", str(path), "--context", "64")
    assert (
        "weights counted as bf16: it is not known how its config's quantization (hqq) stores them" in ran.err + ran.out
    )
    ran = run("serve", str(path), "--context", "64", "--weights", "config")
    assert (ran.code, ran.out) == (2, "")
    assert "it is not known how hqq stores weights" in ran.err
    assert "how many bytes they take as stored is not known here" in archcalc.params(str(path)).notes[-1]
