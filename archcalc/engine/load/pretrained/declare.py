"""Which inputs a model of transformers is given, and what they are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from archcalc.engine.load.declaration import UNKNOWN, Declaration
from archcalc.engine.load.pretrained import series, sound, text, vision
from archcalc.engine.load.pretrained.facts import CONFIG, Facts, Made
from archcalc.engine.load.pretrained.families import FAMILIES

if TYPE_CHECKING:
    from archcalc.engine.setup import Setup

MAKERS: dict[str, Callable[[Facts, str], Made]] = {
    **text.MAKERS, **vision.MAKERS, **sound.MAKERS, **series.MAKERS,
}  # fmt: skip
"""What makes an argument of forward, by its name."""
IMAGES = ("pixel_values", "image_grid_thw", "image_merge_sizes", "image_sizes")
SOUNDS = ("input_features", "input_values", "input_features_mask", "feature_attention_mask")
"""Arguments that go together."""
TYPES_OF_TOKENS = ("mm_token_type_ids", "moe_mm_token_type_ids")
UNREADABLE = (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError)
"""What is raised where a configuration states its sizes in a form that is not known here."""
TEXT_ALONE = frozenset(("csm", "vibevoice"))
"""Models whose sounds are for generation: they run on a text alone."""
FUTURE = ("future_values", "future_time_features")


def declared(model: Any, setup: Setup) -> Declaration:
    """The inputs of a model of transformers at the sizes of a setup; UNKNOWN for any other module."""
    config, main = getattr(model, "config", None), getattr(model, "main_input_name", None)
    if config is None or not hasattr(config, "to_dict") or not isinstance(main, str | list):
        return UNKNOWN
    facts = Facts(model, setup)
    own = FAMILIES.get(facts.kind, {})
    for name in _chosen(facts, [main] if isinstance(main, str) else main):
        maker = own.get(name) or MAKERS.get(name)
        if maker is not None and name not in facts.made:
            with contextlib.suppress(*UNREADABLE):  # forward tells that it is missing
                facts.made[name] = maker(facts, name)
    made = facts.made
    return Declaration(
        tuple(one.input for one in made.values()),
        CONFIG,
        by_name=True,
        origins={name: one.origin for name, one in made.items()},
        values={name: one.values for name, one in made.items() if one.values is not None},
        applied=frozenset(facts.applied),
    )


def _chosen(facts: Facts, main: list[str]) -> Iterator[str]:
    """The names of arguments, in the order in which they are made."""
    arguments = facts.parameters
    modalities = getattr(facts.model, "input_modalities", ())
    modalities = (modalities,) if isinstance(modalities, str) else tuple(modalities or ())
    own = [name for name in main if name in arguments]
    yield from own or (name for name in ("input_ids",) if name in arguments)
    yield from (name for name in facts.required if name not in main)
    sees = bool({"image", "video"} & set(modalities)) or hasattr(facts.model, "get_image_features")
    sees = sees and not _lacks(facts, "vision_config")
    if sees and "pixel_values" in arguments and (facts.kind in vision.PAIRS or facts.is_shown):
        yield from (name for name in IMAGES if name in arguments and not (name == "image_sizes" and _square(facts)))
    hears = "audio" in modalities or hasattr(facts.model, "get_audio_features")
    hears = hears and not _lacks(facts, "audio_config") and facts.kind not in TEXT_ALONE
    if hears and ("input_ids" in arguments or "input_features" in main):
        yield from (name for name in SOUNDS if name in arguments)
    if getattr(facts.config, "is_encoder_decoder", False) and "decoder_input_ids" in arguments:
        yield "decoder_input_ids"
    yield from (name for name in ("bbox", *FUTURE) if name in arguments)
    beside = FAMILIES.get(facts.kind, {})
    if "pixel_values" in facts.made or "pixel_values" not in arguments:
        yield from (name for name in beside if name in arguments)
    if "pixel_values" in facts.made:
        yield from (name for name in TYPES_OF_TOKENS if name in arguments)


def _lacks(facts: Facts, part: str) -> bool:
    """Whether a configuration leaves out a part that it may have."""
    return hasattr(facts.config, part) and getattr(facts.config, part) is None


def _square(facts: Facts) -> bool:
    """Whether a tower takes images of one size, so that their sizes need not be told; Pixtral's takes any."""
    return facts.kind in ("llava", "vipllava") and getattr(facts.config.vision_config, "model_type", "") != "pixtral"
