"""Settings that default configurations of transformers lack: by themselves they make no model, or one that cannot run.

They serve references without a configuration (`hf:autoformer`), and an answer says which were set. A configuration
that a user gives is taken as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.engine.load.pretrained.facts import each

HEADS = {"head_dim": 128}
XDROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [16, 16, 16, 16]}
SPEECH = {"projector_config.model_type": "blip_2_qformer", "projector_config.encoder_hidden_size": 1024}
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
HALF_ROTARY = {"text_config.partial_rotary_factor": 0.5}
REPVIT = {
    "backbone_config.model_type": "timm_wrapper",
    "backbone_config.architecture": "repvit_m1",
    "backbone_config.num_classes": 2,
    "backbone_config.model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
}
PP_OCR_STAGES = {
    "backbone_config.model_type": "pp_lcnet_v4",
    "backbone_config.out_indices": (1, 2, 3, 4),
    "backbone_config.block_configs": (
        ((3, 96, 96, 1, True),),
        ((3, 96, 96, 2, False), (3, 96, 96, 1, False)),
        ((3, 96, 192, 2, False), *((3, 192, 192, 1, True), (3, 192, 192, 1, False)) * 3),
        ((3, 192, 384, 2, False), (3, 384, 384, 1, True), (3, 384, 384, 1, False)),
    ),
}
"""The library's own stages, which halve height and width each; those of its defaults read lines and halve heights."""
LINE_STAGES = {
    "backbone_config.model_type": "pp_lcnet_v3",
    "backbone_config.block_configs": (
        ((3, 16, 32, 1, False),),
        ((3, 32, 64, 1, False), (3, 64, 64, 1, False)),
        ((3, 64, 128, (2, 1), False), (3, 128, 128, 1, False)),
        ((3, 128, 256, (1, 2), False), *((5, 256, 256, 1, False),) * 4),
        ((5, 256, 512, (2, 1), True), (5, 512, 512, 1, True), (5, 512, 512, (2, 1), False), (5, 512, 512, 1, False)),
    ),
}
"""The stages of PaddleOCR's reader of lines (PPLCNetV3, NET_CONFIG_rec): they halve heights; the defaults find text."""
INDEXER = {
    "indexer_n_heads": 16,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 256,
    "indexer_budget": 2048,
    "indexer_compress_ratio": 4,
}
SIGLIP = {
    "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16,
    "image_size": 384, "patch_size": 16,
}  # fmt: skip
"""SigLIP of 400 million parameters, on 24 x 24 patches."""
SMALL_QWEN2 = {"hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2}
"""The encoder of DeepSeek-OCR 2, as wide as the features that it is given."""


def _of_part(part: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as those of a part.

    >>> _of_part("text_config", {"head_dim": 128})
    {'text_config.head_dim': 128}
    """
    return {f"{part}.{name}": value for name, value in settings.items()}


def _strips() -> dict[str, Any]:
    """The convolutions of PP-OCR's block for one class of text: kernel, stride, padding, for sides 7, 5, 3."""
    block: dict[str, Any] = {name: [1, 1, 0] for name in ("reduce_channel", "return_channel")}
    for words, side in (("longratio", 7), ("midratio", 5), ("shortratio", 3)):
        half = side // 2
        block[f"vertical_long_to_small_conv_{words}"] = [[side, 1], [1, 1], [half, 0]]
        block[f"horizontal_small_to_long_conv_{words}"] = [[1, side], [1, 1], [0, half]]
        block[f"symmetric_conv_long_{words}"] = [[side, side], [1, 1], [half, half]]
    return block


def _letters(number: int) -> str:
    """How Chameleon's vocabulary spells a number: its digits as letters, from A for 0.

    >>> _letters(207)
    'CAH'
    """
    return "".join(chr(ord("A") + int(digit)) for digit in str(number))


CHAMELEON_WORDS = {"<image>": 8711, **{f"IMGIMG{_letters(n)}Z": 4 + n for n in range(8192)}}
EMU3_WORDS = {"<image>": 151851, "<|extra_200|>": 151846} | {
    f"<|visual token {n:06d}|>": 151854 + n for n in range(32768)
}
"""Vocabularies with the numbers of images' tokens: names as the library reads them, numbers as the papers' models."""
LACKING: dict[str, dict[str, Any]] = {
    **each("autoformer informer time_series_transformer", {"prediction_length": 24}),
    **each("hunyuan_v1_dense hunyuan_v1_moe ministral", HEADS),
    "esm": {"vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32},
    "deepseek_v2": {"num_experts_per_tok": 6},
    "dots1": {"n_routed_experts": 128, "n_shared_experts": 2, "num_experts_per_tok": 6},
    "xmod": {"default_language": "en_XX"},
    **each("glm4v glm46v glmga glm_image", HALF_ROTARY),
    **each("glm4v_text glm_image_text", {"partial_rotary_factor": 0.5}),
    "glm4v_moe": {"text_config.head_dim": 128},
    "glm4v_moe_text": HEADS,
    "nemotron": {"head_dim": 128, "num_key_value_heads": 8},
    **each("modernvbert ultravbert", {"vision_config.image_size": 512, "vision_config.patch_size": 16}),
    "cohere_compass": {"text_config.rope_parameters.full_attention": ROPE},
    "cohere_compass_text": {"rope_parameters.full_attention": ROPE},
    "moonshine_streaming": {"num_key_value_heads": 8},
    "t5gemma2": {"encoder.vision_config.image_size": 896},
    "ovis2": {"hidden_size": 4096},
    "janus": {"vision_config.projection_dim": 4096},
    **each("granite_speech granite_speech_plus", SPEECH),
    "instructblipvideo": {"video_token_index": 50264},
    "dbrx": {"attn_config.rope_theta": 500000, "attn_config.clip_qkv": 8, "ffn_config.ffn_hidden_size": 10752},
    "lfm2_moe": {"layer_types": ("conv", "conv", "full_attention", "conv") * 8},
    "diffusion_gemma": {
        "text_config.num_experts": 8,
        "text_config.top_k_experts": 2,
        "text_config.moe_intermediate_size": 2048,
    },
    "deepseek_ocr2": {
        "text_config.mlp_layer_types": ("dense", *("sparse",) * 31),
        "text_config.num_experts_per_tok": 6,
        **_of_part("vision_config.encoder_config", SMALL_QWEN2),
    },
    "aya_vision": {"vision_config.num_attention_heads": 16},
    "gemma3": {"vision_config.image_size": 896},
    "llama4": {"vision_config.hidden_size": 1408, "vision_config.vision_output_dim": 4096},
    "hunyuan_vl_text": {**HEADS, "rope_parameters": XDROPE},
    "hunyuan_vl": {"text_config.head_dim": 128, "text_config.rope_parameters": XDROPE},
    "aria": {"vision_config.image_size": 490, "vision_config.patch_size": 14},
    "timm_backbone": {"backbone": "resnet50"},
    "edgetam": _of_part("vision_config", REPVIT),
    "edgetam_vision_model": REPVIT,
    "uvdoc": {"backbone_config.model_type": "uvdoc_backbone", "backbone_config.out_indices": (1, 2, 3, 4, 5, 6)},
    "lw_detr": {"projector_scale_factors": (1.0,)},
    "pp_ocrv5_mobile_rec": LINE_STAGES,
    "pp_ocrv6_small_det": {**PP_OCR_STAGES, "layer_list_out_channels": (96, 96, 192, 384)},
    "pp_ocrv6_medium_det": {
        **PP_OCR_STAGES,
        "intraclass_block_config": _strips(),
        "kernel_list": (3, 2, 2),
        "scale_factor_list": (1, 2, 4, 8),
    },
    "granite4_vision": {
        "downsample_rate": "4/8",
        "deepstack_layer_map": ((-19, 9), (-13, 6), (-7, 3), (-1, 0)),
        "image_grid_pinpoints": ([384, 768], [768, 384], [768, 768], [1152, 384], [384, 1152]),
        **_of_part("vision_config", SIGLIP),
    },
    "qwen4_exp_text": INDEXER,
    "qwen4_exp": _of_part("text_config", INDEXER),
    "qwen3_omni_moe_thinker": {"text_config.head_dim": 128},
    "t5gemma2_encoder": {"text_config.dropout_rate": 0.0, "vision_config.image_size": 896},
    "molmo2": {"adapter_config.text_hidden_size": 4096},
    "qwen3_asr": {"audio_config.output_dim": 2048},
    "chameleon": {"vocabulary_map": CHAMELEON_WORDS},
    "emu3": {"vocabulary_map": EMU3_WORDS},
    "perception_lm": {
        "vision_config.model_type": "timm_wrapper",
        "vision_config.num_classes": 0,
        "vision_config.architecture": "vit_pe_core_large_patch14_336",
        "vision_config.model_args": {"embed_dim": 1024, "global_pool": ""},
    },
    "step3p7": {"text_config.sliding_window": 512},
}
"""By model type; a dotted name is a setting of a part."""


def completed_defaults(kind: Any, knobs: Mapping[str, Any]) -> tuple[Any, Sequence[str]]:
    """The default configuration of a class with what it lacks, and a note that says what that is.

    `knobs` are settings that the user chose, which come later and are not set here.
    """
    model_type = str(getattr(kind, "model_type", ""))
    lacking = LACKING.get(model_type, {})
    chosen = {name: value for name, value in lacking.items() if name.partition(".")[0] not in knobs}
    settings: dict[str, Any] = {}
    for name, value in chosen.items():
        *parts, last = name.split(".")
        place = settings
        for part in parts:
            place = place.setdefault(part, {})
        place[last] = list(value) if isinstance(value, tuple) else value
    config = kind(**settings)
    chosen |= _fitted(config, model_type)
    said = ", ".join(f"{name}={_shown(value)}" for name, value in chosen.items())
    return config, [f"its default configuration does not run by itself: it is taken with {said}"] if chosen else []


def _fitted(config: Any, model_type: str) -> dict[str, Any]:
    """Make the features of an image as wide as the text, where the defaults differ, and return what was set."""
    tower, text = getattr(config, "vision_config", None), getattr(config, "text_config", None)
    name = "hidden_size" if model_type == "qwen2_vl" else "out_hidden_size"
    width = getattr(text, "hidden_size", None)
    if tower is None or width is None or getattr(tower, name, width) == width:
        return {}
    setattr(tower, name, width)
    return {f"vision_config.{name}": width}


def _shown(value: Any) -> str:
    """A setting in a note: a long list or mapping in short.

    >>> _shown(("conv", "conv", "mlp")), _shown((1, 2)), _shown({"a": 1}), _shown(dict.fromkeys("abcdefghijkl", 1))
    ('3 layers of conv, mlp', '[1, 2]', '{a: 1}', '12 entries')
    """
    if isinstance(value, tuple):
        names = all(isinstance(entry, str) for entry in value)
        entries = str(list(value))
        short = entries if len(entries) <= WIDEST else f"{len(value)} entries"
        return f"{len(value)} layers of {', '.join(dict.fromkeys(value))}" if names else short
    if isinstance(value, dict):
        entries = ", ".join(f"{name}: {entry}" for name, entry in value.items())
        return f"{{{entries}}}" if len(value) <= SHOWN else f"{len(value):,} entries"
    return str(value)


SHOWN, WIDEST = 8, 60
"""Entries up to which a mapping is written out, and letters up to which a list is."""
