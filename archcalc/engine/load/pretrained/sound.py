"""Sound: samples of a wave, or frames of a spectrogram."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from archcalc.engine.load.pretrained.facts import CONFIG, PROCESSOR, SOUND, TOKENS, Facts, Made, setting_of
from archcalc.engine.load.pretrained.text import constant
from archcalc.networks.spec import Input

SAMPLES = 16_000
"""Samples of a second of sound, where nothing states the rate."""
ONE_SECOND = "1 s by default"
FRAMES, THIRTY_SECONDS = 3000, "3000 frames by default"


def beside_text(facts: Facts) -> bool:
    """Whether a model takes a text beside its sound, or makes one: the length asked for is that of the text."""
    makes = getattr(facts.config, "is_encoder_decoder", False) and "decoder_input_ids" in facts.parameters
    return "input_ids" in facts.parameters or makes


def _length(facts: Facts, default: int) -> tuple[int, bool]:
    """The length of a sound, and whether an option decides the batch or that length."""
    if beside_text(facts):
        return default, facts.was_asked("batch")
    return facts.size("seq_len", default), facts.was_asked("batch", "seq_len")


def wave(facts: Facts, name: str) -> Made:
    """One second of sound; a spectrogram where the configuration counts mel bins."""
    if facts.config.__dict__.get("num_mel_bins") and isinstance(getattr(facts.config, "max_length", None), int):
        shape = (facts.batch, facts.config.max_length, facts.config.num_mel_bins)
        return Made(Input(name, ("batch", "frames", "mel"), shape))
    rate = facts.number("sampling_rate", "sample_rate", among=SOUND, default=0)
    samples, asked = _length(facts, rate or facts.processor.get("sampling_rate", SAMPLES))
    origin = "option" if asked else ONE_SECOND
    if facts.number("audio_channels", among=SOUND) or facts.kind in BY_CHANNEL:
        count = facts.number("audio_channels", among=SOUND, default=1)
        return Made(Input(name, ("batch", "channels", "seq_len"), (facts.batch, count, samples)), origin)
    return Made(Input(name, ("batch", "seq_len"), (facts.batch, samples)), origin)


BY_CHANNEL = frozenset(
    (
        "dac xcodec xcodec2 mimi encodec vibevoice_acoustic_tokenizer "
        "pe_audio_encoder pe_audio pe_audio_video pe_audio_video_encoder neucodec vibevoice_asr"
    ).split()
)
"""Models whose waves have an axis for channels."""


def spectrogram(facts: Facts, name: str) -> Made:
    """Mel bins and frames: N, mel, frames of 30 s for Whisper and its kind; N, frames, features for others."""
    audio = next((c for c in facts.configs(SOUND) if setting_of(c, "num_mel_bins")), facts.config)
    positions, mel = setting_of(audio, "max_source_positions"), setting_of(audio, "num_mel_bins")
    if mel and isinstance(positions, int) and not hasattr(audio, "input_feat_per_channel"):
        shape = (facts.batch, mel, 2 * positions)
        return Made(Input(name, ("batch", "mel", "frames"), shape), "option" if facts.was_asked("batch") else CONFIG)
    if mel and facts.kind not in TIME_FIRST and facts.of_module(lambda path, module: _convolves(path, module, mel)):
        return Made(Input(name, ("batch", "mel", "frames"), (facts.batch, mel, FRAMES)), THIRTY_SECONDS)
    features = ("input_feat_per_channel", "feature_projection_input_dim", "input_size", "num_mel_bins", "input_dim")
    width = facts.number(*features, among=SOUND) or facts.processor.get("feature_size", 80)
    frames, asked = _length(facts, 4 * TOKENS)
    origin = "option" if asked else f"{4 * TOKENS} frames by default"
    return Made(Input(name, ("batch", "seq_len", "mel"), (facts.batch, frames, width)), origin)


TIME_FIRST = frozenset(("univnet",))
"""Models that take frames before mel bins, and turn them."""


def _convolves(path: str, module: Any, mel: int) -> bool:
    """Whether a module is a convolution along time that begins with mel bins."""
    return isinstance(module, nn.Conv1d) and module.in_channels == mel and module.groups == 1


def all_frames(facts: Facts, name: str) -> Made:
    """A mask of frames that hides nothing."""
    of = facts.made.get("input_features") or facts.made["input_values"]
    axis = next((i for i, name in enumerate(of.input.axes) if name in ("frames", "seq_len")), -1)
    shape = (of.input.shape[0], of.input.shape[axis])
    return Made(Input(name, ("batch", "frames"), shape, "int64"), of.origin, constant(shape, 1))


MAKERS: dict[str, Callable[[Facts, str], Made]] = {
    "input_features": spectrogram,
    "input_values": wave,
    "input_features_mask": all_frames,
    "feature_attention_mask": all_frames,
}
__all__ = ["MAKERS", "PROCESSOR"]
