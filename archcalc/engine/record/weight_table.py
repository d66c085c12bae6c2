"""The weights of a model as they may be quantized, and facts of its configuration that serving needs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from typing import Any

from torch import nn

from archcalc.engine.load.pretrained.facts import setting_of
from archcalc.engine.load.pretrained.stored_weights import form_of, is_known, name_of, quantization_of, quantized_bytes
from archcalc.engine.record.data import EXPERTS
from archcalc.engine.serving import Latent, Weight
from archcalc.ops.registry import macs_of
from archcalc.tracing import Trace

IN_LIST = re.compile(r"(^|\.)experts\.\d+\.")


def configs(module: Any) -> Iterator[Any]:
    """The configuration of a model and the parts of it, that of the text first."""
    config = getattr(module, "config", None)
    inner = [value for value in getattr(config, "__dict__", {}).values() if hasattr(value, "to_dict")]
    text = [getattr(config, name, None) for name in ("text_config", "llm_config")]
    yield from (part for part in (*text, config, *inner) if part is not None)


def number_of(module: Any, names: Sequence[str]) -> int:
    """A whole number that the configuration states under one of some names; 0 if it states none."""
    found = (setting_of(part, name) for part in configs(module) for name in names)
    return next((value for value in found if type(value) is int and value > 0), 0)


def latent_of(module: Any) -> Latent | None:
    """The sizes of attention on a latent, if the configuration states all of them."""
    names = ("num_attention_heads", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    sizes = [number_of(module, (name,)) for name in names]
    return Latent(*sizes) if all(sizes) else None


def stored_by_config(module: Any) -> tuple[str, str] | None:
    """The name of the quantization that the configuration states, and the form of its products.

    None without one, and for one of none of these weights; the form is '' if it is not known how it stores weights.
    """
    settings = quantization_of(module)
    known = bool(settings) and is_known(settings)
    if not settings or (known and not quantized_bytes(module, settings)):
        return None
    return name_of(settings) or "quantized", form_of(settings) if known else ""


def weights_of(module: nn.Module) -> tuple[Weight, ...]:
    """Every parameter once."""
    experts = number_of(module, EXPERTS)
    head = getattr(module, "get_output_embeddings", lambda: None)()
    head_weight = getattr(head, "weight", None)
    owners = {id(p): member for _, member in module.named_modules() for p in member.parameters(recurse=False)}
    tables = [m for m in module.modules() if isinstance(m, nn.Embedding)]
    stored = quantized_bytes(module, settings) if (settings := quantization_of(module)) else {}
    return tuple(
        replace(_weight(name, parameter, owners[id(parameter)], head_weight, tables, experts), stored=stored.get(name))
        for name, parameter in module.named_parameters()
    )


def _weight(
    name: str, parameter: Any, owner: nn.Module, head: Any, tables: Sequence[nn.Embedding], experts: int
) -> Weight:
    sizes = [*parameter.shape]
    elements = prod(sizes)
    if any(table.weight is parameter for table in tables):
        return Weight(name, elements, "embedding", 1, sizes[0], sizes[1], tied=parameter is head)
    if experts > 1 and len(sizes) == 3 and sizes[0] == experts:
        return Weight(name, elements, "linear", experts, sizes[1], sizes[2], experts=experts, of_experts=experts)
    of = experts if experts > 1 and IN_LIST.search(name) else 0
    named = isinstance(owner, nn.Linear) or type(owner).__name__ == "Conv1D" or name.endswith("weight")
    if len(sizes) != 2 or not named:
        return Weight(name, elements, "other", experts=int(of > 0), of_experts=of)
    role = "head" if parameter is head else "linear"
    return Weight(name, elements, role, 1, sizes[0], sizes[1], experts=int(of > 0), of_experts=of)


def with_ties(weights: tuple[Weight, ...], trace: Trace) -> tuple[Weight, ...]:
    """The weights, with embeddings that products read too as tied."""
    read = {trace.tensors[t].storage for call in trace.calls if macs_of(trace, call) for t in call.tensors()}
    names = {name for p in trace.parameters if trace.tensors[p.tensor].storage in read for name in p.names}
    return tuple(replace(w, tied=w.name in names) if w.role == "embedding" else w for w in weights)
