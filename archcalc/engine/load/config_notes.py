"""Notes where the configuration of a transformers model states other weights than those that are counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from archcalc.engine.choices import FLOATS
from archcalc.engine.load.pretrained.facts import stated_type
from archcalc.engine.load.pretrained.stored_weights import (
    is_known,
    name_of,
    quantization_of,
    quantized_bytes,
    stored_bytes,
)
from archcalc.text.units import size


def stated_dtype(module: Any) -> str:
    """The type of floats that a model's configuration states, where it is one that archcalc knows; else float32."""
    stated = stated_type(getattr(module, "config", None))
    return stated if stated in FLOATS else "float32"


def config_notes(module: nn.Module, dtype: str, chosen: bool) -> Iterator[str]:
    """Notes about a type of weights, and a quantization, that the configuration states and the run does not have.

    `dtype` is the type of the run's floats; float32 leaves the weights as they are. It was `chosen` by the user, or
    follows from the configuration.
    """
    config: Any = getattr(module, "config", None)
    if not hasattr(config, "to_dict"):
        return
    own = next((str(p.dtype).removeprefix("torch.") for p in module.parameters() if p.is_floating_point()), dtype)
    counted = own if dtype == "float32" else dtype
    stated = stated_type(config) or counted
    if not chosen and stated == dtype != "float32":
        yield f"its config says {stated}, and so are its weights here: --dtype float32 for another type"
    elif stated not in (counted, "auto") and not chosen:
        other = f"add  --dtype {stated}" if stated in FLOATS else "no layer computes in the former"
        yield f"its config says {stated}; the weights here are {counted}: {other}"
    if settings := quantization_of(module):
        yield _stored(module, settings, counted)


def weights_as_stored(module: Any) -> dict[str, int]:
    """Bytes of each parameter that the model's configuration says is stored quantized, by its name."""
    settings = quantization_of(module)
    return quantized_bytes(module, settings) if settings else {}


def _stored(module: nn.Module, settings: Mapping[str, Any], counted: str) -> str:
    """What a quantization makes of the weights, or that it is not applied."""
    named = f" ({method})" if (method := name_of(settings)) else ""
    stored = stored_bytes(module, settings, counted)
    applied = f"its config's quantization_config{named} is not applied: the weights are counted as {counted}"
    if stored is None and not is_known(settings):
        return f"{applied}; how many bytes they take as stored is not known here"
    if stored is None:
        return f"{applied}, and by it none of them takes fewer bits"
    plain = sum(p.numel() * getattr(torch, counted).itemsize for p in module.parameters())
    return f"{applied}, {size(plain)}; as stored they take {size(stored)}, scales included"
