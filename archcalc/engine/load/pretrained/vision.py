"""Images and videos: maps of pixels, patches on a grid, and what goes with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from archcalc.engine.load.pretrained.facts import CONFIG, OURS, PROCESSOR, VISION, Facts, Made
from archcalc.engine.load.pretrained.text import constant
from archcalc.networks.spec import Input

SIDE = 224
"""Height and width of an image where neither the configuration nor a processor states them."""
GRIDS = ("image_grid_thw", "grid_thw")
FRAMES = ("num_frames", "frames_per_clip", "num_frames_per_video", "crop_num_frames")
TOWERS = ("vision", "image", "visual", "vit")
MAP = ("batch", "channels", "height", "width")


def sides(facts: Facts) -> tuple[int, int]:
    """Height and width of an image, in whole cells where a grid of patches is merged."""
    (height, width), _ = _stated(facts)
    height, width = facts.size("height", height), facts.size("width", width)
    return height, width


def origin(facts: Facts) -> str:
    """Where the size of an image comes from."""
    asked = facts.was_asked("batch", "height", "images")
    return "option" if asked else _stated(facts)[1]


def _stated(facts: Facts) -> tuple[tuple[int, int], str]:
    """The size that the configuration or a processor states, else ours; and which of them it was."""
    parts = [facts.config, *(c for path, c in facts.nested for word in TOWERS if word in path)]
    for config in parts:
        for name in ("image_size", "img_size", "force_image_size"):
            if size := _pair(getattr(config, name, None)):
                return size, CONFIG
    for name in ("crop_size", "pad_size", "size"):
        if size := _pair(facts.processor.get(name)):
            return size, PROCESSOR
    for _, config in facts.nested:
        if size := _pair(getattr(config, "image_size", None)):
            return size, CONFIG
    return (SIDE, SIDE), f"{SIDE} px by default"


def _pair(size: Any) -> tuple[int, int] | None:
    """Height and width of a size in one of the forms that configurations have; None for what is none."""
    if isinstance(size, dict):
        short = size.get("shortest_edge")
        size = (size.get("height", short), size.get("width", short))
    if isinstance(size, list | tuple) and size and isinstance(size[0], list | tuple):
        size = size[0]
    if isinstance(size, int) and not isinstance(size, bool):
        size = (size, size)
    if isinstance(size, list | tuple) and len(size) == 2 and all(isinstance(n, int) and 0 < n < 8192 for n in size):
        return size[0], size[1]
    return None


def channels(facts: Facts) -> int:
    """Colours of a pixel."""
    return facts.number("num_channels", "in_channels", "in_chans", "num_input_channels", among=TOWERS, default=3)


def pixels(facts: Facts, name: str) -> Made:
    """The images: on a grid of patches where forward takes the grid, else as maps."""
    if any(grid in facts.parameters for grid in GRIDS):
        return patches_of_grid(facts, name)
    layout = LAYOUTS.get(facts.kind)
    if layout is not None:
        return layout(facts, name)
    height, width = sides(facts)
    frames = next((n for key in FRAMES if isinstance(n := facts.first(key, among=TOWERS), int)), None)
    if "video" in facts.kind or (frames and "text_config" not in vars(facts.config)):
        shape = (facts.batch, frames or 8, channels(facts), height, width)
        return Made(Input(name, ("batch", "frames", *MAP[1:]), shape), origin(facts))
    shape = (facts.batch * _maps(facts), channels(facts), height, width)
    return Made(Input(name, MAP, shape), origin(facts))


def _maps(facts: Facts) -> int:
    """Images of one example; models without text take one."""
    return facts.images if "input_ids" in facts.parameters and facts.kind not in PAIRS else 1


PAIRS = frozenset("clip siglip align altclip chinese_clip clipseg metaclip_2 blip owlvit owlv2 groupvit flava".split())
"""Models that compare texts with images, and take as many of both."""


def videos(facts: Facts, name: str) -> Made:
    """A video: N, frames, channels, height, width."""
    height, width = sides(facts)
    frames = facts.number(*FRAMES, among=TOWERS, default=8)
    shape = (facts.batch, frames, channels(facts), height, width)
    return Made(Input(name, ("batch", "frames", *MAP[1:]), shape), origin(facts))


# ---- patches on a grid ----


def cells(facts: Facts) -> tuple[int, int, int]:
    """Patches of one image along time, height and width; whole groups of those that are merged."""
    patch = facts.number("patch_size", among=TOWERS, default=14)
    merge = facts.number("spatial_merge_size", "merge_size", "merge_kernel_size", among=TOWERS, default=1)
    side = patch * merge
    height, width = (max(side, size // side * side) for size in sides(facts))
    return 1, height // patch, width // patch


def patches_of_grid(facts: Facts, name: str) -> Made:
    """Patches of all images in one row, each with all its pixels."""
    time, high, wide = cells(facts)
    patch = facts.number("patch_size", among=TOWERS, default=14)
    depth = facts.number("temporal_patch_size", among=TOWERS, default=1)
    count = facts.batch * facts.images * time * high * wide
    return Made(Input(name, ("patches", "pixels"), (count, channels(facts) * depth * patch**2)), origin(facts))


def grid(facts: Facts, name: str) -> Made:
    """Cells of each image along time, height and width."""
    shape = (facts.batch * facts.images, 3)
    values = torch.tensor([cells(facts)]).expand(shape)
    return Made(Input(name, ("images", "thw"), shape, "int64"), origin(facts), values)


# ---- what goes with pixels ----


def image_sizes(facts: Facts, name: str) -> Made:
    """Height and width of each image."""
    shape = (facts.batch * facts.images, 2)
    return Made(
        Input(name, ("images", "sides"), shape, "int64"), origin(facts), torch.tensor([sides(facts)]).expand(shape)
    )


def all_pixels(facts: Facts, name: str) -> Made:
    """A mask of pixels that hides nothing."""
    shape = facts.made["pixel_values"].input.shape
    shape = (*shape[:-3], *shape[-2:])
    return Made(Input(name, MAP[:1] + MAP[2:], shape, "int64"), origin(facts), constant(shape, 1))


def tiles(facts: Facts, name: str) -> Made:
    """Images cut into tiles, and the whole image: N, tiles, channels, height, width."""
    height, width = sides(facts)
    shape = (facts.batch * facts.images, TILES.get(facts.kind, 1), channels(facts), height, width)
    return Made(Input(name, ("batch", "tiles", *MAP[1:]), shape), origin(facts))


TILES = {"llava_next": 5}


def several_images(facts: Facts, name: str) -> Made:
    """The images of each example: N, images, channels, height, width."""
    height, width = sides(facts)
    shape = (facts.batch, facts.images, channels(facts), height, width)
    return Made(Input(name, ("batch", "images", *MAP[1:]), shape), origin(facts))


LAYOUTS: dict[str, Callable[[Facts, str], Made]] = {}
MAKERS: dict[str, Callable[[Facts, str], Made]] = {
    "pixel_values": pixels,
    "pixel_values_videos": videos,
    "image_grid_thw": grid,
    "grid_thw": grid,
    "image_sizes": image_sizes,
}
__all__ = ["CONFIG", "MAKERS", "OURS", "VISION", "pixels"]
