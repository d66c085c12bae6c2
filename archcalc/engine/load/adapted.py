"""A model with low-rank adapters at the layers that --lora names; all its other parameters are frozen, as PEFT does."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from math import inf
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy

from archcalc.engine.load.given_models import is_graph
from archcalc.engine.load.lora_layers import LoraEmbedding, LoraLayer, convolution, linear
from archcalc.engine.load.pretrained.facts import is_pretrained
from archcalc.engine.lora import ALL_LINEAR, Lora, parse_lora
from archcalc.engine.meta.empty_modules import emptied, without_data
from archcalc.errors import WrongUse
from archcalc.text.units import plural

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BASE = "base_layer"
"""The name of a layer inside the one that has its adapters."""
MOST = 8
"""How many names of layers an error tells."""


def with_adapters(module: nn.Module, typed: str, data: bool) -> tuple[nn.Module, str]:
    """The module with its adapters in place, and a note about them; WrongUse if a target names no layer for them.

    With `data` the adapters have values beside them, as they begin a training.
    """
    lora = parse_lora(typed)
    if is_graph(module):
        sentence = "--lora does not apply: the layers of an exported or scripted program cannot be replaced."
        raise WrongUse(sentence, "name the model itself")
    module.requires_grad_(False)
    paths = _targets(module, lora.targets)
    for path in paths:
        base = module.get_submodule(path)
        with contextlib.nullcontext() if data else without_data():
            layer = _adapted(path, base, lora)
        _settle(layer, base)
        above, _, name = path.rpartition(".")
        setattr(module.get_submodule(above), name, layer)
    every = plural(len(paths), "layer")
    return module, f"LoRA of rank {lora.r} at {every}, as PEFT makes it; all other parameters are frozen"


def raise_halves(module: nn.Module) -> nn.Module:
    """The module with its adapters in float32 where their layers are of half precision."""
    for member in module.modules():
        if isinstance(member, LoraLayer):
            member.raise_halves()
    return module


def idle_adapters(module: nn.Module, called: Collection[str]) -> list[str]:
    """A note about adapters whose layers are not called themselves, by the paths of the modules that were called."""
    idle = [path for path, m in module.named_modules() if isinstance(m, LoraLayer) and path not in called]
    more = f" and {len(idle) - 1:,} more" if len(idle) > 1 else ""
    return [f"the adapters of {idle[0]}{more} did not run: other code reads the layer's weight"] if idle else []


def _settle(layer: LoraLayer, base: nn.Module) -> None:
    """Adapters of the base's type of floats, without elements, in the base's mode."""
    dtype = next((p.dtype for p in base.parameters() if p.is_floating_point()), None)
    for member in layer.modules():
        for name, parameter in list(member.named_parameters(recurse=False)):
            if parameter.requires_grad:
                typed = nn.Parameter(parameter.data.to(dtype or parameter.dtype))
                setattr(member, name, emptied(typed, known=True, limit=inf))
    layer.train(base.training)
    layer.raise_halves()


def _adapted(path: str, base: Any, lora: Lora) -> LoraLayer:
    """The layer with adapters; WrongUse for one that PEFT would give adapters that do not fit."""
    if any(map(is_lazy, base.parameters())):
        raise WrongUse(f"--lora: {path} is lazy, its shape is only known after a run.", "name other layers")
    if isinstance(base, nn.Embedding):
        return LoraEmbedding(base, lora)
    if isinstance(base, nn.Linear):
        return linear(base, lora, base.in_features, base.out_features)
    if not isinstance(base, CONVOLUTIONS):
        return linear(base, lora, *base.weight.shape)  # Conv1D of transformers: inputs x outputs
    if lora.r % base.groups:
        sentence = f"--lora r={lora.r} does not fit {path}, a convolution of {base.groups} groups."
        raise WrongUse(sentence, "choose a rank that they divide, or name other layers")
    if base.padding_mode != "zeros" or any(step != 1 for step in base.dilation):
        raise WrongUse(f"--lora: {path} is dilated or pads with no zeros, and PEFT's adapters do not.", "leave it out")
    return convolution(base, lora)


def _can(module: nn.Module) -> bool:
    """Whether a layer is of a kind that gets adapters."""
    return isinstance(module, (nn.Linear, nn.Embedding, *CONVOLUTIONS)) or _is_conv1d(module)


def _is_conv1d(module: nn.Module) -> bool:
    """Whether it is a linear layer of GPT-2, which transformers calls Conv1D."""
    kind = type(module)
    return kind.__name__ == "Conv1D" and kind.__module__.startswith("transformers.")


def _targets(module: nn.Module, targets: Sequence[str]) -> list[str]:
    """The paths of the layers that get adapters, in the order of the model."""
    members = {path: member for path, member in module.named_modules() if path}
    if targets == (ALL_LINEAR,):
        head = getattr(module, "get_output_embeddings", lambda: None)() if is_pretrained(module) else None
        found = [p for p, m in members.items() if (isinstance(m, nn.Linear) or _is_conv1d(m)) and m is not head]
        if not found:
            raise WrongUse("--lora target=all-linear names nothing: no linear layer is in the model.", _names(members))
        return found
    chosen: set[str] = set()
    for target in targets:
        named = [path for path in members if _matches(path, target)]
        able = [path for path in named if _can(members[path])]
        if not named:
            raise WrongUse(f"--lora target={target} names no layer.", _names(members, target))
        if not able or (len(able) < len(named) and not set("*?[").intersection(target)):
            other = next(path for path in named if not _can(members[path]))
            kind = type(members[other]).__name__
            sentence = f"--lora target={target} names {other}, a {kind}, which gets no adapters."
            raise WrongUse(sentence, _names({p: m for p, m in members.items() if p.startswith(f"{other}.")} or members))
        chosen.update(able)
    return [path for path in members if path in chosen]


def _matches(path: str, target: str) -> bool:
    """Whether a path is a target or ends with it.

    >>> _matches("h.0.attn.c_attn", "c_attn"), _matches("h.0.attn.c_attn", "h.*.c_attn"), _matches("h.my_fc", "fc")
    (True, True, False)
    """
    return fnmatchcase(path, target) or fnmatchcase(path, f"*.{target}")


def _names(members: dict[str, nn.Module], target: str = "") -> str:
    """The names of layers that get adapters: those close to a target, else the first ones."""
    names = list(dict.fromkeys(_ends(members)))
    close = get_close_matches(target.rpartition(".")[2], names, 3, 0.5) if target else []
    if close:
        return f"did you mean  {'  '.join(close)} ?"
    return f"layers that get adapters are called  {', '.join(names[:MOST])}" if names else "leave --lora out"


def _ends(members: dict[str, nn.Module]) -> Iterator[str]:
    for path, member in members.items():
        if _can(member):
            above, _, name = path.rpartition(".")
            yield f"{above.rpartition('.')[2]}.{name}" if name.isdigit() and above else name
