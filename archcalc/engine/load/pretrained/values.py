"""What the integers that a model of transformers is given are taken to hold, by the names of its arguments."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from archcalc.engine.load.pretrained.facts import Facts
from archcalc.engine.load.pretrained.layouts import NOT_EMPTY
from archcalc.engine.load.pretrained.text import constant

ZEROS = ("token_type", "global_attention", "bool_masked_pos", "langs", "lang_ids", "segment")
TOKENS = ("input_ids",)


def assumed(facts: Facts, name: str, tensor: Tensor) -> Tensor | None:
    """The values that an argument is taken to have; None for floats other than masks, and where no name tells.

    Masks hide nothing, positions count, and tokens mean nothing special.
    """
    if name == "pixel_values" and facts.kind in NOT_EMPTY:
        return constant(tuple(tensor.shape), 1, tensor.dtype)
    if (tensor.is_floating_point() and "mask" not in name) or tensor.is_complex() or not tensor.dim():
        return None
    shape, dtype = tuple(tensor.shape), tensor.dtype
    if any(word in name for word in ZEROS):
        return constant(shape, 0, dtype)
    if "mask" in name:
        return constant(shape, 1, dtype)
    if name.endswith("position_ids"):
        return torch.arange(shape[-1], dtype=dtype).expand(shape)
    if name.endswith(TOKENS):
        return constant(shape, facts.ordinary, dtype)
    return None


def in_words(name: str, values: Tensor) -> str:
    """What was assumed of an argument, for a note."""
    if "position" in name:
        return f"{name} is taken to count from 0"
    if name.endswith(TOKENS):
        return f"{name} is taken to hold ordinary tokens"
    if name == "pixel_values":
        return f"no image of {name} is taken to be empty"
    number: Any = values.flatten()[0].item() if values.numel() else 1
    return f"{name} is taken to be {int(number)} everywhere"
