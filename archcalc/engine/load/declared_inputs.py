"""The inputs that a model itself declares: by its timm or transformers configuration, or an example it carries."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from archcalc.networks.spec import Input

TOKENS = 128
"""Default length of a text. A configuration states only the longest, which may be a million."""
SAMPLES = 16_000
"""One second of sound."""


@dataclass(frozen=True)
class Declaration:
    """The inputs that a model declares, where they come from in words, and whether forward takes them by name.

    `knobs` are those of the model that the shapes of the inputs depend on.
    """

    inputs: Sequence[Input] = ()
    origin: str = "default"
    by_name: bool = False
    knobs: Sequence[str] = ()

    @property
    def instead(self) -> str:
        """The options to type for sizes that are knobs; '' if there are none."""
        if not self.knobs:
            return ""
        example = " ".join(f"--set {knob}=64" for knob in self.knobs if knob.endswith("_len")) or "--set KNOB=VALUE"
        return f"its sizes are knobs ({', '.join(self.knobs)}): write  {example}"


UNKNOWN = Declaration()


def inputs_of(module: nn.Module) -> Declaration:
    """The inputs that the module declares; UNKNOWN if it declares none."""
    for of in (_transformers, _timm, _lightning):
        declared = of(module)
        if declared.inputs:
            return declared
    return UNKNOWN


def image(name: str, channels: int, height: int, width: int) -> Input:
    """One image, N x C x H x W."""
    return Input(name, ("batch", "channels", "height", "width"), (1, channels, height, width))


def _timm(module: Any) -> Declaration:
    """The input of a timm model, from the input_size of its default_cfg."""
    cfg = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
    size = getattr(cfg, "get", lambda _: None)("input_size")
    if not isinstance(size, tuple | list) or len(size) != 3:
        return UNKNOWN
    return Declaration((image("x", *size),), "timm default_cfg")


def _lightning(module: Any) -> Declaration:
    """The inputs of a Lightning module, from its example_input_array."""
    example = getattr(module, "example_input_array", None)
    tensors = (example,) if isinstance(example, Tensor) else example
    if not isinstance(tensors, tuple | list) or not all(isinstance(t, Tensor) for t in tensors):
        return UNKNOWN
    described = (
        Input("", ("batch", *(f"axis{i}" for i in range(1, t.dim()))), tuple(t.shape), str(t.dtype).split(".")[1])
        for t in tensors
    )
    return Declaration(tuple(described), "example_input_array")


def _transformers(model: Any) -> Declaration:
    """The inputs of a transformers model, from its main_input_name and the sizes of its configuration."""
    config, main = getattr(model, "config", None), getattr(model, "main_input_name", None)
    if config is None or not hasattr(config, "to_dict") or not isinstance(main, str):
        return UNKNOWN
    arguments = inspect.signature(model.forward).parameters
    maker = MAKERS.get(main)
    inputs = [maker(config, main)] if maker and main in arguments else []
    if hasattr(model, "logit_scale") and main == "input_ids" and "pixel_values" in arguments:
        inputs.append(_pixels(config, "pixel_values"))  # CLIP and its kind compare a text with an image
    if (
        getattr(config, "is_encoder_decoder", False)
        and "decoder_input_ids" in arguments
        and main != "decoder_input_ids"
    ):
        inputs.append(_tokens(config, "decoder_input_ids"))
    return Declaration(tuple(inputs), "its config", by_name=True)


def _tokens(config: Any, name: str) -> Input:
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    longest = getattr(text, "max_position_embeddings", None) or TOKENS
    length = min(TOKENS, longest) if isinstance(longest, int) and longest > 0 else TOKENS
    return Input(name, ("batch", "seq_len"), (1, length), "int64")


def _pixels(config: Any, name: str) -> Input:
    vision = next((c for c in _configs(config) if hasattr(c, "image_size")), config)
    size = getattr(vision, "image_size", 224) or 224
    if isinstance(size, dict):
        size = (size["height"], size["width"])
    height, width = (size, size) if isinstance(size, int) else (int(size[0]), int(size[-1]))
    channels = _first(vision, "num_channels", "in_channels", "num_input_channels", default=3)
    channels = channels if isinstance(channels, int) else 3
    frames = getattr(vision, "num_frames", None) or getattr(vision, "frames_per_clip", None)
    if isinstance(frames, int) and not hasattr(config, "text_config"):
        axes = ("batch", "frames", "channels", "height", "width")
        return Input(name, axes, (1, frames, channels, height, width))
    return image(name, channels, height, width)


def _waves(config: Any, name: str) -> Input:
    """Sound as samples, or as a spectrogram where the configuration counts mel bins."""
    if hasattr(config, "num_mel_bins") and hasattr(config, "max_length"):
        return Input(name, ("batch", "seq_len", "mel"), (1, config.max_length, config.num_mel_bins))
    return Input(name, ("batch", "seq_len"), (1, SAMPLES))


def _features(config: Any, name: str) -> Input:
    """A spectrogram: N, mel bins, time for Whisper and its kind; N, time, features for others."""
    audio = next((c for c in _configs(config) if hasattr(c, "num_mel_bins")), config)
    if hasattr(audio, "max_source_positions") and not hasattr(audio, "input_feat_per_channel"):
        return Input(name, ("batch", "mel", "seq_len"), (1, audio.num_mel_bins, 2 * audio.max_source_positions))
    features = ("input_feat_per_channel", "feature_projection_input_dim", "num_mel_bins", "input_dim")
    width = next((n for c in _configs(config) if isinstance(n := _first(c, *features), int)), 80)
    return Input(name, ("batch", "seq_len", "mel"), (1, 4 * TOKENS, width))


def _configs(config: Any) -> list[Any]:
    """A configuration and the configurations nested in it."""
    parts = ("vision_config", "image_config", "audio_config", "encoder_config", "encoder", "backbone_config")
    return [config, *(part for name in parts if (part := getattr(config, name, None)) is not None)]


def _first(config: Any, *names: str, default: Any = None) -> Any:
    return next((value for name in names if (value := getattr(config, name, None)) is not None), default)


MAKERS = {
    "input_ids": _tokens,
    "decoder_input_ids": _tokens,
    "pixel_values": _pixels,
    "input_values": _waves,
    "input_features": _features,
}
