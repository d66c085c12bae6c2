"""A config.json as people and tools write it: brought into the form that transformers reads, or refused by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch

DTYPES = ("torch_dtype", "dtype")
SHORT = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"}
"""Types of torch by the names that trainers have for them."""
COUNT = re.compile(r"n_layers?|num_.*layers|(hidden|vocab)_size|num_attention_heads")
"""Settings that no model has fewer of than none."""


class Unreadable(Exception):
    """A setting that transformers could not read, or would read as something else; the argument says which."""


def as_read(settings: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    """The settings with types of torch by their full names and architectures in a list; Unreadable for nonsense.

    A type `within` a part is left alone if torch has none of its name: it may be one of another kind.

    >>> as_read({"architectures": "BertModel", "torch_dtype": "torch.float16", "part": {"dtype": "bf16"}})
    {'architectures': ['BertModel'], 'torch_dtype': 'float16', 'part': {'dtype': 'bfloat16'}}
    """
    read: dict[str, Any] = {}
    for name, value in settings.items():
        if name in DTYPES and isinstance(value, str):
            if (dtype := _dtype(name, value, within)) != "auto":  # the library's own way to say nothing
                read[name] = dtype
        elif isinstance(value, Mapping) and name != "quantization_config":
            read[name] = as_read(value, name)
        else:
            _demand_sense(name, value)
            read[name] = [value] if name == "architectures" and isinstance(value, str) else value
    return read


def _dtype(name: str, value: str, within: str) -> str:
    spelled = value.removeprefix("torch.")
    dtype = SHORT.get(spelled, spelled)
    if dtype != "auto" and not isinstance(getattr(torch, dtype, None), torch.dtype):
        if within:
            return value
        raise Unreadable(f"its {name} is {value!r}, which is no type of torch")
    return dtype


def _demand_sense(name: str, value: Any) -> None:
    """Unreadable for a negative count, and for a quantization that is no table of settings."""
    if COUNT.fullmatch(name) and type(value) is int and value < 0:
        raise Unreadable(f"its {name} is {value}")
    if name == "quantization_config" and value is not None and not isinstance(value, Mapping):
        raise Unreadable(f"its quantization_config is {value!r}, and no table of settings")


def setting_with(settings: Mapping[str, Any], value: Any, within: str = "") -> str:
    """The setting that has a value, as it is written; '' if none has.

    >>> setting_with({"rope_scaling": {"type": "nope"}}, "nope")
    "rope_scaling.type='nope'"
    """
    return next(_with(settings, value, within), "")


def _with(settings: Mapping[str, Any], value: Any, within: str) -> Iterator[str]:
    for name, own in settings.items():
        if isinstance(own, Mapping):
            yield from _with(own, value, f"{within}{name}.")
        elif type(own) is type(value) and own == value:
            yield f"{within}{name}={own!r}"
