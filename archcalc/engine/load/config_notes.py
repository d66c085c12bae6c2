"""Notes where the configuration of a transformers model states other weights than those that are counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn


def config_notes(module: nn.Module, dtype: str) -> Iterator[str]:
    """Notes about a type of weights, and a quantization, that the configuration states and the run does not have.

    `dtype` is the type that was asked for; float32 leaves the weights as they are.
    """
    config: Any = getattr(module, "config", None)
    if not hasattr(config, "to_dict"):
        return
    own = next((str(p.dtype).removeprefix("torch.") for p in module.parameters() if p.is_floating_point()), dtype)
    counted = own if dtype == "float32" else dtype
    stated = str(getattr(config, "dtype", None) or getattr(config, "torch_dtype", None) or counted)
    stated = stated.removeprefix("torch.")
    if stated not in (counted, "auto") and dtype == "float32":
        yield f"its config says {stated}; the weights here are {counted}: add  --dtype {stated}"
    quantization = getattr(config, "quantization_config", None)
    if quantization:
        is_plain = isinstance(quantization, Mapping)
        method = quantization.get("quant_method") if is_plain else getattr(quantization, "quant_method", None)
        method = getattr(method, "value", method)
        named = f" ({method})" if method else ""
        yield f"its config's quantization_config{named} is not applied: the weights are counted as {counted}"
