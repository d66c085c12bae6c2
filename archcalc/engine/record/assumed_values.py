"""Values that the inputs of transformers' models are taken to have, and the places of images and sounds in a text.

Their code asks for values of masks and tokens where only shapes matter. So masks hide nothing, tokens mean nothing
special, and as many of them stand for an image as the model makes features of it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.engine.devices import device_named
from archcalc.engine.devices.kernel_selection import KernelSelection
from archcalc.engine.load.inputs import Inputs
from archcalc.engine.load.nested import with_tensors
from archcalc.engine.load.pretrained.facts import Facts, is_pretrained, quiet
from archcalc.engine.load.pretrained.values import assumed, in_words
from archcalc.engine.meta.call_arguments import tensors_in
from archcalc.engine.meta.known_values import keep, kept
from archcalc.engine.meta.one_device import META, OneDevice
from archcalc.engine.record.alike_calls import alike_calls
from archcalc.engine.record.data import known_values
from archcalc.engine.record.lazy_modules import FirstRun
from archcalc.engine.setup import Setup
from archcalc.errors import BadInput
from archcalc.text.units import plural
from archcalc.tracing import Input

IMAGE_TOKENS = ("image_token_id", "image_token_index", "media_placeholder_token_id", "image_patch_id")
MEDIA = {
    "image": ("get_image_features", ("pixel_values",), IMAGE_TOKENS),
    "video": ("get_video_features", ("pixel_values_videos",), ("video_token_id", "video_token_index")),
    "sound": ("get_audio_features", ("input_features", "input_values"), ("audio_token_id", "audio_token_index")),
}  # fmt: skip
"""Of each medium: what makes its features, the inputs that may hold it, the names of the token that stands for one."""
ONE_TOKEN = frozenset(("qwen2_audio",))
"""Models that put the features of a sound in the place of one token."""
START = {"image": "vision", "video": "vision", "sound": "audio"}
"""Words in the names of the tokens that begin and end a medium."""
COUNTED = re.compile(r"tokens do not match, tokens: 0, features: (\d+)$")
"""What the library says of a text without tokens for a medium, where it counts them as it makes the features."""
TYPES_OF_TOKENS = ("token_type_ids", "mm_token_type_ids", "moe_mm_token_type_ids")
OTHERWISE = {"image": ": --images 0 leaves images out"}
TYPES = {"image": 1, "video": 2, "sound": 3}
"""Numbers of the media in mm_token_type_ids."""


def completed(module: nn.Module, inputs: Inputs, setup: Setup) -> Inputs:
    """The inputs of a model of transformers with the values that they are taken to have; other inputs as they are."""
    model: Any = module
    if not is_pretrained(model):
        return inputs
    facts = Facts(model, setup)
    given = "input_ids" not in inputs.assumed
    named = dict(zip(facts.parameters, inputs.args, strict=False)) | dict(inputs.kwargs)
    known = {name: value for name, value in named.items() if isinstance(value, Tensor)}
    values = {name: _values(facts, name, tensor) for name, tensor in known.items()}
    taken = {name: value for name, value in values.items() if value is not None and kept(known[name]) is None}
    notes = [in_words(name, value) for name, value in taken.items()]
    renewed = {name: _with(known[name], value) for name, value in values.items() if value is not None}
    inputs = _replaced(inputs, known, renewed)
    if "input_ids" not in known:
        return replace(inputs, notes=tuple(notes))
    inputs, placed = _placed(facts, inputs, known | renewed, setup, given)
    return replace(inputs, notes=(*notes, *placed))


def _values(facts: Facts, name: str, tensor: Tensor) -> Tensor | None:
    """The values that an argument without any is taken to have; those of a mask of floats that was given."""
    values = kept(tensor)
    if values is None and tensor.is_meta:
        return assumed(facts, name, tensor)
    return values if "mask" in name and tensor.is_floating_point() else None


def _with(tensor: Tensor, values: Tensor) -> Tensor:
    """A second tensor without data, of which the values are known."""
    second = torch.empty(values.shape, dtype=tensor.dtype, device="meta")
    keep(second, values)
    return second


def _replaced(inputs: Inputs, known: Mapping[str, Tensor], renewed: Mapping[str, Tensor]) -> Inputs:
    """The inputs with other tensors in the place of some, and their shapes described."""
    changes = {id(known[name]): tensor for name, tensor in renewed.items()}
    args, kwargs = with_tensors((inputs.args, dict(inputs.kwargs)), lambda tensor: changes.get(id(tensor), tensor))
    described = tuple(_described(one, renewed.get(one.name)) for one in inputs.described)
    return Inputs(args, kwargs, described, inputs.notes, inputs.assumed | frozenset(renewed))


def _described(given: Input, tensor: Tensor | None) -> Input:
    return given if tensor is None else replace(given, shape=tuple(tensor.shape))


# ---- places in the text ----


def _placed(
    facts: Facts, inputs: Inputs, known: Mapping[str, Tensor], setup: Setup, given: bool
) -> tuple[Inputs, list[str]]:
    """The inputs with tokens for their images and sounds in the text, and notes of how many.

    A text that was `given` keeps its length.
    """
    tokens = known["input_ids"]
    values = kept(tokens)
    if values is None or bool((values != facts.ordinary).any()):
        return inputs, []
    notes, row, kinds = [], [facts.ordinary], [0]
    text = tokens.shape[1] - 1
    for medium, number, rows in _media(facts, inputs, known, setup):
        each = rows // tokens.shape[0]
        blocks = max(facts.images if medium == "image" else 1, 1)
        text -= each if given else 0
        if not rows or each % blocks or text < blocks:
            _demand_room(rows, medium, each, tokens, text, given)
            continue
        notes.append(_note(medium, each, blocks))
        start, end = (_mark(facts, f"{START.get(medium, medium)}_{side}_token_id", number) for side in ("start", "end"))
        row = [*row[:-1], start, *([number] * (each // blocks) + [end]) * blocks]
        kinds += ([TYPES.get(medium, 0)] * (each // blocks) + [0]) * blocks
        text -= blocks
    if not notes:
        return inputs, []
    row, kinds = row + [facts.ordinary] * text, kinds + [0] * text
    return _replaced(inputs, known, _renewed(known, row, kinds)), notes


def _note(medium: str, each: int, blocks: int) -> str:
    """How many tokens stand for a medium, and how to leave it out."""
    verb, several = "stands" if each == 1 else "stand", "s" if blocks > 1 else ""
    return f"{plural(each, 'token')} of input_ids {verb} for its {medium}{several}{OTHERWISE.get(medium, '')}"


def _renewed(known: Mapping[str, Tensor], row: list[int], kinds: list[int]) -> dict[str, Tensor]:
    """The text, and what goes with each of its tokens, of a new length."""
    tokens = known["input_ids"]

    def filled(name: str, values: list[int]) -> Tensor:
        return _with(known[name], torch.tensor([values], dtype=known[name].dtype).expand(tokens.shape[0], -1))

    renewed = {"input_ids": filled("input_ids", row)}
    renewed |= {name: filled(name, kinds) for name in TYPES_OF_TOKENS if name in known}
    if "attention_mask" in known and known["attention_mask"].shape == tokens.shape:
        renewed["attention_mask"] = filled("attention_mask", [1] * len(row))
    return renewed


def _mark(facts: Facts, name: str, medium: int) -> int:
    """The number of a token beside those of a medium, where the configuration states it; else an ordinary one.

    One that would itself stand for the `medium` is none: the text would hold too many.
    """
    number = facts.first(name)
    rows = facts.model.get_input_embeddings().weight.shape[0]
    return number if isinstance(number, int) and number < rows and number != medium else facts.ordinary


def _demand_room(rows: int, medium: str, each: int, tokens: Tensor, text: int, given: bool) -> None:
    """BadInput if a text that was given is too short for the tokens of a medium."""
    if rows and given:
        longer = f"-i input_ids=int64:{tokens.shape[0]}x{tokens.shape[1] + max(1 - text, 1)}"
        sentence = f"its {medium} takes {plural(each, 'token')} of input_ids, which is too short."
        raise BadInput(sentence, f"write  {longer}  or more")


def _media(facts: Facts, inputs: Inputs, known: Mapping[str, Tensor], setup: Setup) -> Iterator[tuple[str, int, int]]:
    """Each medium among the inputs, the token that stands for it, and the rows of features that it gives."""
    for place, (medium, (method, sources, names)) in enumerate(MEDIA.items()):
        source = _source(facts, medium, sources, known)
        number = _token(facts, names, place) if source else None
        makers = [maker for member in facts.model.modules() if (maker := getattr(member, method, None)) is not None]
        features = min(makers, key=_hands_on, default=None)
        if number is not None and features is not None:
            yield medium, number, _rows(facts, features, inputs, known, setup)
        elif number is not None and facts.kind in ONE_TOKEN:
            yield medium, number, known[source].shape[0]


def _hands_on(maker: Any) -> bool:
    """Whether a function hands whatever it is given to that of a part, so that its signature tells nothing."""
    return any(taken.kind is taken.VAR_POSITIONAL for taken in inspect.signature(maker).parameters.values())


def _source(facts: Facts, medium: str, sources: tuple[str, ...], known: Mapping[str, Tensor]) -> str:
    """The input that holds a medium; '' if none of those given does."""
    if facts.kind == "instructblipvideo" and medium == "video":
        return "pixel_values"
    return next((source for source in sources if source in known), "")


def _token(facts: Facts, names: tuple[str, ...], place: int) -> int | None:
    """The number of the token that stands for a medium; None for a model that marks it otherwise.

    Where the configuration states none, or one that the embedding has no row for, it is one of the last rows, by the
    `place` of the medium: the configuration is that of the run's own copy of the model.
    """
    stated = [(config, name) for _, config in facts.nested for name in names if name in vars(config)]
    if not stated:
        return None
    config, name = next(((c, n) for c, n in stated if isinstance(getattr(c, n), int)), stated[0])
    rows = facts.model.get_input_embeddings().weight.shape[0]
    number = getattr(config, name)
    if not isinstance(number, int) or number >= rows:
        setattr(config, name, rows - 1 - place)
    return int(getattr(config, name))


def _rows(facts: Facts, features: Any, inputs: Inputs, known: Mapping[str, Tensor], setup: Setup) -> int:
    """How many rows of features a medium gives: the model's own function is run, and its record thrown away.

    Layers that are alike run once.
    """
    taken = inspect.signature(features).parameters
    given: dict[str, Any] = {}
    for name, parameter in taken.items():
        needed = parameter.default is parameter.empty and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        if name in known and (needed or name != "input_ids"):
            given[name] = known[name]
        elif needed and hasattr(facts.config, name):
            given[name] = getattr(facts.config, name)
    values = known_values(facts.model, inputs, setup)
    recorder = FirstRun(nn.Module(), KernelSelection(device_named(""), "auto", ""), values)
    try:
        device = OneDevice(META, values.told, recorder.twin)
        with quiet(facts.model), device, torch.no_grad(), recorder, alike_calls(facts.model, values):
            made = features(**given)
    except Exception as error:  # the run itself meets the same error, and tells where
        counted = COUNTED.search(str(error))
        return int(counted[1]) if counted else 0
    finally:
        recorder.close()
    made = _features(made)
    if isinstance(made, list | tuple) and made and isinstance(made[0], tuple) and isinstance(made[0][0], int):
        made = made[0][1]  # features for several layers of the text, each with the number of its layer
    fixed = facts.number("audio_soft_tokens_per_image") if "input_features" in given else 0
    if fixed:
        return fixed * known["input_ids"].shape[0]
    width = int(facts.model.get_input_embeddings().weight.shape[-1])
    tensors = list(tensors_in(made))
    if all(tensor.shape[-1:] == (width,) for tensor in tensors):
        return sum(tensor.numel() for tensor in tensors) // width
    return sum(tensor.numel() // max(tensor.shape[-1], 1) for tensor in tensors if tensor.dim() > 1)


def _features(made: Any) -> Any:
    """The features in what a function of a model returned: those pooled, those of the last layer, or those for layers.

    The latter stand in a list of pairs, the number of a layer of the text and its features.
    """
    for name in ("pooler_output", "last_hidden_state", "deepstack_features"):
        if (features := getattr(made, name, None)) is not None:
            return features
    return made
