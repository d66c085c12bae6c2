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
    },
    "aya_vision": {"vision_config.num_attention_heads": 16},
    "gemma3": {"vision_config.image_size": 896},
    "llama4": {"vision_config.hidden_size": 1408, "vision_config.vision_output_dim": 4096},
    "hunyuan_vl_text": {**HEADS, "rope_parameters": XDROPE},
    "hunyuan_vl": {"text_config.head_dim": 128, "text_config.rope_parameters": XDROPE},
    "aria": {"vision_config.image_size": 490, "vision_config.patch_size": 14},
    "timm_backbone": {"backbone": "resnet50"},
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
    return f"{len(value)} layers of {', '.join(dict.fromkeys(value))}" if isinstance(value, tuple) else str(value)
