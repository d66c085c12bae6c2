"""Low-rank adapters: parameters, MACs and memory by closed forms, and those of PEFT's own module where it is there."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import archcalc
from archcalc import Setup, Training
from archcalc.engine.lora import parse_lora
from archcalc.errors import WrongUse
from tests.helpers import report, run, totals

RANK = 16
GPT2 = 12 * RANK * (4 * (768 + 768) + 2 * (768 + 3072))
"""Twelve blocks: four projections of attention, two layers of the feed-forward part; r * (inputs + outputs) each."""


def test_parameters_and_macs_by_closed_form() -> None:
    """Adapters add r (in + out) parameters a layer, and that many MACs a token; nothing else is trained."""
    assert GPT2 == 2_654_208
    typed = ("--lora", f"r={RANK},target=all-linear,alpha=32")
    params, flops = totals("params", "gpt2", *typed), totals("flops", "gpt2", *typed)
    assert (params["trainable_params"], params["params"]) == (GPT2, 124_439_808 + GPT2)
    assert flops["macs"] == totals("flops", "gpt2")["macs"] + 1024 * GPT2


class Two(nn.Module):
    """Two layers without bias, 32 -> 64 -> 32."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(32, 64, bias=False), nn.Linear(64, 32, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down(self.up(x))


def test_a_frozen_layer_keeps_nothing_and_its_adapters_keep_their_inputs() -> None:
    """Backward through `down` needs x (10 x 32) and both results of A (10 x 4), the second A's input (10 x 64)."""
    step = report(Two(), (10, 32), lora="r=4,target=up,down", train=Training("adam"))
    adapters = 4 * (32 + 64) + 4 * (64 + 32)
    assert step.totals["trainable_params"] == adapters
    assert step.totals["saved_total_bytes"] == 4 * (10 * 4 + 10 * 64 + 10 * 4)  # x itself is an input
    states = sum(s.bytes for s in step.trace.storages if s.role == "optimizer")
    assert states == 4 * (2 * adapters + 4)  # two averages, and a count for each of four parameters
    gradients = {s.bytes for s in step.trace.storages if s.role == "gradient"}
    assert gradients == {4 * 4 * 32, 4 * 4 * 64}
    # x A^T needs no gradient of x: B, A of `up` and B, A of `down`, and the two products back through `down`
    rows = 10
    weights = rows * adapters
    back = rows * (4 * 32 + 4 * 64 + 64 * 32) + rows * 64 * 4
    assert step.totals["backward_macs"] == weights + back


def test_embeddings_and_convolutions() -> None:
    """A table adds r (rows + width), a convolution r (k k in + out) parameters; a lookup in A is no contraction."""
    table = report(nn.Sequential(nn.Embedding(100, 24)), "int64:2x7", lora="r=4,target=0")
    assert table.totals["trainable_params"] == 4 * (100 + 24)
    assert table.macs == 2 * 7 * 4 * 24
    image = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=2))
    made = report(image, (1, 3, 16, 16), lora="r=4,target=0,1")
    assert made.totals["trainable_params"] == 4 * (27 + 8) + 4 * 72 + 4 * 8 // 2
    base = report(image, (1, 3, 16, 16))
    assert made.macs - base.macs == 64 * made.totals["trainable_params"]  # 8 x 8 places


def test_adapters_of_half_precision_are_float32() -> None:
    """As PEFT keeps them, whether the model is made so or cast by --dtype; the result has the layer's type."""
    for model, how in ((Two().to(torch.bfloat16), {}), (Two(), {"dtype": "bfloat16"})):
        made = report(model, "bfloat16:10x32", lora="r=4,target=up", **how)
        assert made.totals["params_bytes"] == 2 * 2 * 32 * 64 + 4 * 4 * (32 + 64)
        assert made.trace.tensors[made.trace.output_tensors[0]].dtype == "bfloat16"


def test_layers_of_a_pattern_and_code_that_reads_weights() -> None:
    """A pattern takes the layers that can; the projection of nn.MultiheadAttention is read, and its adapters idle."""
    some = report(nn.Sequential(Two(), Two()), (10, 32), lora="r=2,target=0.*")
    assert some.totals["trainable_params"] == 2 * 2 * (32 + 64)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2)
    made = report(encoder, (2, 5, 32), lora="r=4,target=all-linear")
    assert made.totals["trainable_params"] == 2 * 4 * (32 + 32 + 2 * (32 + 64))
    assert any("layers.0.self_attn.out_proj and 1 more did not run" in note for note in made.notes)


def test_adapters_have_values_under_data() -> None:
    """B begins as zeros, so that a branch on the result goes as without adapters; in half precision, too."""

    class Asks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result = self.linear(x)
            alike = torch.equal(result, self.linear.base_layer(x))  # type: ignore[operator,union-attr]
            return result if alike else result[:1]

    for dtype in ("float32", "bfloat16"):
        made = report(Asks(), (4, 8), lora="r=2,target=linear", data=True, dtype=dtype)
        assert made.output_shape == (4, 8)


def test_the_model_at_hand_stays_as_it_is() -> None:
    model = Two()
    report(model, (10, 32), lora="r=4,target=up")
    assert all(p.requires_grad for p in model.parameters())
    assert type(model.up) is nn.Linear


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("r=4,target=linaer1", "did you mean  linear1"),
        ("r=4,target=attention", "a ScaledDotProductAttention, which gets no adapters"),
        ("r=4,target=*zzz", "names no layer"),
        ("r=0,target=linear1", "r=0 is not a rank"),
        ("r=99999999999999999999,target=linear1", "from 1 to 1,048,576"),
        ("r=4,target=linear1,linear1", "names the target linear1 twice"),
        ("r=4,use_dora=true,target=linear1", "name a function that makes PEFT's module"),
        ("", "--lora is followed by an empty text"),
        ("r=2.5,target=linear1", "r=2.5 is not a rank"),
        ("r=4,alpha=inf,target=linear1", "alpha=inf is not a number"),
        ("r=4,dropout=1,target=linear1", "dropout=1 is not a probability"),
        ("r=4", "names no target"),
        ("r=4,r=8,target=linear1", "gives r twice"),
        ("r=4,use_dora=true,target=linear1", "no 'use_dora'"),
        ("linear1", "not a setting of adapters"),
        ("target=all-linear,linear1", "no other target adds to it"),
    ],
)
def test_wrong_adapters_are_refused(typed: str, message: str) -> None:
    ran = run("params", "gpt2", "--lora", typed)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


@pytest.mark.filterwarnings("ignore")
def test_graphs_have_no_layers_that_can_be_replaced() -> None:
    """A scripted module, alone or as a part, and an exported program; what torch.compile wraps has layers."""
    script, program = torch.jit.script(Two()), torch.export.export(Two(), (torch.ones(2, 32),))
    for graph in (script, nn.Sequential(script, Two()), program):
        with pytest.raises(WrongUse, match="exported or scripted program"):
            archcalc.params(graph, lora="r=4,target=up")
    assert archcalc.params(torch.compile(Two()), lora="r=4,target=up").totals["trainable_params"] == 4 * (32 + 64)


def test_ranks_that_convolutions_cannot_have() -> None:
    groups, dilated = nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 8, 3, dilation=2)
    for layer, words in ((groups, "8 groups"), (dilated, "dilated")):
        with pytest.raises(WrongUse, match=words):
            archcalc.params(nn.Sequential(layer), lora="r=4,target=0")


def test_the_settings_of_adapters_in_each_of_their_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PEFT's names and a table mean the same; the answer says them; a check file and the next commands have them."""
    assert parse_lora("r=4,lora_alpha=8,target_modules=a,b") == parse_lora({"r": 4, "target": ["a", "b"]})
    answer = json.loads(run("flops", "resnet-18", "--lora", "r=4,target=fc", "--json").out)
    assert answer["assumptions"]["lora"] == "r=4,alpha=8,target=fc"
    ran = run("flops", "resnet-18", "--lora", "r=4,target=fc")
    assert "resnet-18 · built-in · LoRA r=4,alpha=8,target=fc" in ran.out
    assert "memory resnet-18 --lora r=4,alpha=8,target=fc" in ran.out
    assert "archcalc show" not in ran.out
    assert run("show", "resnet-18", "--lora", "r=4,target=fc").code == 2
    budget = 11_689_512 + 4 * (512 + 1000)
    check = '[[check]]\nname = "tuned"\nmodel = "resnet-18"\nlora = {{ r = 4, target = ["fc"] }}\nmax_params = {}\n'
    monkeypatch.chdir(tmp_path)
    for most, code in ((budget, 0), (budget - 1, 1)):
        Path("archcalc.toml").write_text(check.format(most))
        assert run("check").code == code


PARTS = ("params", "trainable_params", "params_bytes", "macs", "elementwise_flops", "peak_bytes", "saved_total_bytes")
STEP = (*PARTS, "backward_macs", "gradients_bytes", "optimizer_bytes", "first_step_peak_bytes")


def _llama() -> tuple[nn.Module, Any]:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 100}
    return LlamaForCausalLM(LlamaConfig(num_attention_heads=4, num_key_value_heads=2, **sizes)), {
        "input_ids": "int64:2x16"
    }


def _gpt2() -> tuple[nn.Module, Any]:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 100, "bos_token_id": 0, "eos_token_id": 0}
    return GPT2LMHeadModel(GPT2Config(**sizes)), {"input_ids": "int64:2x16"}


def _image() -> tuple[nn.Module, Any]:
    first, second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1, groups=2)
    return nn.Sequential(first, nn.ReLU(), second, nn.Flatten(), nn.Linear(512, 10)), "2x3x16x16"


@pytest.mark.parametrize(
    ("make", "typed", "options", "how"),
    [
        (_llama, "r=16,alpha=32,target=q_proj,v_proj", {"r": 16, "target_modules": ["q_proj", "v_proj"]}, Setup()),
        (_llama, "r=4,dropout=0.1,target=all-linear", {"r": 4, "lora_dropout": 0.1}, Setup(amp="bf16")),
        (_llama, "r=4,target=embed_tokens,o_proj", {"r": 4, "target_modules": ["embed_tokens", "o_proj"]}, Setup()),
        (_gpt2, "r=4,target=c_attn", {"r": 4, "target_modules": ["c_attn"]}, Setup(device="cuda")),
        (_gpt2, "r=4,target=all-linear", {"r": 4}, Setup()),
        (_image, "r=4,target=0,2", {"r": 4, "target_modules": ["0", "2"]}, Setup(device="cpu")),
    ],
)
@pytest.mark.filterwarnings("ignore")  # of PEFT and transformers
def test_figures_are_those_of_peft(make: Any, typed: str, options: dict[str, Any], how: Setup) -> None:
    """Forward and training step of our adapters and of PEFT's own module."""
    peft = pytest.importorskip("peft")
    model, inputs = make()
    config = peft.LoraConfig(**{"target_modules": "all-linear", **options})
    theirs = peft.get_peft_model(copy.deepcopy(model), config).base_model.model
    for train, keys in ((False, PARTS), (True, STEP)):
        ours = report(model, inputs, lora=typed, train=train, setup=how).totals
        peer = report(theirs, inputs, train=train, setup=how).totals
        assert {key: ours[key] for key in keys} == {key: peer[key] for key in keys}
