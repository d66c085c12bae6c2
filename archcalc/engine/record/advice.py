"""What to type when a forward's own error tells that its input is of the wrong kind."""

from __future__ import annotations

import re
from collections.abc import Sequence

from torch import nn

from archcalc.text.units import shape
from archcalc.tracing import Input

WANTS_INTEGERS = re.compile(
    r"scalar types?: (Long|Int)|used as indices must be|(Long|Int|indices).*but (got|found).*Float", re.I | re.S
)
"""What torch says where token numbers are given as floats."""
MAPS = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
"""Layers of maps, and the dimensions of a map."""


def advice_for(message: str, inputs: Sequence[Input], module: nn.Module) -> str:
    """Options to try; '' if neither the message nor the model tells anything.

    Tokens that are given as floats should be integers; a map without a batch axis should have one, if its first size
    is a number of channels that a layer takes, and a batch of rows with such a number behind should be one of maps.
    """
    if "more than 1 value per channel when training" in message:
        return "--batch 2"
    floats = [given for given in inputs if given.dtype.startswith(("float", "bfloat"))]
    if floats and WANTS_INTEGERS.search(message):
        return f"{_option(floats[0], floats[0].shape, 'int64:', len(inputs))}  (token numbers are integers)"
    layers = [(m, dims) for m in module.modules() for kind, dims in MAPS.items() if type(m) is kind]
    channels = {layer.in_channels for layer, _ in layers}
    ranks = {dims + 1 for _, dims in layers}
    for given in floats:
        if len(ranks) == 1 and len(given.shape) in ranks:
            if given.shape[0] in channels:
                return f"{_option(given, (1, *given.shape), '', len(inputs))}  (a batch axis in front)"
            if len(given.shape) > 2 and given.shape[1] in channels:
                return f"{_option(given, (*given.shape, given.shape[-1]), '', len(inputs))}  (all sides of a map)"
    return ""


def _option(given: Input, sizes: Sequence[int], dtype: str, inputs: int) -> str:
    """An input as it is typed; its name only where there are several."""
    return f"-i {f'{given.name}=' if inputs > 1 else ''}{dtype}{shape(sizes)}"
