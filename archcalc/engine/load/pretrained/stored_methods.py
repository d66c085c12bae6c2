"""Bytes of one matrix as methods of quantization store it, its scales and zeros included."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

Settings = Mapping[str, Any]
Bytes = Callable[[int, int, Settings], float]
"""Bytes of one matrix of some outputs and inputs."""


def fp8(outputs: int, inputs: int, settings: Settings) -> float:
    """Bytes of a matrix of 8-bit floats with a scale for each block, or one in all.

    A scale takes 4 bytes, or one where the settings say that it is a power of two. One more of 4 bytes is of what goes
    in, if that is fixed.

    >>> fp8(256, 7168, {"weight_block_size": [128, 128]}) - 256 * 7168  # 2 * 56 scales
    448
    >>> fp8(256, 7168, {"activation_scheme": "static"}) - 256 * 7168
    8
    """
    fixed = 4 if settings.get("activation_scheme") == "static" else 0
    if not settings.get("weight_block_size"):
        return outputs * inputs + 4 + fixed
    down, across = (int(size) for size in settings["weight_block_size"])
    return outputs * inputs + _scale(settings) * ceil(outputs / down) * ceil(inputs / across) + fixed


def fp4_expert(outputs: int, inputs: int, settings: Settings) -> float:
    """Bytes of an expert of 4-bit floats beside layers of fp8, with a scale for each 32 of a row.

    >>> fp4_expert(2, 64, {"scale_fmt": "ue8m0"})  # 128 / 2 + 2 * 2
    68.0
    """
    return outputs * inputs / 2 + _scale(settings) * outputs * ceil(inputs / 32)


def _scale(settings: Settings) -> int:
    return 1 if settings.get("scale_fmt") == "ue8m0" else 4


def mxfp8(outputs: int, inputs: int, settings: Settings) -> float:
    """Bytes of a matrix of 8-bit floats with a scale of one byte for each 32 of a row.

    >>> mxfp8(2, 64, {})  # 128 + 2 * 2
    132
    """
    return outputs * inputs + outputs * ceil(inputs / 32)


def eetq(outputs: int, inputs: int, settings: Settings) -> float:
    """Bytes of a matrix of EETQ's 8-bit integers with a 2-byte scale for each row.

    >>> eetq(10, 20, {})
    220
    """
    return outputs * inputs + 2 * outputs


def bitnet(outputs: int, inputs: int, settings: Settings) -> float:
    """Bytes of a matrix of numbers -1, 0 and 1, four in a byte, and a 2-byte scale.

    >>> bitnet(8, 20, {})
    42
    """
    return outputs // 4 * inputs + 2


def mxfp4(outputs: int, inputs: int, settings: Settings) -> float:
    """Bytes of a matrix of 4-bit floats with a scale of one byte for each 32 of a row.

    >>> mxfp4(2, 64, {})  # 128 / 2 + 2 * 2
    68.0
    """
    return outputs * inputs / 2 + outputs * ceil(inputs / 32)


def eight_bits_by_row(outputs: int, inputs: int, settings: Settings) -> float:
    """Bytes of a matrix of 8-bit numbers with a 4-byte scale for each row: bitsandbytes' integers, FBGEMM's floats.

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


def awq(outputs: int, inputs: int, settings: Settings) -> float:
    """Bytes of a matrix of AWQ: packed numbers, 2-byte scales and packed zeros of each group.

    >>> awq(128, 256, {"bits": 4, "group_size": 128})  # 128*256/2 + 2*128*2 + 2*128/2
    17024.0
    """
    bits, groups = _bits(settings), _groups(inputs, settings)
    return outputs * inputs * bits / 8 + groups * outputs * (2 + bits / 8)


def gptq(outputs: int, inputs: int, settings: Settings) -> float:
    """Bytes of a matrix of GPTQ: packed numbers, 2-byte scales and packed zeros of each group, a group for each input.

    >>> gptq(128, 256, {"bits": 4, "group_size": 128})  # 128*256/2 + 2*128*2 + 2*128/2 + 4*256
    18048.0
    """
    return awq(outputs, inputs, settings) + 4 * inputs


def _bits(settings: Settings) -> int:
    return int(settings.get("bits") or settings.get("w_bit") or 4)


def _groups(inputs: int, settings: Settings) -> int:
    size = int(settings.get("group_size") or settings.get("q_group_size") or 128)
    return ceil(inputs / size) if size > 0 else 1


METHODS: dict[str, Bytes] = {
    "fp8": fp8, "mxfp8": mxfp8, "mxfp4": mxfp4, "fbgemm_fp8": eight_bits_by_row, "eetq": eetq, "bitnet": bitnet,
    "gptq": gptq, "awq": awq,
}  # fmt: skip


def is_eight_bit(settings: Settings) -> bool:
    """Whether settings of bitsandbytes mean 8 bits and not 4."""
    return bool(settings.get("load_in_8bit", settings.get("_load_in_8bit")))


def method_of(name: str, settings: Settings, of_experts: bool = False) -> Bytes | None:
    """The bytes of a matrix by a method, which may differ for experts; None for a method that is not known here.

    Not known are also layers with settings of their own (GPTQModel's `dynamic`), and what is quantized at the start
    of a run from weights of the model's own type.
    """
    if name == "bitsandbytes" or settings.get("load_in_4bit") or settings.get("load_in_8bit"):
        return eight_bits_by_row if is_eight_bit(settings) else four_bits_by_block
    if (name == "gptq" and settings.get("dynamic")) or settings.get("quantization_mode") == "online":
        return None
    if name == "fp8" and of_experts and settings.get("expert_dtype") == "fp4":
        return fp4_expert
    return METHODS.get(name)


def computes_in(name: str, settings: Settings) -> str:
    """The form that products with weights of a known method have: theirs, or a whole one for what is only stored."""
    if name == "bitsandbytes" or "load_in_8bit" in settings:
        return "int8" if is_eight_bit(settings) else "int4"
    if name in ("fp8", "mxfp8", "fbgemm_fp8"):
        return "fp8"
    if name == "mxfp4":
        return "mxfp4"
    bits = {"eetq": 8, "bitnet": 2}.get(name) or _bits(settings)
    return "int4" if bits == 4 else f"w{bits}a16"
