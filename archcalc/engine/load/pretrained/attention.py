"""Attention that does not run on tensors without data, compiled by torch or by another package: run as another one."""

from __future__ import annotations

from typing import Any

from torch import nn

from archcalc.engine.load.pretrained.facts import is_pretrained

FLEX = "flex_attention"
PLAIN = ("sdpa", "eager")
"""Implementations with the same products, the first that the model has."""


def without_missing_kernels(config: Any) -> list[str]:
    """Let the library choose the attention of a configuration that asks for kernels of another package. Returns notes.

    Flash attention, for instance: where its package is missing transformers would build no model.
    """
    asked: dict[str, None] = {}
    for part in (config, *(value for value in vars(config).values() if hasattr(value, "to_dict"))):
        name = getattr(part, "_attn_implementation", None)
        if isinstance(name, str) and name not in (*PLAIN, FLEX):
            part._attn_implementation = None
            asked[name] = None
    return [f"its config asks for {name}: its products are those of torch's own attention" for name in asked]


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
