"""What to type, or to change, when a forward's own error tells that its input is of the wrong kind, or a step's why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from torch import nn

from archcalc.engine.load.nested import tensors_with_places
from archcalc.engine.torch_private import own_buffers
from archcalc.text.units import shape
from archcalc.tracing import Input

WANTS_INTEGERS = re.compile(
    r"scalar types?: (Long|Int)|used as indices must be|(Long|Int|indices).*but (got|found).*Float", re.I | re.S
)
"""What torch says where token numbers are given as floats."""
MAPS = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3}
"""Layers of maps, and the dimensions of a map."""
OTHER_WIDTH = re.compile(r"do not match, tokens: (\d+), features: \1$")
"""The error of transformers where the numbers of features and tokens are equal: then their widths differ."""
POSITIONS = "max_position_embeddings"
"""The setting that states the longest text."""


def advice_for(message: str, inputs: Sequence[Input], module: nn.Module) -> str:
    """Options to try; '' if neither the message nor the model tells anything.

    Tokens that are given as floats should be integers; a map without a batch axis should have one, if its first size
    is a number of channels that a layer takes, and a batch of rows with such a number behind should be one of maps; a
    text should have no more tokens than the model has positions for; features of an image should be as wide as the
    text. What a forward keeps for the next training step should be detached.
    """
    if "backward through the graph a second time" in message:
        kept = _kept_with_graph(module)
        return f"detach or clear {kept} between two steps: the second step fails in torch, too" if kept else ""
    if "more than 1 value per channel when training" in message:
        return "--batch 2"
    if OTHER_WIDTH.search(message):
        width = getattr(_of_text(module), "hidden_size", "the text's")
        return f"features of that medium as wide as the text, {width}: a projection_dim or output size in the config"
    if most := _too_long(inputs, module):
        return f"--seq-len {most}  (its config has no more positions)"
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


def _kept_with_graph(module: nn.Module) -> str:
    """The attributes in which modules keep a tensor with the graph that made it; '' for none."""
    kept: dict[str, None] = {}
    for path, member in module.named_modules():
        for name, value in {**vars(member), **own_buffers(member)}.items():
            if name != "_buffers" and any(t.grad_fn is not None for _, t in tensors_with_places(name, value)):
                kept[f"{path}.{name}" if path else name] = None
    return ", ".join(kept)


def _too_long(inputs: Sequence[Input], module: nn.Module) -> int:
    """The positions that the configuration of a model of transformers states, where its text is longer; else 0."""
    most = getattr(_of_text(module), POSITIONS, None)
    longest = max((given.shape[-1] for given in inputs if given.name.endswith("input_ids") and given.shape), default=0)
    return most if type(most) is int and 0 < most < longest else 0


def _of_text(module: nn.Module) -> Any:
    """The configuration of the text of a model of transformers; None for other modules."""
    config: Any = getattr(module, "config", None)
    try:
        return config.get_text_config() if hasattr(config, "get_text_config") else config
    except ValueError:  # it has several
        return None


def _option(given: Input, sizes: Sequence[int], dtype: str, inputs: int) -> str:
    """An input as it is typed; its name only where there are several."""
    return f"-i {f'{given.name}=' if inputs > 1 else ''}{dtype}{shape(sizes)}"
