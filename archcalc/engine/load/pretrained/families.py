"""Arguments of single families of models, by model type."""

from __future__ import annotations

from collections.abc import Callable

import torch

from archcalc.engine.load.pretrained.facts import CONFIG, Facts, Made, each
from archcalc.engine.load.pretrained.layouts import BESIDE, all_images
from archcalc.engine.load.pretrained.own_texts import (
    OWN_TEXTS,
    around_features,
    marks_of_image,
    patches_with_places,
)
from archcalc.engine.load.pretrained.series import MAKERS
from archcalc.engine.load.pretrained.sound import spectrogram, wave
from archcalc.engine.load.pretrained.text import (
    constant,
    length_of_text,
    ones_beside_text,
    origin_of_text,
    tokens,
    zeros_beside_text,
)
from archcalc.engine.load.pretrained.vision import videos
from archcalc.engine.load.pretrained.vision_facts import MAP, channels, origin, sides
from archcalc.networks.spec import Input

Maker = Callable[[Facts, str], Made]


def floats(*sizes: str | int) -> Maker:
    """N and further sizes, each a number or the name of a setting; of "seq_len" as long as the text."""

    def make(facts: Facts, name: str) -> Made:
        shape = [facts.batch]
        for size in sizes:
            text = length_of_text(facts) if size == "seq_len" else 0
            shape.append(size if isinstance(size, int) else text or facts.number(size, default=1))
        axes = ("batch", *(size if size == "seq_len" else f"axis{i}" for i, size in enumerate(sizes, 1)))
        return Made(Input(name, tuple(map(str, axes)), tuple(shape)), CONFIG)

    return make


def integers(value: int, *sizes: str | int) -> Maker:
    """The same for integers, all of one value."""
    made = floats(*sizes)

    def make(facts: Facts, name: str) -> Made:
        of = made(facts, name).input
        return Made(Input(name, of.axes, of.shape, "int64"), CONFIG, constant(of.shape, value))

    return make


def all_sound(frames: int) -> Maker:
    """A mask of frames that hides none, as truth values."""

    def make(facts: Facts, name: str) -> Made:
        shape = (facts.batch, frames)
        return Made(Input(name, ("batch", "frames"), shape, "bool"), CONFIG, constant(shape, 1, torch.bool))

    return make


def codes(facts: Facts, name: str) -> Made:
    """Numbers of sounds, several for each step."""
    many = facts.number("num_codebooks", "num_channels", "num_audio_channels", default=1)
    more = 1 if facts.kind == "kyutai_speech_to_text" else 0
    shape = (facts.batch, length_of_text(facts), many + more)
    axes = ("batch", "seq_len", "codebooks")
    return Made(Input(name, axes, shape, "int64"), origin_of_text(facts), constant(shape, 1))


def per_codebook(facts: Facts, name: str) -> Made:
    """Numbers of sounds of a decoder, the codebooks of an example among its rows."""
    shape = (facts.batch * facts.number("num_codebooks", among=("decoder",), default=4), length_of_text(facts))
    return Made(Input(name, ("batch", "seq_len"), shape, "int64"), origin_of_text(facts), constant(shape, 1))


def regions(width: str, count: int = 36) -> Maker:
    """Features or boxes of regions of an image."""
    return floats(count, width)


def behind_prenet(facts: Facts, name: str) -> Made:
    """The inputs of SpeechT5: a wave or frames of a spectrogram; of the bare model, features of its prenets' width."""
    if not hasattr(facts.model, "speecht5"):
        return floats("seq_len", "hidden_size")(facts, name)
    return wave(facts, name) if name == "input_values" else floats("seq_len", "num_mel_bins")(facts, name)


def prompt_image(facts: Facts, name: str) -> Made:
    """A second image beside the first."""
    shape = (facts.batch, channels(facts), *sides(facts))
    return Made(Input(name, MAP, shape), origin(facts))


def high_resolution(facts: Facts, name: str) -> Made:
    """The image once more, larger."""
    side = facts.number("image_size", among=("high_res",), default=1024)
    return Made(Input(name, MAP, (facts.batch, channels(facts), side, side)), CONFIG)


def context(facts: Facts, name: str) -> Made:
    """States of several layers of another model, side by side, as wide as the first layer takes."""
    wide = facts.of_module(lambda path, module: getattr(module, "in_features", 0) if path.endswith("encoder.fc") else 0)
    shape = (facts.batch, length_of_text(facts), wide)
    return Made(Input(name, ("batch", "seq_len", "features"), shape), origin_of_text(facts))


def of_classes(*sizes: int) -> Maker:
    """Token numbers or masks of the names of two classes, or how many there are."""

    def make(facts: Facts, name: str) -> Made:
        shape = (2 * facts.batch, *sizes)
        values = constant(shape if sizes else (facts.batch,), 1 if sizes else 2)
        axes = ("classes", "seq_len") if sizes else ("batch",)
        return Made(Input(name, axes, tuple(values.shape), "int64"), "two classes by default", values)

    return make


def actions(facts: Facts, name: str) -> Made:
    """The states of a chunk of actions and of the robot, as wide as the part that makes the actions."""
    shape = (facts.batch, facts.number("chunk_size", default=50) + 1, facts.number("hidden_size", among=("dit",)))
    return Made(Input(name, ("batch", "actions", "features"), shape), CONFIG)


def points(facts: Facts, name: str) -> Made:
    """One point on the image."""
    shape = (facts.batch, 1, 1, 2)
    return Made(Input(name, ("batch", "points", "one", "xy"), shape), "one point by default")


def one_for_each_token_of_sound(facts: Facts, name: str) -> Made:
    """A text as long as the sound, whose features are added to it."""
    heard = spectrogram(facts, "input_features").input.shape[-1]
    shape = (facts.batch, heard // facts.number("audio_length_per_tok", default=8))
    return Made(Input(name, ("batch", "tokens"), shape, "int64"), CONFIG, constant(shape, facts.ordinary))


def all_queries(facts: Facts, name: str) -> Made:
    """A mask of the features of a sound that hides none: some for each window of its frames."""
    window, rate = (facts.number(setting, default=1) for setting in ("window_size", "downsample_rate"))
    windows = -(-spectrogram(facts, "input_features").input.shape[1] // window)
    return all_sound(windows * (window // rate))(facts, name)


FAMILIES: dict[str, dict[str, Maker]] = {
    **BESIDE,
    **OWN_TEXTS,
    "blip_2_qformer": {
        "query_embeds": floats(32, "hidden_size"),
        "encoder_hidden_states": floats(257, "encoder_hidden_size"),
    },
    "decision_transformer": {
        "actions": MAKERS["actions"],
        "rewards": MAKERS["rewards"],
        "returns_to_go": MAKERS["rewards"],
        "timesteps": MAKERS["timesteps"],
    },
    "clap": {"input_features": floats(1, 1001, 64), "is_longer": integers(0, 1)},
    "dia": {"decoder_input_ids": codes},
    "kyutai_speech_to_text": {"input_ids": codes},
    "instructblip": {"qformer_input_ids": tokens, "input_ids": tokens},
    "instructblipvideo": {"qformer_input_ids": tokens, "input_ids": tokens},
    "kosmos-2": {"input_ids": around_features, "image_embeds_position_mask": marks_of_image},
    "lxmert": {"visual_feats": floats(36, "visual_feat_dim"), "visual_pos": floats(36, "visual_pos_dim")},
    "visual_bert": {"visual_embeds": floats(36, "visual_embedding_dim")},
    "idefics": {"image_attention_mask": integers(1, "seq_len", 1)},
    "deepseek_vl_hybrid": {"high_res_pixel_values": high_resolution},
    **each("granite_speech5_ctc granite_speech5_encoder", {"input_features": floats(512, 320)}),
    "nemotron3_5_transcribe_word_timestamp": {"inputs_embeds": floats(512, "hidden_size")},
    "muse_spark_audio": {"input_values": floats(24960)},
    "qwen3_asr_encoder": {"input_features": floats(128, 3000), "input_features_mask": integers(1, 3000)},
    "voxtral_realtime": {"input_ids": one_for_each_token_of_sound},
    **each("granite_speech granite_speech_plus", {"input_features_mask": all_queries}),
    "qwen2_audio": {"attention_mask": ones_beside_text},
    "moss_transcribe_diarize": {"padding_mask": ones_beside_text},
    "muse_glimmer_assistant": {
        "noise_embeds": floats("seq_len", "hidden_size"),
        "context_hidden_states": context,
    },
    "vibevoice_acoustic_tokenizer_encoder": {"hidden_states": floats(1, 24000)},
    "vibevoice_acoustic_tokenizer_decoder": {"hidden_states": floats("hidden_size", 8)},
    "speecht5": {"input_values": behind_prenet, "decoder_input_values": behind_prenet},
    "pix2struct": {"flattened_patches": patches_with_places},
    "clvp": {"input_features": floats(80, 200)},
    **each("xcodec2 neucodec", {"input_features": floats(50, 160)}),
    "tvp": {"input_ids": tokens, "attention_mask": ones_beside_text},
    "omdet-turbo": {
        "classes_input_ids": of_classes(16),
        "classes_attention_mask": of_classes(16),
        "tasks_input_ids": integers(5, 16),
        "tasks_attention_mask": integers(1, 16),
        "classes_structure": of_classes(),
    },
    "gemma3n": {"input_features_mask": all_sound(512)},
    "muse_spark": {"input_values": floats(24960)},
    "qwen3_asr": {"input_features": floats(128, 3000), "input_features_mask": integers(1, 3000)},
    "pe_audio_video": {"input_values": wave},
    "pe_audio_video_encoder": {"pixel_values_videos": videos},
    "pi0": {"action_embeds": actions, "pixel_attention_mask": all_images},
    "evolla": {"protein_input_ids": tokens, "protein_attention_mask": ones_beside_text},
    "seggpt": {"prompt_pixel_values": prompt_image, "prompt_masks": prompt_image},
    "oneformer": {"task_inputs": integers(1, "task_seq_len")},
    "grounding-dino": {"input_ids": tokens},
    "mm-grounding-dino": {"input_ids": tokens},
    "xmod": {"lang_ids": integers(0)},
    "gemma3n_audio": {"audio_mel": floats(512, "input_feat_size"), "audio_mel_mask": all_sound(512)},
    "dots3_note": {"input_features": floats(128, 512), "chunk_sample_lengths": integers(512)},
    "fun_asr_nano_encoder": {"input_features": floats(512, "input_size"), "input_features_mask": all_sound(512)},
    **each("mimi_decoder pocket_tts_audio_tokenizer_decoder", {"latents": floats("hidden_size", 25)}),
    "bros": {"bbox": floats("seq_len", 4)},
    "perceiver": {"inputs": floats(2048, "d_model")},
    "sam3": {"input_ids": tokens},
    "sam3_lite_text": {"input_ids": tokens},
    **each("musicgen musicgen_melody", {"decoder_input_ids": per_codebook}),
    **each("sam sam2 sam_hq sam3_tracker edgetam", {"input_points": points}),
    "udop": {"pixel_values": prompt_image},
    "layoutlmv3": {"pixel_values": prompt_image},
    "roc_bert": {"input_shape_ids": zeros_beside_text, "input_pronunciation_ids": zeros_beside_text},
}
"""Arguments that a model type is given beside the usual ones, or in another form."""
