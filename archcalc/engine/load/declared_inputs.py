"""The inputs that a model itself declares: by its timm or transformers configuration, or an example it carries."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from archcalc.engine.load.declaration import UNKNOWN, Declaration, image
from archcalc.engine.load.pretrained.declare import declared
from archcalc.engine.setup import Setup
from archcalc.networks.spec import Input

__all__ = ["UNKNOWN", "Declaration", "image", "inputs_of"]


def inputs_of(module: nn.Module, setup: Setup | None = None) -> Declaration:
    """The inputs that the module declares, at the sizes of a setup; UNKNOWN if it declares none."""
    for found in (declared(module, setup or Setup()), _timm(module), _lightning(module)):
        if found.inputs:
            return found
    return UNKNOWN


def _timm(module: Any) -> Declaration:
    """The input of a timm model, from the input_size of its default_cfg."""
    cfg = getattr(module, "pretrained_cfg", None) or getattr(module, "default_cfg", None)
    size = getattr(cfg, "get", lambda _: None)("input_size")
    if not isinstance(size, tuple | list) or len(size) != 3:
        return UNKNOWN
    return Declaration((image("x", *size),), "timm default_cfg")


def _lightning(module: Any) -> Declaration:
    """The inputs of a Lightning module, from its example_input_array."""
    example = getattr(module, "example_input_array", None)
    tensors = (example,) if isinstance(example, Tensor) else example
    if not isinstance(tensors, tuple | list) or not all(isinstance(t, Tensor) for t in tensors):
        return UNKNOWN
    described = (
        Input("", ("batch", *(f"axis{i}" for i in range(1, t.dim()))), tuple(t.shape), str(t.dtype).split(".")[1])
        for t in tensors
    )
    return Declaration(tuple(described), "example_input_array")
