"""Images and videos: maps of pixels, patches on a grid, and what goes with them."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import nn

from archcalc.engine.load.pretrained.facts import Facts, Made
from archcalc.engine.load.pretrained.layouts import LAYOUTS
from archcalc.engine.load.pretrained.vision_facts import MAP, TOWERS, cells, channels, origin, patch_size, sides
from archcalc.networks.spec import Input

GRIDS = ("image_grid_thw", "grid_thw")
FRAMES = ("num_frames", "frames_per_clip", "crop_num_frames", "num_image_with_embedding")
PAIRS = frozenset("clip siglip align altclip chinese_clip clipseg metaclip_2 blip owlvit owlv2 groupvit flava".split())
"""Models that compare texts with images, and take as many of both."""


def pixels(facts: Facts, name: str) -> Made:
    """The images: in a family's own layout, on a grid of patches where forward takes the grid, else as maps."""
    layout = LAYOUTS.get(facts.kind)
    if layout is not None:
        return layout(facts, name)
    if any(grid in facts.parameters for grid in GRIDS):
        return patches_of_grid(facts, name)
    frames = facts.number(*FRAMES, among=TOWERS)
    still = "pixel_values_videos" in facts.parameters
    if (
        ("video" in facts.kind and not still)
        or (frames and "text_config" not in vars(facts.config))
        or facts.kind == "xclip"
    ):
        return videos(facts, name)
    shape = (facts.batch * _maps(facts), channels(facts), *sides(facts))
    return Made(Input(name, MAP, shape), origin(facts))


def _maps(facts: Facts) -> int:
    """Images of one example; models without text take one."""
    return facts.images if "input_ids" in facts.parameters and facts.kind not in PAIRS else 1


def videos(facts: Facts, name: str) -> Made:
    """A video: N, frames, C, H, W."""
    shape = (facts.batch, facts.number(*FRAMES, among=TOWERS, default=8), channels(facts), *sides(facts))
    return Made(Input(name, ("batch", "frames", *MAP[1:]), shape), origin(facts))


def patches_of_grid(facts: Facts, name: str) -> Made:
    """Patches of all images in one row, each with all its pixels."""
    time, high, wide = cells(facts)
    count = facts.batch * (facts.images if "input_ids" in facts.parameters else 1) * time * high * wide
    depth = facts.number("temporal_patch_size", among=TOWERS, default=1)
    pixels = facts.of_module(_embedded) or channels(facts) * depth * patch_size(facts) ** 2
    return Made(Input(name, ("patches", "pixels"), (count, pixels)), origin(facts))


def _embedded(path: str, module: Any) -> int:
    """The numbers of one patch that a module embeds; 0 for any other module."""
    if "patch_embed" not in path:
        return 0
    if isinstance(module, nn.Linear):
        return module.in_features
    return module.in_channels * prod(module.kernel_size) if isinstance(module, nn.Conv2d | nn.Conv3d) else 0


def grid(facts: Facts, name: str) -> Made:
    """Cells of each image along time, height and width."""
    shape = (facts.batch * (facts.images if "input_ids" in facts.parameters else 1), 3)
    values = torch.tensor([cells(facts)]).expand(shape)
    return Made(Input(name, ("images", "thw"), shape, "int64"), origin(facts), values)


def merge_sizes(facts: Facts, name: str) -> Made:
    """How many patches are merged along each side of each image: none."""
    shape = (facts.batch * (facts.images if "input_ids" in facts.parameters else 1),)
    return Made(Input(name, ("images",), shape, "int64"), origin(facts), torch.ones(shape, dtype=torch.int64))


def image_sizes(facts: Facts, name: str) -> Made:
    """Height and width of each image."""
    shape = (facts.batch * facts.images, 2)
    values = torch.tensor([sides(facts)]).expand(shape)
    return Made(Input(name, ("images", "sides"), shape, "int64"), origin(facts), values)


MAKERS: dict[str, Callable[[Facts, str], Made]] = {
    "pixel_values": pixels,
    "pixel_values_videos": videos,
    "hidden_states": patches_of_grid,
    "image_grid_thw": grid,
    "grid_thw": grid,
    "merge_sizes": merge_sizes,
    "image_merge_sizes": merge_sizes,
    "image_sizes": image_sizes,
}
