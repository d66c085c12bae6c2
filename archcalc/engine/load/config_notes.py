"""Notes where the configuration of a transformers model states other weights than those that are counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from archcalc.engine.choices import FLOATS
from archcalc.engine.load.pretrained.stored_weights import quantized_bytes, stored_bytes
from archcalc.text.units import size


def stated_dtype(module: Any) -> str:
    """The type of floats that a model's configuration states, where it is one that archcalc knows; else float32."""
    stated = _stated(getattr(module, "config", None))
    return stated if stated in FLOATS else "float32"


def _stated(config: Any) -> str:
    """The type that a configuration states, or else the part of it that makes the text; '' if neither does."""
    parts = [config, *(getattr(config, name, None) for name in ("text_config", "llm_config", "thinker_config"))]
    values = (  # the library warns of its former name wherever that is read
        value for part in parts if part for value in (getattr(part, "dtype", None), vars(part).get("torch_dtype"))
    )
    return next((str(value).removeprefix("torch.") for value in values if value is not None), "")


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
    stated = _stated(config) or counted
    if not chosen and stated == dtype != "float32":
        yield f"its config says {stated}, and so are its weights here: --dtype float32 for another type"
    elif stated not in (counted, "auto") and not chosen:
        other = f"add  --dtype {stated}" if stated in FLOATS else "no layer computes in the former"
        yield f"its config says {stated}; the weights here are {counted}: {other}"
    quantization = getattr(config, "quantization_config", None)
    if quantization:
        yield _stored(module, quantization, counted)


def weights_as_stored(module: Any) -> dict[str, int]:
    """Bytes of each parameter that the model's configuration says is stored quantized, by its name."""
    quantization = getattr(getattr(module, "config", None), "quantization_config", None)
    return quantized_bytes(module, _settings(quantization)) if quantization else {}


def _settings(quantization: Any) -> dict[str, Any]:
    return dict(quantization) if isinstance(quantization, Mapping) else dict(vars(quantization))


def _stored(module: nn.Module, quantization: Any, counted: str) -> str:
    """What a quantization makes of the weights, or that it is not applied."""
    settings = _settings(quantization)
    method = getattr(settings.get("quant_method"), "value", settings.get("quant_method"))
    named = f" ({method})" if method else ""
    stored = stored_bytes(module, settings, counted)
    if stored is None:
        return f"its config's quantization_config{named} is not applied: the weights are counted as {counted}"
    plain = sum(p.numel() * getattr(torch, counted).itemsize for p in module.parameters())
    return (
        f"its config's quantization_config{named} is not applied: the weights are counted as {counted}, {size(plain)}; "
        f"as stored they take {size(stored)}, scales included"
    )
