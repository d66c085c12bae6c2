"""Sizes of images: height and width, colours, patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archcalc.engine.load.pretrained.facts import CONFIG, PROCESSOR, Facts

SIDE = 224
"""Height and width of an image where neither the configuration nor a processor states them."""
TOWERS = ("vision", "image", "visual", "vit")
"""Words in the paths of configurations that are of images."""
MAP = ("batch", "channels", "height", "width")
PROCESSOR_FIRST = frozenset(("depth_pro", "mm-grounding-dino"))
"""Models whose configuration states the size of a part of the image, or of what its backbone was trained on."""
OWN_SIDES = {
    "rf_detr": 560, "seggpt": 448, "inkling_mm_model": 480, "inkling2": 480, "inkling2_loop": 480,
    "inkling2_vision": 480, "phi4_multimodal": 448,
}  # fmt: skip
"""Sizes of models that take only some and state none."""


def sides(facts: Facts) -> tuple[int, int]:
    """Height and width of an image: as asked for, or as stated."""
    (height, width), _ = stated(facts)
    return facts.size("height", height), facts.size("width", width)


def origin(facts: Facts) -> str:
    """Where the size of an image comes from."""
    return "option" if facts.was_asked("batch", "height", "images") else stated(facts)[1]


def stated(facts: Facts) -> tuple[tuple[int, int], str]:
    """The size that the configuration or a processor states, else ours; and which of them it was."""
    if facts.kind in OWN_SIDES:
        return (OWN_SIDES[facts.kind],) * 2, f"{OWN_SIDES[facts.kind]} px by default: --size"
    words = (*TOWERS, "encoder") if facts.kind == "vision-encoder-decoder" else TOWERS
    towers = [config for path, config in facts.nested if any(word in path for word in words)]
    configs = [facts.config, *towers] if facts.kind not in PROCESSOR_FIRST else []
    for config in configs:
        for name in ("image_size", "img_size", "force_image_size"):
            if size := pair(getattr(config, name, None)):
                return size, CONFIG
    if side := facts.of_module(lambda _, module: _of_timm(module)):
        return (side, side), "timm default_cfg"
    first = facts.lent_processor if facts.kind in PROCESSOR_FIRST else {}
    if size := _prepared(facts.processor) or _prepared(first):
        return size, PROCESSOR
    for _, config in facts.nested:
        if size := pair(getattr(config, "image_size", None)):
            return size, CONFIG
    if size := _prepared(facts.lent_processor):
        return size, PROCESSOR
    return (SIDE, SIDE), f"{SIDE} px by default: --size"


def _prepared(processor: Mapping[str, Any]) -> tuple[int, int] | None:
    """The size of the images that a processor makes; None if it states none."""
    sizes = (pair(processor.get(name)) for name in ("crop_size", "pad_size", "size"))
    return next((size for size in sizes if size), None)


def _of_timm(module: Any) -> int:
    """The height of the image that a model of timm inside declares; 0 for any other module."""
    cfg: Any = getattr(module, "pretrained_cfg", None)
    size = cfg.get("input_size") if hasattr(cfg, "get") else None
    fixed = hasattr(getattr(module, "patch_embed", None), "img_size")
    return int(size[-1]) if size and fixed else 0


def pair(size: Any) -> tuple[int, int] | None:
    """Height and width of a size in one of the forms that configurations have; None for what is none.

    >>> pair(32), pair([32, 64]), pair({"shortest_edge": 800, "longest_edge": 1333}), pair({"longest_edge": 10**6})
    ((32, 32), (32, 64), (800, 800), None)
    """
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


def patch_size(facts: Facts) -> int:
    """Height and width of a patch."""
    return facts.number("patch_size", "vision_patch_size", "model_patch_size", among=TOWERS, default=14)


def cells(facts: Facts) -> tuple[int, int, int]:
    """Patches of one image along time, height and width; whole groups of those that are merged."""
    patch = patch_size(facts)
    merges = ("spatial_merge_size", "merge_size", "merge_kernel_size", "pooling_kernel_size", "downsample_factor")
    side = patch * facts.number(*merges, among=TOWERS, default=1)
    height, width = (max(side, size // side * side) for size in sides(facts))
    return 1, height // patch, width // patch
