"""Settings that default configurations of transformers lack: by themselves they make no model, or one that cannot run.

They serve references without a configuration (`hf:autoformer`), and an answer says which were set. A configuration
that a user gives is taken as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

LACKING: dict[str, dict[str, Any]] = {
    "autoformer": {"prediction_length": 24},
    "informer": {"prediction_length": 24},
    "time_series_transformer": {"prediction_length": 24},
    "esm": {"vocab_size": 33},
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "hunyuan_vl_text": {"head_dim": 128},
    "ministral": {"head_dim": 128},
    "deepseek_v2": {"num_experts_per_tok": 6, "n_routed_experts": 64, "topk_method": "greedy"},
    "dots1": {"n_routed_experts": 128, "n_shared_experts": 2, "num_experts_per_tok": 6},
    "xmod": {"default_language": "en_XX"},
    "blip-2": {"image_token_index": 50265},
    "glm4v_text": {"partial_rotary_factor": 0.5},
}
"""By model type; a dotted name is a setting of a part."""


def completed_defaults(kind: Any, knobs: Mapping[str, Any]) -> tuple[Any, Sequence[str]]:
    """The default configuration of a class with what it lacks, and a note that says what that is.

    `knobs` are settings that the user chose, which come later and are not set here.
    """
    lacking = LACKING.get(getattr(kind, "model_type", ""), {})
    chosen = {name: value for name, value in lacking.items() if name.partition(".")[0] not in knobs}
    config = kind(**{name: value for name, value in {**chosen, **knobs}.items() if _at_once(name, lacking)})
    for name, value in chosen.items():
        *path, last = name.split(".")
        part = config
        for step in path:
            part = getattr(part, step)
        setattr(part, last, value)
    said = ", ".join(f"{name}={value}" for name, value in chosen.items())
    return config, [f"its default configuration does not run by itself: it is taken with {said}"] if chosen else []


def _at_once(name: str, lacking: Mapping[str, Any]) -> bool:
    """Whether a setting must be there when the configuration is made, from which others follow."""
    return "." not in name and name in lacking
