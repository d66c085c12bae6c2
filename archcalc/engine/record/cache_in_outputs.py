"""The cache of a decoder in what forward takes and returns: Cache objects, lists, tuples, dataclasses of tensors.

And what else a step takes from the pass before it: the states of an encoder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from inspect import Parameter
from typing import Any

from torch import Tensor, nn

from archcalc.engine.load.nested import parts, tensors_with_places
from archcalc.engine.load.pretrained.facts import is_pretrained, with_cache

CACHES = (
    "cache", "past_key_values", "cache_params", "kv_cache", "caches", "past", "past_key_value", "mems", "state",
    "states", "hidden",
)  # fmt: skip
"""Names of the argument that takes a cache, and of what forward returns."""


def returned_cache(out: Any, arguments: Iterable[str]) -> Any:
    """The cache in what a forward with some arguments returned; None without one.

    An argument of forward must have one of the names of CACHES. What is returned stands under such a name, or behind
    the first result.
    """
    if not any(name in CACHES for name in arguments):
        return None
    plain = isinstance(out, list | tuple) and not hasattr(out, "_fields")
    named = {} if plain else parts(out)
    found = [named[name] for name in CACHES if named.get(name) is not None]
    if found:
        return found[0]
    if plain and len(out) > 1:
        return out[1] if len(out) == 2 else out[1:]
    return None


def cache_tensors(out: Any, arguments: Iterable[str]) -> Iterator[Tensor]:
    """The tensors of the cache in what forward returned."""
    cache = returned_cache(out, arguments)
    return (tensor for _, tensor in tensors_with_places("", cache) if tensor.dim() > 1)


def in_a_cache(name: str) -> bool:
    """Whether an input is part of a cache by its name.

    >>> in_a_cache("past_key_values.layers.0.keys"), in_a_cache("cache.0.1"), in_a_cache("input_ids")
    (True, True, False)
    """
    return name.partition(".")[0] in CACHES


def asks_for_cache(module: Any, parameters: Mapping[str, Parameter]) -> dict[str, bool]:
    """The argument by which forward is asked for a cache, where it has it; or hands on what it does not know itself."""
    hands_on = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    known = "use_cache" in parameters or (hands_on and any(with_cache(getattr(module, "config", None))))
    return {"use_cache": True} if known else {}


def encoder_of(module: Any) -> nn.Module | None:
    """The encoder of a model of transformers, whose output a step is given in its own form; None without one."""
    encoder = module.get_encoder() if is_pretrained(module) and hasattr(module, "get_encoder") else None
    return encoder if isinstance(encoder, nn.Module) and encoder is not module else None
