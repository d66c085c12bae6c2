"""Images in the layouts of single families: pairs, several images of an example, tiles, flat patches with places."""

from __future__ import annotations

from collections.abc import Callable

import torch

from archcalc.engine.load.pretrained.facts import Facts, Made, each
from archcalc.engine.load.pretrained.text import constant
from archcalc.engine.load.pretrained.vision_facts import MAP, TOWERS, cells, channels, origin, patch_size, sides
from archcalc.networks.spec import Input

Maker = Callable[[Facts, str], Made]


def pair(facts: Facts, name: str) -> Made:
    """Two images that are matched: N, 2, C, H, W."""
    shape = (facts.batch, 2, channels(facts), *sides(facts))
    return Made(Input(name, ("batch", "images", *MAP[1:]), shape), origin(facts))


def several_images(facts: Facts, name: str) -> Made:
    """The images of each example: N, images, C, H, W."""
    unit = patch_size(facts) * facts.number("scale_factor", default=1) if facts.kind in NOT_EMPTY else 1
    height, width = (max(side // unit, 1) * unit for side in sides(facts))
    shape = (facts.batch, facts.images, channels(facts), height, width)
    values = constant(shape, 1, torch.float32) if facts.kind in NOT_EMPTY else None
    return Made(Input(name, ("batch", "images", *MAP[1:]), shape), origin(facts), values)


NOT_EMPTY = frozenset("idefics2 idefics3 smolvlm modernvbert ultravbert granite_docling".split())
"""Models that leave out images of which all pixels are 0."""


def tiles(facts: Facts, name: str) -> Made:
    """An image that is cut into tiles, and the whole image in front: images, tiles, C, H, W."""
    count = _tiles_of(facts)
    shape = (facts.batch * facts.images, count, channels(facts), *sides(facts))
    return Made(Input(name, ("batch", "tiles", *MAP[1:]), shape), origin(facts))


def _tiles_of(facts: Facts) -> int:
    """The tiles of an image as large as one tile: those of the first grid that fits, and the whole."""
    from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

    points = facts.first("image_grid_pinpoints")
    height, width = sides(facts)
    return int(
        image_size_to_num_patches([height, width], points, facts.number("image_size", among=TOWERS, default=height))
    )


def tiles_of_images(facts: Facts, name: str) -> Made:
    """Tiles of each image of each example: N, images, tiles, C, H, W."""
    count = facts.number("max_num_tiles", among=TOWERS, default=4)
    shape = (facts.batch, facts.images, count, channels(facts), *sides(facts))
    return Made(Input(name, ("batch", "images", "tiles", *MAP[1:]), shape), origin(facts))


def tile_numbers(facts: Facts, name: str) -> Made:
    """The number of the arrangement of tiles of each image."""
    shape = (facts.batch, facts.images)
    return Made(Input(name, ("batch", "images"), shape, "int64"), origin(facts), constant(shape, 1))


def all_tiles(facts: Facts, name: str) -> Made:
    """A mask of tiles that hides none."""
    shape = (facts.batch, facts.images, facts.number("max_num_tiles", among=TOWERS, default=4))
    return Made(Input(name, ("batch", "images", "tiles"), shape, "int64"), origin(facts), constant(shape, 1))


def flat_patches(facts: Facts, name: str) -> Made:
    """The patches of each image with all their pixels: images, patches, pixels."""
    _, high, wide = cells(facts)
    shape = (facts.batch * _of_text(facts), high * wide, channels(facts) * patch_size(facts) ** 2)
    return Made(Input(name, ("batch", "patches", "pixels"), shape), origin(facts))


def places(facts: Facts, name: str) -> Made:
    """Column and row of each patch."""
    _, high, wide = cells(facts)
    rows, columns = torch.meshgrid(torch.arange(high), torch.arange(wide), indexing="ij")
    values = torch.stack([columns, rows], -1).reshape(1, -1, 2).expand(facts.batch * _of_text(facts), -1, -1)
    return Made(Input(name, ("batch", "patches", "xy"), tuple(values.shape), "int64"), origin(facts), values)


def all_patches(facts: Facts, name: str) -> Made:
    """A mask of patches that hides none."""
    _, high, wide = cells(facts)
    shape = (facts.batch * _of_text(facts), high * wide)
    return Made(Input(name, ("batch", "patches"), shape, "int64"), origin(facts), constant(shape, 1))


def rows_and_columns(facts: Facts, name: str) -> Made:
    """How many rows and columns of patches each image has."""
    values = torch.tensor([cells(facts)[1:]]).expand(facts.batch * _of_text(facts), -1)
    return Made(Input(name, ("images", "sides"), tuple(values.shape), "int64"), origin(facts), values)


def patches_as_maps(facts: Facts, name: str) -> Made:
    """Patches of all images in one row, each a small map: patches, C, P, P."""
    time, high, wide = cells(facts)
    side = patch_size(facts)
    shape = (facts.batch * _of_text(facts) * time * high * wide, channels(facts), side, side)
    return Made(Input(name, ("patches", *MAP[1:]), shape), origin(facts))


def strips(facts: Facts, name: str) -> Made:
    """Patches of all images side by side in one strip: 1, C, P, patches * P."""
    time, high, wide = cells(facts)
    side = patch_size(facts)
    shape = (1, channels(facts), side, facts.batch * _of_text(facts) * time * high * wide * side)
    return Made(Input(name, ("one", *MAP[1:]), shape), origin(facts))


def all_images(facts: Facts, name: str) -> Made:
    """Which images of each example are there: all."""
    shape = (facts.batch, facts.images)
    return Made(Input(name, ("batch", "images"), shape, "bool"), origin(facts), constant(shape, 1, torch.bool))


def patches_alone(facts: Facts, name: str) -> Made:
    """The patches of all images in one row with all their pixels, as wide as the layer that embeds them takes."""
    _, high, wide = cells(facts)
    count = facts.batch * _of_text(facts) * high * wide
    return Made(Input(name, ("patches", "pixels"), (count, channels(facts) * patch_size(facts) ** 2)), origin(facts))


def colours_last(facts: Facts, name: str) -> Made:
    """Groups of patches that are merged, each a small map with its colours last."""
    _, high, wide = cells(facts)
    side = patch_size(facts) * facts.number("spatial_merge_size", "merge_size", among=TOWERS, default=1)
    count = facts.batch * _of_text(facts) * high * wide * patch_size(facts) ** 2 // side**2
    return Made(Input(name, ("patches", *MAP[2:], "channels"), (count, side, side, channels(facts))), origin(facts))


def clips_colours_last(facts: Facts, name: str) -> Made:
    """Patches of all images, each a short clip with its colours last: patches, frames, P, P, C."""
    _, high, wide = cells(facts)
    frames, side = facts.number("temporal_patch_size", among=TOWERS, default=1), patch_size(facts)
    shape = (facts.batch * _of_text(facts) * high * wide, frames, side, side, channels(facts))
    return Made(Input(name, ("patches", "frames", *MAP[2:], "channels"), shape), origin(facts))


def merged_grid(facts: Facts, name: str) -> Made:
    """Tokens of each image along time, height and width: groups of patches that are merged."""
    time, high, wide = cells(facts)
    merge = facts.number("spatial_merge_size", "merge_size", among=TOWERS, default=1)
    values = torch.tensor([[time, high // merge, wide // merge]]).expand(facts.batch * _of_text(facts), -1)
    return Made(Input(name, ("images", "thw"), tuple(values.shape), "int64"), origin(facts), values)


POOLED = 2
"""Patches along each side of an image that are pooled to one token."""


def _pooled_sides(facts: Facts) -> tuple[int, int]:
    _, high, wide = cells(facts)
    return -(-high // POOLED), -(-wide // POOLED)


def pooling(facts: Facts, name: str) -> Made:
    """The numbers of the patches that are pooled to each token, among those of all images; -1 beyond the border."""
    _, high, wide = cells(facts)
    rows, columns = _pooled_sides(facts)
    numbers = torch.full((rows * POOLED, columns * POOLED), -1)
    numbers[:high, :wide] = torch.arange(high * wide).reshape(high, wide)
    one = numbers.reshape(rows, POOLED, columns, POOLED).transpose(1, 2).reshape(rows * columns, POOLED**2)
    images = facts.batch * _of_text(facts)
    values = torch.cat([torch.where(one < 0, one, one + image * high * wide) for image in range(images)])
    return Made(Input(name, ("tokens", "patches"), tuple(values.shape), "int64"), origin(facts), values)


def grids_of_crops(facts: Facts, name: str) -> Made:
    """Rows and columns of the tokens of each image as a whole, and of its crops: none."""
    values = torch.tensor([[*_pooled_sides(facts), 0, 0]]).expand(facts.batch * _of_text(facts), -1)
    return Made(Input(name, ("images", "sides"), tuple(values.shape), "int64"), origin(facts), values)


def all_pixels(facts: Facts, name: str) -> Made:
    """A mask of pixels that hides none."""
    shape = (facts.batch, facts.images, *sides(facts))
    return Made(Input(name, ("batch", "images", *MAP[2:]), shape, "int64"), origin(facts), constant(shape, 1))


def _of_text(facts: Facts) -> int:
    return facts.images if "input_ids" in facts.parameters else 1


LAYOUTS: dict[str, Maker] = {
    **dict.fromkeys("efficientloftr lightglue superglue".split(), pair),
    **dict.fromkeys(
        "pi0 idefics idefics2 idefics3 smolvlm modernvbert ultravbert granite_docling perception_lm".split(),
        several_images,
    ),
    **dict.fromkeys("llava_next llava_next_video llava_onevision granite4_vision".split(), tiles),
    "mllama": tiles_of_images,
    **dict.fromkeys("siglip2 siglip2_vision_model lfm2_vl".split(), flat_patches),
    **dict.fromkeys("gemma4 gemma4_vision gemma4_unified embedding_gemma2".split(), flat_patches),
    **dict.fromkeys("fuyu molmo2".split(), flat_patches),
    "inkling_mm_model": clips_colours_last,
    "neomme": patches_alone,
    **dict.fromkeys("inkling2 inkling2_loop inkling2_vision".split(), colours_last),
    **dict.fromkeys("kimi_k25 kimi_k25_vision paddleocr_vl".split(), patches_as_maps),
    **dict.fromkeys("minicpmv4_6 minicpmv4_7 minicpmv4_7_vision minicpm_ocr minicpm_ocr_vision".split(), strips),
}
"""By model type: how its pixel_values lie, where that is not N, C, H, W."""
BESIDE: dict[str, dict[str, Maker]] = {
    **each(
        "siglip2 siglip2_vision_model lfm2_vl",
        {"pixel_attention_mask": all_patches, "spatial_shapes": rows_and_columns},
    ),
    **each("gemma4 gemma4_unified embedding_gemma2", {"image_position_ids": places}),
    "gemma4_vision": {"pixel_position_ids": places},
    "mllama": {"aspect_ratio_ids": tile_numbers, "aspect_ratio_mask": all_tiles},
    **each(
        "minicpmv4_6 minicpmv4_7 minicpmv4_7_vision minicpm_ocr minicpm_ocr_vision",
        {"target_sizes": rows_and_columns},
    ),
    **each("inkling2 inkling2_loop inkling2_vision", {"image_grid_thw": merged_grid}),
    "molmo2": {"image_token_pooling": pooling, "image_grids": grids_of_crops},
    "granite_docling": {"pixel_attention_mask": all_images},
}
"""By model type: what goes with its pixel_values."""
