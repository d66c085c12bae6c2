"""Models in the manner of transformers: what their inputs are taken to hold, images in a text, experts, stored weights.

The modules here have what such models have (a configuration, a main_input_name), so that the library is not needed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import archcalc
from archcalc.engine.load.pretrained.stored_weights import stored_bytes
from archcalc.engine.load.references import InLibrary, StoredTrace, parse
from archcalc.errors import BadInput, CannotFollow
from tests.helpers import report, run, run_fresh

ROWS, WIDTH = 50, 8


class Config:
    """A configuration, as those of transformers are."""

    model_type = "stub"

    def __init__(self, **settings: Any) -> None:
        vars(self).update(settings)

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


class Text(nn.Module):
    """Warns about padding, and drops a mask that hides nothing; both ask for values."""

    main_input_name = "input_ids"

    def __init__(self) -> None:
        super().__init__()
        self.config = Config(vocab_size=ROWS, pad_token_id=0, max_position_embeddings=16)
        self.embedding, self.linear = nn.Embedding(ROWS, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        assert self.config.pad_token_id not in input_ids[:, [-1, 0]]
        if attention_mask is not None and torch.all(attention_mask == 1):
            attention_mask = None
        x = self.linear(self.embedding(input_ids))
        return x if attention_mask is None else x * attention_mask[..., None]


def test_a_text_has_our_length_or_the_positions_of_the_model() -> None:
    (given,) = report(Text()).trace.inputs
    assert (given.shape, given.origin) == ((1, 16), "its config: no more positions")
    (given,) = report(Text(), batch=3, seq_len=5).trace.inputs
    assert (given.shape, given.origin) == ((3, 5), "option")


@pytest.mark.parametrize("mask", ["int64:2x7", "bool:2x7", torch.ones(2, 7)])
def test_a_mask_makes_no_difference(mask: Any) -> None:
    """2·7·8·8 multiply-adds with and without it; a note says what it is taken to hold."""
    alone = report(Text(), {"input_ids": "int64:2x7"})
    masked = report(Text(), {"input_ids": "int64:2x7", "attention_mask": mask})
    assert alone.macs == masked.macs == 2 * 7 * WIDTH * WIDTH
    assert "input_ids is taken to hold ordinary tokens" in alone.notes
    if isinstance(mask, str):
        assert "attention_mask is taken to be 1 everywhere" in masked.notes


def test_values_that_are_given_are_not_replaced() -> None:
    """A mask that hides something is multiplied with: one elementwise op more."""
    hidden = torch.tensor([[1, 1, 0]])
    made = report(Text(), {"input_ids": "int64:1x3", "attention_mask": hidden})
    assert any(call.op.startswith("aten.mul") for call in made.trace.calls)
    assert not any("attention_mask is taken" in note for note in made.notes)


class Seeing(Text):
    """A text with an image in it: 4 x 4 patches of 2 x 2 pixels become 16 tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.config = Config(
            vocab_size=ROWS, pad_token_id=0, image_token_id=40, vision_config=Config(image_size=8, num_channels=3)
        )
        self.tower = nn.Conv2d(3, WIDTH, 2, stride=2)

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        return self.tower(pixel_values).flatten(2).transpose(1, 2)

    def forward(self, input_ids: Tensor, pixel_values: Tensor | None = None) -> Tensor:  # type: ignore[override]
        x = self.embedding(input_ids)
        if pixel_values is not None:
            places = input_ids == self.config.image_token_id
            features = self.get_image_features(pixel_values)
            assert places.sum() * WIDTH == features.numel()
            x = x.masked_scatter(places[..., None], features)
        return self.linear(x)


@pytest.mark.parametrize(("images", "batch"), [(1, 1), (2, 1), (3, 2)])
def test_an_image_has_as_many_tokens_as_it_gives_features(images: int, batch: int) -> None:
    """128 tokens of text and 16 for each image; 16·(3·2·2)·8 multiply-adds for each image."""
    made = report(Seeing(), images=images, batch=batch)
    tokens = 128 + 16 * images
    assert [given.shape for given in made.trace.inputs] == [(batch, tokens), (batch * images, 3, 8, 8)]
    assert made.macs == batch * (images * 16 * 12 * WIDTH + tokens * WIDTH * WIDTH)
    assert any(note.startswith(f"{16 * images} tokens of input_ids stand for its image") for note in made.notes)
    assert "did_not_run" not in made.trace.assumptions


@pytest.mark.parametrize("mark", ["vision_start_token_id", "vision_end_token_id"])
def test_a_mark_beside_an_image_that_has_its_number_is_none(mark: str) -> None:
    """The text holds 16 tokens for the image, which the model checks, and an ordinary one in the place of the mark."""
    model = Seeing()
    setattr(model.config, mark, 40)
    assert report(model).trace.inputs[0].shape == (1, 144)


class Halves(nn.Module):
    """A layer of a tower that leaves every other row."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)[:, ::2]


class SeeingLess(Seeing):
    """A tower of three layers that are alike, each of which halves the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Halves() for _ in range(3))

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        x = super().get_image_features(pixel_values)
        for layer in self.layers:
            x = layer(x)
        return x


def test_a_tower_that_shortens_its_rows_has_as_many_tokens_as_it_leaves() -> None:
    """16 patches halved three times: 2 tokens."""
    made = report(SeeingLess())
    assert made.trace.inputs[0].shape == (1, 130)
    assert any(note.startswith("2 tokens of input_ids stand for its image") for note in made.notes)


def test_a_tower_without_an_image_is_named_and_the_answer_is_not_complete() -> None:
    from archcalc.render.around import completeness

    made = report(Seeing(), images=0)
    assert made.macs == 128 * WIDTH * WIDTH
    assert made.trace.assumptions["did_not_run"] == ("tower",)
    assert any("tower (104 parameters) did not run" in note for note in made.notes)  # 8·(3·2·2) + 8
    (line,) = completeness(made)
    assert not line.startswith("complete")
    assert "tower did not run" in line


def test_a_text_that_is_too_short_for_its_image_says_what_to_type() -> None:
    with pytest.raises(BadInput, match="takes 16 tokens of input_ids, which is too short"):
        archcalc.trace(Seeing(), {"input_ids": "int64:1x10", "pixel_values": "1x3x8x8"})
    made = report(Seeing(), {"input_ids": "int64:1x20", "pixel_values": "1x3x8x8"})
    assert made.trace.inputs[0].shape == (1, 20)


@pytest.mark.parametrize("how", [{"images": 2}, {"images": 0}])
def test_images_where_there_are_none_are_refused(how: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="images does not apply"):
        archcalc.trace("resnet-20", **how)
    with pytest.raises(BadInput, match="images"):
        archcalc.trace(Seeing(), {"input_ids": "int64:1x20"}, **how)


class Experts(nn.Module):
    """Each token goes to two of four experts, in a loop over those that are met."""

    main_input_name = "hidden_states"

    def __init__(self) -> None:
        super().__init__()
        self.config = Config(num_local_experts=4)
        self.router, self.experts = nn.Linear(WIDTH, 4), nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        weights, chosen = torch.topk(self.router(x).softmax(-1), 2, dim=-1)
        mask = torch.nn.functional.one_hot(chosen, 4).permute(2, 1, 0)
        out = torch.zeros_like(x)
        for number in torch.greater(mask.sum(dim=(-1, -2)), 0).nonzero():
            place, token = torch.where(mask[number[0]])
            expert: Any = self.experts[int(number[0])]
            out.index_add_(0, token, expert(x[token]) * weights[token, place, None])
        return out


def test_experts_are_met_by_the_same_number_of_tokens() -> None:
    """6 tokens to 2 experts each: 12·8·8 multiply-adds behind the router's 6·8·4, 3 tokens an expert."""
    made = report(Experts(), (6, WIDTH))
    assert made.macs == 6 * WIDTH * 4 + 12 * WIDTH * WIDTH
    assert any(note.startswith("balanced routing") for note in made.notes)
    shares = [layer.total["macs"] for layer in made.root.walk() if layer.path.startswith("experts.")]
    assert shares == [3 * WIDTH * WIDTH] * 4


class Numbers(nn.Module):
    """Makes tensors, sizes and a text of numbers that are in tensors."""

    def forward(self, x: Tensor) -> Tensor:
        sizes = torch.empty((2, 2), dtype=torch.long, device=x.device)
        for row, size in enumerate((3, 4)):
            sizes[row, 0], sizes[row, 1] = size, size
        counts = sizes.prod(1)
        parts = torch.tensor([counts[0], counts[1]])
        assert f"{counts[1]}" == "16"
        assert parts.sum() == 25
        return x[:, [0, 2]].repeat(1, int(parts[0]))


def test_numbers_in_tensors_stay_known() -> None:
    """A tensor filled by hand, numbers gathered in another, a number in a text, a list as an index."""
    assert report(Numbers(), (2, 3)).output_shape == (2, 18)


BIG = """
import resource, sys
import torch
from torch import nn
import archcalc

class Big(nn.Module):
    def __init__(self):
        super().__init__()
        n = (1 << 14, 1 << 14)  # 1 GiB of float32
        made = torch.zeros(n), torch.ones(n), torch.full(n, 2.0), torch.randn(*n), torch.rand(n) * 0.02, torch.eye(n[0])
        self.weights = nn.ParameterList(made)
        self.register_buffer("mask", torch.tril(torch.ones(n, dtype=torch.bool)))

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(archcalc.params(Big).params, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_constructors_allocate_nothing_large() -> None:
    """6 GiB of weights by six functions of torch; memory grows by far less than one of them."""
    ran = run_fresh(code=BIG)
    params, grown = map(int, ran.out.split())
    assert params == 6 * 2**28
    assert grown < 200, f"{grown} MiB"


@pytest.mark.parametrize(
    ("settings", "stored"),
    [
        # 256·384 weights in blocks of 128·128, a scale of 4 bytes each; the bias of 256 stays at 2 bytes
        ({"quant_method": "fp8", "weight_block_size": [128, 128]}, 256 * 384 + 4 * 2 * 3 + 2 * 256),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, 256 * 384 + 4 * 256 + 2 * 256),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, 256 * 384 // 2 + 4 * 1536 + 2 * 256),
        ({"quant_method": "gptq", "bits": 4, "group_size": 128}, 49152 + 3 * 256 * 2 + 3 * 128 + 4 * 384 + 512),
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, 49152 + 3 * 256 * 2 + 3 * 128 + 512),
        ({"quant_method": "fp8", "modules_to_not_convert": ["0"]}, None),
        ({"quant_method": "mxfp4"}, None),  # of experts alone
        ({"quant_method": "unheard-of"}, None),
    ],
)
def test_bytes_of_quantized_weights(settings: dict[str, Any], stored: int | None) -> None:
    assert stored_bytes(nn.Sequential(nn.Linear(384, 256)), settings, "bfloat16") == stored


class Stacked(nn.Module):
    """Experts as one stack of matrices, and a layer that is none."""

    def __init__(self) -> None:
        super().__init__()
        self.experts = nn.ParameterDict({"up": torch.empty(4, 64, 96)})
        self.head = nn.Linear(8, 8, bias=False)


def test_mxfp4_is_of_experts() -> None:
    """4·64 rows of 96 numbers: half a byte each and 3 scales; 64 numbers of 2 bytes beside them."""
    assert stored_bytes(Stacked(), {"quant_method": "mxfp4"}, "bfloat16") == 4 * 64 * (48 + 3) + 2 * 64


def test_a_configuration_is_a_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file, its folder, and hf: before either; a stored trace stays one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "trace.json").write_text(archcalc.trace("resnet-20").to_json())
    for text in ("net/config.json", "./net", "net/", "hf:net/config.json", "hf:net/"):
        reference = parse(text)
        assert isinstance(reference, InLibrary)
        assert (reference.text, reference.name) == (text, text.removeprefix("hf:"))
    assert isinstance(parse("trace.json"), StoredTrace)
    assert isinstance(parse("missing.json"), StoredTrace)


ADAPTERS = {"peft_type": "LORA", "base_model_name_or_path": "org/net", "r": 16, "lora_alpha": 32}


def test_what_stands_beside_a_configuration_defines_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders and files of the hub: what to type for the model itself."""
    monkeypatch.chdir(tmp_path)
    for name in ("net", "lora", "pipeline", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "net" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (tmp_path / "net" / "tokenizer.json").write_text(json.dumps({"version": "1.0"}))
    adapters = {**ADAPTERS, "target_modules": ["q_proj", "v_proj"]}
    (tmp_path / "lora" / "adapter_config.json").write_text(json.dumps(adapters))
    (tmp_path / "pipeline" / "model_index.json").write_text("{}")
    for typed, said in (
        ("net", "the folder    ./net"),
        ("net/tokenizer.json", "its config.json, or the folder that holds one"),
        ("lora/adapter_config.json", "write  hf:org/net --lora r=16,alpha=32,target=q_proj,v_proj"),
        ("./lora", "what adapts a model is in  ./lora/adapter_config.json"),
        ("pipeline/", "such as  pipeline/unet"),
        ("./empty", "the folder holds no config.json"),
    ):
        ran = run("params", typed)
        assert ran.code == 2
        assert said in ran.err


class Quantized(nn.Module):
    """Two layers of 256 x 384 weights with a configuration that keeps one of them as it is."""

    def __init__(self) -> None:
        super().__init__()
        settings = {"quant_method": "fp8", "weight_block_size": [128, 128], "modules_to_not_convert": ["head"]}
        self.config = Config(quantization_config=settings)
        self.body, self.head = nn.Linear(384, 256), nn.Linear(384, 256)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) + self.head(x)


STORED = 256 * 384 + 4 * 2 * 3
"""One byte a weight, and 4 bytes for each block of 128 x 128."""


@pytest.mark.parametrize(("dtype", "width"), [("float32", 4), ("bfloat16", 2)])
def test_weights_as_stored_stand_beside_their_bytes(dtype: str, width: int) -> None:
    """What is not quantized has the run's type; layers add up, and a trace keeps it."""
    made = report(Quantized(), (2, 384), dtype=dtype)
    beside = width * (256 + 256 * 384 + 256)
    assert made.totals["stored_params_bytes"] == STORED + beside
    assert made.layers["body"].total["stored_params_bytes"] == STORED + 256 * width
    assert made.layers["head"].total["stored_params_bytes"] == width * (256 * 384 + 256)
    assert archcalc.analyze(archcalc.Trace.from_json(made.trace.to_json())).totals == made.totals
    tuned = report(Quantized(), (2, 384), dtype=dtype, lora="r=4,target=body")
    assert tuned.totals["stored_params_bytes"] == made.totals["stored_params_bytes"] + 4 * 4 * (256 + 384)
    assert "stored_params_bytes" not in report(nn.Linear(4, 4), (2, 4)).totals


def test_weights_as_stored_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of the pages of params and memory, a column, and a total in JSON."""
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text("from tests.test_pretrained import Quantized\n")
    for command, more in (("params", ()), ("memory", ("-i", "2x384"))):
        ran = run(command, "net.py:Quantized", *more)
        assert "weights as stored" in ran.out
        assert f"({STORED + 4 * (512 + 256 * 384):,} bytes, scales included), here" in ran.out
        answer = json.loads(run(command, "net.py:Quantized", *more, "--json").out)
        assert answer["totals"]["stored_params_bytes"] == STORED + 4 * (512 + 256 * 384)


GPT_OSS = {
    "model_type": "gpt_oss", "architectures": ["GptOssForCausalLM"], "hidden_size": 2880, "num_hidden_layers": 24,
    "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 2880,
    "num_local_experts": 32, "num_experts_per_tok": 4, "vocab_size": 201088, "sliding_window": 128,
    "attention_bias": True, "tie_word_embeddings": False, "dtype": "bfloat16",
    "quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": [
        "model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]},
}  # fmt: skip
"""openai/gpt-oss-20b, from public knowledge of it."""


def test_the_files_of_gpt_oss(tmp_path: Path) -> None:
    """13,761,264,768 bytes is the total_size of the index of its files.

    By hand: 24 x 32 experts of 2880 x (5760 + 2880) weights, half a byte each and a byte for each 32; 2 bytes for each
    of the others, of 20,914,757,184 in all.
    """
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text(json.dumps(GPT_OSS))
    totals = archcalc.params(f"hf:{tmp_path}/config.json").totals
    experts = 24 * 32 * 2880 * (5760 + 2880)
    assert totals["params"] == 20_914_757_184
    assert totals["stored_params_bytes"] == experts * 17 // 32 + 2 * (20_914_757_184 - experts) == 13_761_264_768


class Hearing(Text):
    """Counts the tokens of its sound while it makes the features, as MusicFlamingo does."""

    input_modalities = ("audio", "text")

    def __init__(self) -> None:
        super().__init__()
        self.config.audio_token_id = ROWS - 1
        self.config.max_position_embeddings = 64
        self.listen = nn.Linear(80, WIDTH)

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def get_audio_features(self, input_features: Tensor, input_ids: Tensor) -> Tensor:
        tokens = int((input_ids == self.config.audio_token_id).sum())
        features = self.listen(input_features[:, ::64])
        if tokens != features.shape[1]:
            raise ValueError(f"Audio features and audio tokens do not match, tokens: {tokens}, features: 8")
        return features

    def forward(self, input_ids: Tensor, input_features: Tensor | None = None) -> Tensor:  # type: ignore[override]
        x = self.linear(self.embedding(input_ids))
        if input_features is not None:
            x[:, : 512 // 64] += self.get_audio_features(input_features, input_ids)
        return x


def test_a_sound_has_as_many_tokens_as_the_model_itself_says_that_it_needs() -> None:
    made = report(Hearing())
    text = next(given for given in made.trace.inputs if given.name == "input_ids")
    assert text.shape == (1, 64 + 8)  # 512 / 64 frames, one token each
    assert made.macs == 72 * WIDTH * WIDTH + 8 * 80 * WIDTH


class OfSession(nn.Module):
    """Takes an object of the library that holds the frames of a video."""

    def forward(self, inference_session: Any, frame_idx: int = 0) -> Tensor:
        return torch.zeros(frame_idx)


def test_a_model_of_an_inference_session_says_what_it_takes() -> None:
    with pytest.raises(CannotFollow, match="inference session") as caught:
        report(OfSession())
    assert "without _video" in caught.value.hint


class Compiles(Text):
    """Has attention that torch compiles when it is called, and another one."""

    def __init__(self, *others: str) -> None:
        super().__init__()
        self.config._attn_implementation, self.others = "flex_attention", others

    def set_attn_implementation(self, name: str) -> None:
        if name not in self.others:
            raise ValueError(name)
        self.config._attn_implementation = name

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        if self.config._attn_implementation == "flex_attention":
            raise RuntimeError("no compiler here")
        return super().forward(input_ids, attention_mask)


@pytest.mark.parametrize(("others", "taken"), [(("eager", "sdpa"), "sdpa"), (("eager",), "eager")])
def test_attention_that_is_compiled_is_run_as_another(others: tuple[str, ...], taken: str) -> None:
    module = Compiles(*others)
    made = report(module)
    assert made.macs == 16 * WIDTH * WIDTH
    assert (
        f"its flex attention is counted as {taken}: the products are the same, and hidden ones are computed"
        in made.notes
    )
    assert module.config._attn_implementation == "flex_attention"  # the caller's own stays as it is


class EveryExpert(nn.Module):
    """4 experts of one matrix of 8 x 8, each multiplied with every token, as in Llama 4."""

    main_input_name = "input_ids"

    def __init__(self, chosen: int) -> None:
        super().__init__()
        self.config = Config(num_local_experts=4, num_experts_per_tok=chosen)
        self.table = nn.Embedding(10, 8)
        self.experts = nn.Parameter(torch.zeros(4, 8, 8))

    def forward(self, input_ids: Tensor) -> Tensor:
        tokens = self.table(input_ids).view(-1, 8)
        return torch.bmm(tokens.repeat(4, 1).view(4, -1, 8), self.experts).sum(0)


@pytest.mark.parametrize(("chosen", "idle"), [(1, "576"), (3, "192"), (4, "")])
def test_experts_that_run_without_being_chosen_are_said(chosen: int, idle: str) -> None:
    """3 tokens by 4 experts of 64 weights: 768 multiply-adds, of which 4 less the chosen in 4 are of the others."""
    made = report(EveryExpert(chosen), "int64:1x3")
    assert made.macs == 3 * 4 * 64 == 768
    said = [note for note in made.notes if note.startswith("all 4 experts")]
    assert [note.split(": ")[-1] for note in said] == ([f"{idle} MACs are of the others"] if idle else [])


PIX2STRUCT = {
    "model_type": "pix2struct",
    "text_config": {"vocab_size": 100, "hidden_size": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4},
    "vision_config": {"hidden_size": 32, "d_kv": 8, "d_ff": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                      "patch_embed_hidden_size": 32},
}  # fmt: skip
TROCR = {
    "model_type": "vision-encoder-decoder", "architectures": ["VisionEncoderDecoderModel"],
    "encoder": {"model_type": "vit", "image_size": 96, "hidden_size": 32, "num_hidden_layers": 2,
                "num_attention_heads": 4, "intermediate_size": 64},
    "decoder": {"model_type": "trocr", "d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4,
                "decoder_ffn_dim": 64, "vocab_size": 100, "cross_attention_hidden_size": 32},
}  # fmt: skip
SPEECH = {
    "model_type": "speecht5", "hidden_size": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "vocab_size": 40,
    "num_mel_bins": 20, "speech_decoder_prenet_units": 16, "speech_decoder_postnet_units": 16,
    "speaker_embedding_dim": 8,
}  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "inputs"),
    [
        (PIX2STRUCT, {"flattened_patches": (1, 2048, 2 + 32), "decoder_input_ids": (1, 128)}),
        (TROCR, {"pixel_values": (1, 3, 96, 96), "decoder_input_ids": (1, 128)}),
        (
            {**SPEECH, "architectures": ["SpeechT5ForTextToSpeech"]},
            {"input_ids": (1, 128), "decoder_input_values": (1, 128, 20)},
        ),
        (
            {**SPEECH, "architectures": ["SpeechT5ForSpeechToText"]},
            {"input_values": (1, 16000), "decoder_input_ids": (1, 128)},
        ),
    ],
)
def test_inputs_of_models_with_two_sides(settings: Any, inputs: dict[str, tuple[int, ...]], tmp_path: Path) -> None:
    """The image that the encoder is built for; patches with their places; sounds and spectrograms of the heads."""
    pytest.importorskip("transformers")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(settings))
    made = report(str(path))
    assert {given.name: given.shape for given in made.trace.inputs} == inputs
    assert made.macs > 0


def test_a_type_of_the_hub_with_an_architecture_of_the_library(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    path = tmp_path / "config.json"
    for name, hint in (("DeepseekV3ForCausalLM", '"model_type": "deepseek_v3"'), ("OwnModel", "write  hf:ORG/NAME")):
        path.write_text(json.dumps({"model_type": "kimi_k2", "auto_map": {"a": "b"}, "architectures": [name]}))
        ran = run("params", str(path))
        assert (ran.code, ran.out) == (2, "")
        assert hint in ran.err


def test_a_head_of_its_own_that_only_the_text_states(tmp_path: Path) -> None:
    """The library goes by the whole of Mistral 3, whose default ties it; the note says how to untie it."""
    pytest.importorskip("transformers")
    text = {"model_type": "mistral", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "head_dim": 8}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 100, "tie_word_embeddings": False}
    sight = {"model_type": "pixtral", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    sight |= {"num_attention_heads": 4, "head_dim": 8, "image_size": 56, "patch_size": 14}
    whole = {"architectures": ["Mistral3ForConditionalGeneration"], "text_config": text, "vision_config": sight}
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "mistral3", **whole}))
    tied, apart = (archcalc.params(str(path), knobs=knobs) for knobs in ({}, {"tie_word_embeddings": False}))
    assert apart.params == tied.params + 100 * 32
    assert ["text_config.tie_word_embeddings=false" in "".join(made.notes) for made in (tied, apart)] == [True, False]
