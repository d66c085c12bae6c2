"""Attention that torch compiles inside the model, which has no tensors without data: run as another one."""

from __future__ import annotations

from typing import Any

from torch import nn

from archcalc.engine.load.pretrained.facts import is_pretrained

FLEX = "flex_attention"
PLAIN = ("sdpa", "eager")
"""Implementations with the same products, the first that the model has."""


def without_flex(module: nn.Module) -> list[str]:
    """Give a model of transformers, a copy of the run's own, attention that it does not compile. Returns a note of it.

    Flex attention compiles its kernel when it is called. The scores and the mask are the same by any implementation.
    """
    model: Any = module
    if not is_pretrained(model) or getattr(model.config, "_attn_implementation", None) != FLEX:
        return []
    for name in PLAIN:
        try:
            model.set_attn_implementation(name)
        except ValueError:  # the model has no such implementation
            continue
        return [f"its flex attention is counted as {name}: the products are the same, and hidden ones are computed"]
    return []
