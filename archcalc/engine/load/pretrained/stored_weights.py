"""Bytes of weights as a quantized checkpoint stores them: numbers of few bits, and the scales that go with them.

A method quantizes the matrices of linear layers and of experts, each expert by itself, but not the layer that gives the
output, nor what the configuration leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from math import ceil
from typing import Any

import torch
from torch import nn

from archcalc.errors import WrongUse, one_line

Settings = Mapping[str, Any]
Bytes = Callable[[int, int, Settings], float]
"""Bytes of one matrix of some outputs and inputs."""


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
    method = _method(settings)
    if method is None:
        return {}
    try:
        matrices = {id(weight): shape for weight, shape in _matrices(module, settings)}
        named = ((name, matrices[id(p)]) for name, p in module.named_parameters() if id(p) in matrices)
        return {name: ceil(many * method(outputs, inputs, settings)) for name, (many, outputs, inputs) in named}
    except (TypeError, ValueError, IndexError, ArithmeticError) as error:
        hint = "correct it in the file, or leave quantization_config out"
        raise WrongUse(f"its config's quantization_config cannot be read: {one_line(error)}.", hint) from None


def _method(settings: Settings) -> Bytes | None:
    name = str(getattr(settings.get("quant_method"), "value", settings.get("quant_method")) or "").lower()
    if name == "bitsandbytes" or settings.get("load_in_4bit") or settings.get("load_in_8bit"):
        eight = bool(settings.get("load_in_8bit", settings.get("_load_in_8bit")))
        return eight_bits_by_row if eight else four_bits_by_block
    return METHODS.get(name)


def fp8(outputs: int, inputs: int, settings: Settings) -> float:
    """Bytes of a matrix of 8-bit floats with a 4-byte scale for each block, or one in all.

    >>> fp8(256, 7168, {"weight_block_size": [128, 128]}) - 256 * 7168  # 2 * 56 scales
    448
    """
    block = settings.get("weight_block_size") or (outputs, inputs)
    return outputs * inputs + 4 * ceil(outputs / block[0]) * ceil(inputs / block[1])


def mxfp4(outputs: int, inputs: int, settings: Settings) -> float:
    """Bytes of a matrix of 4-bit floats with a scale of one byte for each 32 of a row.

    >>> mxfp4(2, 64, {})  # 128 / 2 + 2 * 2
    68.0
    """
    return outputs * inputs / 2 + outputs * ceil(inputs / 32)


def eight_bits_by_row(outputs: int, inputs: int, settings: Settings) -> float:
    """Bytes of a matrix of bitsandbytes' 8-bit integers with a 4-byte scale for each row.

    >>> eight_bits_by_row(10, 20, {})
    240
    """
    return outputs * inputs + 4 * outputs


def four_bits_by_block(outputs: int, inputs: int, settings: Settings) -> float:
    """Bytes of a matrix of bitsandbytes' 4-bit numbers with a scale for each 64 of them.

    A scale takes 4 bytes; doubly quantized one byte, with 4 more for each 256 scales and an offset of 4 bytes.

    >>> four_bits_by_block(256, 256, {}) - 256 * 256 / 2  # 1,024 scales
    4096.0
    >>> four_bits_by_block(256, 256, {"bnb_4bit_use_double_quant": True}) - 256 * 256 / 2  # 1,024 + 4 * 4 + 4
    1044.0
    """
    scales = ceil(outputs * inputs / 64)
    double = settings.get("bnb_4bit_use_double_quant")
    return ceil(outputs * inputs / 2) + (scales + 4 * ceil(scales / 256) + 4 if double else 4.0 * scales)


def gptq(outputs: int, inputs: int, settings: Settings) -> float:
    """Bytes of a matrix of GPTQ: packed numbers, 2-byte scales and packed zeros of each group, a group for each input.

    >>> gptq(128, 256, {"bits": 4, "group_size": 128})  # 128*256/2 + 2*128*2 + 2*128/2 + 4*256
    18048.0
    """
    bits, groups = _bits(settings), _groups(inputs, settings)
    return outputs * inputs * bits / 8 + groups * outputs * (2 + bits / 8) + 4 * inputs


def awq(outputs: int, inputs: int, settings: Settings) -> float:
    """Bytes of a matrix of AWQ: packed numbers, 2-byte scales and packed zeros of each group.

    >>> awq(128, 256, {"bits": 4, "group_size": 128})  # 128*256/2 + 2*128*2 + 2*128/2
    17024.0
    """
    bits, groups = _bits(settings), _groups(inputs, settings)
    return outputs * inputs * bits / 8 + groups * outputs * (2 + bits / 8)


def _bits(settings: Settings) -> int:
    return int(settings.get("bits") or settings.get("w_bit") or 4)


def _groups(inputs: int, settings: Settings) -> int:
    size = int(settings.get("group_size") or settings.get("q_group_size") or 128)
    return ceil(inputs / size) if size > 0 else 1


METHODS: dict[str, Bytes] = {"fp8": fp8, "mxfp4": mxfp4, "gptq": gptq, "awq": awq}
LEFT_OUT = ("modules_to_not_convert", "llm_int8_skip_modules", "skip_modules", "ignore")


def _matrices(module: nn.Module, settings: Settings) -> Iterator[tuple[nn.Parameter, tuple[int, int, int]]]:
    """The weights that are quantized, each with the number of its matrices, and their outputs and inputs."""
    left_out = [str(name) for key in LEFT_OUT for name in settings.get(key) or ()]
    head = getattr(module, "get_output_embeddings", lambda: None)()
    only_experts = str(getattr(settings.get("quant_method"), "value", settings.get("quant_method"))) == "mxfp4"
    for path, member in module.named_modules():
        if member is head or _matches(path, left_out):
            continue
        if isinstance(member, nn.Linear) and not only_experts:
            yield member.weight, (1, *member.weight.shape)  # type: ignore[misc]
        elif "experts" in path:
            for weight in member.parameters(recurse=False):
                if weight.dim() == 3:
                    yield weight, tuple(weight.shape)


def _matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether a layer, or one that it is in, has one of some names."""
    parts = path.split(".")
    above = [".".join(parts[: end + 1]) for end in range(len(parts))]
    return any(fnmatch(place, name) or place.endswith(f".{name}") for place in above for name in patterns)
