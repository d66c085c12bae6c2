"""Bytes of weights as a quantized checkpoint stores them: numbers of few bits, and the scales that go with them.

A method quantizes the matrices of linear layers and of experts, each expert by itself, but not the layer that gives the
output, nor what the configuration leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from math import ceil
from typing import Any

import torch
from torch import Tensor, nn

from archcalc.engine.load.pretrained import compressed_tensors, stored_methods
from archcalc.engine.load.pretrained.facts import OF_TEXT, stated_type
from archcalc.errors import WrongUse, one_line

Settings = Mapping[str, Any]
LEFT_OUT = ("modules_to_not_convert", "llm_int8_skip_modules", "skip_modules", "ignore", "ignored_layers")


@dataclass(frozen=True)
class Matrix:
    """A weight of matrices that are quantized one by one, and the names that checkpoints may have for its layer."""

    weight: Tensor
    many: int
    outputs: int
    inputs: int
    names: Sequence[str]
    layer: nn.Module | None = None
    """None for experts in a stack."""


def quantization_of(module: Any) -> dict[str, Any]:
    """The settings of a quantization that a model's configuration, or the part of it that makes the text, states.

    None stated: no settings.
    """
    config = getattr(module, "config", None)
    for part in (config, *(getattr(config, name, None) for name in OF_TEXT)):
        stated = getattr(part, "quantization_config", None)
        if stated:
            return dict(stated) if isinstance(stated, Mapping) else dict(vars(stated))
    return {}


def name_of(settings: Settings) -> str:
    """The method of a quantization as it is stated; '' where it is not."""
    return str(getattr(settings.get("quant_method"), "value", settings.get("quant_method")) or "")


def is_known(settings: Settings) -> bool:
    """Whether it is known here how a quantization stores weights; WrongUse for settings that no method has."""
    with _readable():
        return _bytes_of(settings, 2) is not None


def stored_bytes(module: nn.Module, settings: Settings, dtype: str) -> int | None:
    """Bytes of all parameters as stored, those that are not quantized in `dtype`.

    None for a method that is not known here, or that quantizes nothing of the module.
    """
    stored = quantized_bytes(module, settings)
    if not stored:
        return None
    width: int = getattr(torch, dtype).itemsize
    return sum(stored.get(name, parameter.numel() * width) for name, parameter in module.named_parameters())


def quantized_bytes(module: nn.Module, settings: Settings) -> dict[str, int]:
    """Bytes of each parameter that is quantized, scales included, by its name; none for an unknown method.

    WrongUse for settings that no method has, such as words where numbers stand.
    """
    with _readable():
        width = 4 if stated_type(getattr(module, "config", None)) == "float32" else 2
        bytes_of = _bytes_of(settings, width)
        if bytes_of is None:
            return {}
        matrices = {id(matrix.weight): matrix for matrix in _matrices(module, settings)}
        named = ((name, matrices[id(p)]) for name, p in module.named_parameters() if id(p) in matrices)
        return {name: found for name, matrix in named if (found := bytes_of(matrix)) is not None}


def form_of(settings: Settings) -> str:
    """The form that products with the weights of a known quantization have, such as fp8 or int4."""
    name = name_of(settings).lower()
    if name in compressed_tensors.NAMES:
        return compressed_tensors.form_of(settings)
    return stored_methods.computes_in(name, settings)


@contextmanager
def _readable() -> Iterator[None]:
    """A block in which settings that cannot be read are told as such."""
    try:
        yield
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, re.error) as error:
        hint = "correct it in the file, or leave quantization_config out"
        raise WrongUse(f"its config's quantization_config cannot be read: {one_line(error)}.", hint) from None


def _bytes_of(settings: Settings, width: int) -> Callable[[Matrix], int | None] | None:
    """The bytes of a weight by a quantization, or None for one that stays as it is; None for an unknown method."""
    name = name_of(settings).lower()
    if name in compressed_tensors.NAMES:
        if not compressed_tensors.is_known(settings):
            return None

        def compressed(matrix: Matrix) -> int | None:
            scheme = compressed_tensors.scheme_of(matrix.names, matrix.layer, settings)
            return matrix.many * scheme.matrix(matrix.outputs, matrix.inputs, width) if scheme else None

        return compressed
    if stored_methods.method_of(name, settings) is None:
        return None

    def by_method(matrix: Matrix) -> int | None:
        method = stored_methods.method_of(name, settings, of_experts=matrix.layer is None)
        return None if method is None else ceil(matrix.many * method(matrix.outputs, matrix.inputs, settings))

    return by_method


def _matrices(module: nn.Module, settings: Settings) -> Iterator[Matrix]:
    """The weights that may be quantized; those of compressed-tensors say by themselves which are."""
    method = name_of(settings).lower()
    own_rules = method in compressed_tensors.NAMES
    left_out = [] if own_rules else [str(name) for key in LEFT_OUT for name in settings.get(key) or ()]
    only = (
        []
        if own_rules
        else [str(name) for names in settings.get("modules_in_block_to_quantize") or () for name in names]
    )
    head = getattr(module, "get_output_embeddings", lambda: None)()
    tied = (
        own_rules
        and head is not None
        and any(isinstance(m, nn.Embedding) and m.weight is getattr(head, "weight", None) for m in module.modules())
    )
    for path, member in module.named_modules():
        names = checkpoint_names(path)
        if member is head and (tied or not own_rules):
            continue
        if any(_matches(name, left_out) for name in names) or (only and not _matches(path, only)):
            continue
        if isinstance(member, (nn.Linear, nn.Embedding) if own_rules else nn.Linear) and method != "mxfp4":
            yield Matrix(member.weight, 1, *member.weight.shape, names=names, layer=member)  # type: ignore[misc]
        elif "experts" in path:
            yield from _stacks(path, member)


def _stacks(path: str, member: nn.Module) -> Iterator[Matrix]:
    """The weights of experts that are one tensor; two matrices of an expert, one on the other, are quantized apart."""
    for name, weight in member.named_parameters(recurse=False):
        if weight.dim() != 3:
            continue
        experts, outputs, inputs = weight.shape
        if getattr(member, "is_transposed", False):
            outputs, inputs = inputs, outputs
        pair = name.startswith("gate_up") and outputs % 2 == 0
        names = checkpoint_names(f"{path}.0.{'gate_proj' if pair else name}")
        yield Matrix(weight, experts * (1 + pair), outputs // (1 + pair), inputs, names)


def checkpoint_names(path: str) -> list[str]:
    """The names that a checkpoint may have for a module; transformers moved parts of models with images.

    >>> checkpoint_names("model.language_model.layers.0.mlp")[1:]
    ['language_model.layers.0.mlp', 'language_model.model.layers.0.mlp', 'model.layers.0.mlp']
    """
    names = [path]
    if path.startswith("model."):
        names.append(path.removeprefix("model."))
    if path.startswith("model.language_model."):
        inner = path.removeprefix("model.language_model.")
        names += [f"language_model.model.{inner}", f"model.{inner}"]
    if path == "lm_head":
        names.append("language_model.lm_head")
    return names


def _matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether a layer, or one that it is in, has one of some names; a name may be a pattern of either kind."""
    parts = path.split(".")
    above = [".".join(parts[: end + 1]) for end in range(len(parts))]
    return any(
        fnmatch(place, name) or place.endswith(f".{name}") or _is_expression(name, place)
        for place in above
        for name in patterns
    )


def _is_expression(name: str, place: str) -> bool:
    """Whether a name is a regular expression of a whole path, as transformers reads it."""
    try:
        return re.fullmatch(name, place) is not None
    except re.error:  # a pattern of the other kind, such as *.gate
        return False
