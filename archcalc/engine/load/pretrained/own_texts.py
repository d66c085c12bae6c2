"""Texts of models that take the tokens of their images and sounds in a form of their own, and what goes with them."""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt

import torch

from archcalc.engine.load.pretrained.facts import CONFIG, Facts, Made
from archcalc.engine.load.pretrained.text import AXES, constant, length_of_text, origin_of_text, tokens
from archcalc.engine.load.pretrained.vision_facts import MAP, cells, channels, origin, sides
from archcalc.networks.spec import Input

Maker = Callable[[Facts, str], Made]


def with_blocks(facts: Facts, name: str, before: int, block: list[int]) -> Made:
    """A text in which each image of an example stands as a block of tokens, behind `before` ordinary ones."""
    rest = max(length_of_text(facts) - before, 1)
    row = [facts.ordinary] * before + block * facts.images + [facts.ordinary] * rest
    values = torch.tensor([row]).expand(facts.batch, -1)
    return Made(Input(name, AXES, tuple(values.shape), "int64"), origin_of_text(facts), values)


# ---- images as tokens of a codebook, and the grid of the image to be made (GLM-Image) ----


def with_coded_images(facts: Facts, name: str) -> Made:
    """A text with each image as one token for each of its patches, between the tokens that begin and end it."""
    start, end = (facts.first(f"image_{side}_token_id") for side in ("start", "end"))
    time, high, wide = cells(facts)
    return with_blocks(facts, name, 1, [start, *[facts.first("image_token_id")] * (time * high * wide), end])


def grids_and_target(facts: Facts, name: str) -> Made:
    """Cells of each image of an example along time, height and width; those of the image to be made come last."""
    values = torch.tensor([cells(facts)]).expand(facts.batch * (facts.images + 1), -1)
    return Made(Input(name, ("images", "thw"), tuple(values.shape), "int64"), origin(facts), values)


def images_and_target(facts: Facts, name: str) -> Made:
    """How many grids each example has."""
    shape = (facts.batch,)
    return Made(Input(name, ("batch",), shape, "int64"), origin(facts), constant(shape, facts.images + 1))


def places_of_tokens(facts: Facts, name: str) -> Made:
    """The place of each token along time, height and width: by its number, for all three."""
    length = with_coded_images(facts, name).input.shape[1]
    values = torch.arange(length).expand(3, facts.batch, -1)
    return Made(Input(name, ("thw", *AXES), tuple(values.shape), "int64"), origin_of_text(facts), values)


# ---- an image as a whole and as one crop (Phi-4-multimodal) ----

CROPS = 2


def _demand_images(facts: Facts) -> None:
    if not facts.images:
        raise ValueError("no images were asked for")


def with_cropped_image(facts: Facts, name: str) -> Made:
    """A text with one image: rows of pooled patches of the whole and of a crop, each row with its end, and a border."""
    if not facts.images:
        return tokens(facts, name)
    side = isqrt(cells(facts)[1] * cells(facts)[2]) // 2
    number = facts.first("image_token_id", among=("vision",))
    return with_blocks(facts, name, 1, [number] * (CROPS * side * (side + 1) + 1))


def crops(facts: Facts, name: str) -> Made:
    """The whole image and its crop: N, crops, C, H, W."""
    _demand_images(facts)
    shape = (facts.batch, CROPS * facts.images, channels(facts), *sides(facts))
    return Made(Input(name, ("batch", "crops", *MAP[1:]), shape), origin(facts))


def sizes_of_crops(facts: Facts, name: str) -> Made:
    """Height and width of the image: those of one crop."""
    _demand_images(facts)
    values = torch.tensor([sides(facts)]).expand(facts.batch, -1)
    return Made(Input(name, ("batch", "sides"), tuple(values.shape), "int64"), origin(facts), values)


def patches_of_crops(facts: Facts, name: str) -> Made:
    """A mask of the patches of each crop that hides none."""
    _demand_images(facts)
    shape = (facts.batch, CROPS * facts.images, *cells(facts)[1:])
    values = constant(shape, 1, torch.bool)
    return Made(Input(name, ("batch", "crops", "rows", "columns"), shape, "bool"), origin(facts), values)


# ---- patches that begin with their row and column (Kosmos-2.5) ----

MOST_PATCHES = 4096


def patches_with_places(facts: Facts, name: str) -> Made:
    """Patches of an image, each with its row and column in front: N, patches, 2 + pixels."""
    _demand_images(facts)
    count = facts.processor.get("max_patches", MOST_PATCHES)
    pixels = facts.of_module(lambda path, module: module.in_features if path.endswith("patch_projection") else 0)
    shape = (facts.batch, count, 2 + pixels)
    places = torch.zeros(shape)
    side = isqrt(count)
    places[:, :, 0] = torch.arange(count) // side + 1
    places[:, :, 1] = torch.arange(count) % side + 1
    return Made(Input(name, ("batch", "patches", "pixels"), shape), CONFIG, places)


def marks_of_image(facts: Facts, name: str) -> Made:
    """Which places of the text hold the features of the image: those behind the first."""
    length, many = length_of_text(facts), facts.number("latent_query_num", default=64)
    values = torch.zeros((facts.batch, length + many), dtype=torch.int64)
    values[:, 1 : 1 + many] = 1 if facts.images else 0
    return Made(Input(name, AXES, tuple(values.shape), "int64"), origin_of_text(facts), values)


def around_features(facts: Facts, name: str) -> Made:
    """A text with room for the features of the image."""
    return with_blocks(facts, name, 1, [facts.ordinary] * facts.number("latent_query_num", default=64))


def lengths_of_patches(facts: Facts, name: str) -> Made:
    """The bytes of each group of bytes: as many in each as the configuration's average."""
    length = length_of_text(facts)
    size = min(facts.number("patch_size", default=4), length)
    sizes = [size] * (length // size) + ([length % size] if length % size else [])
    values = torch.tensor([sizes]).expand(facts.batch, -1)
    return Made(Input(name, ("batch", "patches"), tuple(values.shape), "int64"), origin_of_text(facts), values)


OWN_TEXTS: dict[str, dict[str, Maker]] = {
    "glm_image": {
        "input_ids": with_coded_images,
        "image_grid_thw": grids_and_target,
        "images_per_sample": images_and_target,
        "position_ids": places_of_tokens,
    },
    "phi4_multimodal": {
        "input_ids": with_cropped_image,
        "image_pixel_values": crops,
        "image_sizes": sizes_of_crops,
        "image_attention_mask": patches_of_crops,
    },
    "kosmos-2.5": {
        "input_ids": around_features,
        "flattened_patches": patches_with_places,
        "image_embeds_position_mask": marks_of_image,
    },
    "blt": {"patch_lengths": lengths_of_patches},
}
"""Arguments by model type."""
