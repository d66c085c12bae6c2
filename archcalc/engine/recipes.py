"""Recipes of precision for training: the type of weights and inputs, autocast, what the optimizer updates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """One recipe: the type of parameters and inputs, the lower precision of autocast, and whether masters are kept.

    Gradients have the type of their parameters. With `masters` the optimizer holds a float32 copy of each parameter of
    lower precision and updates that; its state is then float32, too.
    """

    dtype: str = "float32"
    amp: str = ""
    masters: bool = False


RECIPES: Mapping[str, Recipe] = {
    "fp32": Recipe(),
    "amp-bf16": Recipe(amp="bf16"),
    "amp-fp16": Recipe(amp="fp16"),
    "bf16-fp32-master": Recipe("bfloat16", masters=True),
    "fp16-fp32-master": Recipe("float16", masters=True),
    "pure-bf16": Recipe("bfloat16"),
}
