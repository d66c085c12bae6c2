"""Weights as the library compressed-tensors stores them, the format of vLLM and of Red Hat's checkpoints.

A configuration has groups; each names its layers and says how their weights, and what goes into the layers, are
quantized. The rules are those of compressed_tensors 0.20: quantization/lifecycle/initialize.py and compressors/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from torch import nn

Settings = Mapping[str, Any]
NAMES = ("compressed-tensors", "compressed_tensors")
DENSE = ("dense", "fakequant")
"""Formats whose weights have the model's own type."""
WHOLE = ("int-quantized", "float-quantized", "naive-quantized")
"""Formats of one number in each one or two bytes."""
MICRO = {"nvfp4-pack-quantized": 4, "mxfp4-pack-quantized": 4, "mxfp6-pack-quantized": 6, "mxfp8-quantized": 8}
"""Formats of small floats with scales of one byte: the bits of a float."""
INFERRED = ("", "mixed-precision")
SHAPE = 16
"""Bytes of the shape that stands beside packed weights: two whole numbers of eight bytes."""


@dataclass(frozen=True)
class Scheme:
    """How a group of layers is stored: settings of their weights, inputs and outputs, and the format."""

    weights: Settings
    inputs: Settings
    outputs: Settings
    format: str

    def matrix(self, outputs: int, inputs: int, width: int) -> int:
        """Bytes of a matrix with its scales and zeros, and with the fixed scales of what goes in and comes out.

        `width` are the bytes of a scale that has the model's own type.

        >>> four = {"num_bits": 4, "strategy": "group", "group_size": 128}
        >>> Scheme(four, {}, {}, "pack-quantized").matrix(256, 512, 2)  # 256·512/2, 256·4 scales of 2, the shape
        67600
        >>> zeros = Scheme({**four, "symmetric": False}, {}, {}, "pack-quantized")
        >>> zeros.matrix(256, 512, 2) - 67600  # 256·4 zeros of 4 bits
        512
        >>> Scheme({"num_bits": 8, "type": "float", "strategy": "channel"}, {}, {}, "float-quantized").matrix(10, 64, 2)
        660
        """
        bits, symmetric = int(self.weights.get("num_bits", 8)), self.weights.get("symmetric", True)
        rows, groups = _scales(self.weights, outputs, inputs)
        scales = rows * groups
        beside = self._of_activations(width) + _reordered(self.weights, inputs)
        if self.format in MICRO:
            whole = 4 if _strategy(self.weights) == "tensor_group" else 0
            return ceil(outputs * inputs * MICRO[self.format] / 8) + scales + whole + beside
        if self.format == "pack-quantized":
            zeros = 0 if symmetric else 4 * ceil(rows * bits / 32) * groups
            return 4 * outputs * ceil(inputs * bits / 32) + width * scales + zeros + SHAPE + beside
        whole = 1 if bits <= 8 else 2
        return whole * (outputs * inputs + (0 if symmetric else scales)) + width * scales + beside

    def _of_activations(self, width: int) -> int:
        """Bytes of scales that are fixed beforehand; dynamic ones are found as the model runs."""
        total = 0
        for activations in (self.inputs, self.outputs):
            dynamic = activations.get("dynamic", False)
            grouped = _strategy(activations) == "tensor_group"
            if activations and dynamic is not True and grouped:
                total += 4
            if activations and not dynamic and not grouped:
                total += width + (0 if activations.get("symmetric", True) else 1)
        return total

    @property
    def computes_in(self) -> str:
        """The form that products of these layers have: of their weights alone, or of what goes in as well."""
        bits = int(self.weights.get("num_bits", 8))
        if not self.inputs:
            return "int4" if bits == 4 else f"w{bits}a16"
        floats, narrow = self.inputs.get("type") == "float", int(self.inputs.get("num_bits", 8)) == 4
        if floats:
            return "nvfp4" if narrow else "fp8" if bits == 8 else f"w{bits}afp8"
        return "int8" if bits == 8 else f"w{bits}a8"


def is_known(settings: Settings) -> bool:
    """Whether the bytes of every group are known here; not those of sparse formats, and of schemes told by name."""
    sparsity = settings.get("sparsity_config") or {}
    groups = _groups(settings)
    return (
        sparsity.get("format", "dense") in DENSE
        and all(isinstance(group, Mapping) for group in groups)
        and all(_scheme(group, settings).format in (*DENSE, *WHOLE, *MICRO, "pack-quantized") for group in groups)
    )


def scheme_of(names: Sequence[str], member: nn.Module | None, settings: Settings) -> Scheme | None:
    """How the weights of a layer are stored, by the names that checkpoints may have for it; None for as they are.

    A layer without a module, one expert of a stack, is a Linear. A name comes before an expression, and both before
    a class.
    """
    classes = {kind.__name__ for kind in type(member).__mro__} if member is not None else {"Linear"}
    if any(_named(names, name) or name in classes for name in settings.get("ignore") or ()):
        return None
    targets = {target: group for group in _groups(settings) for target in group.get("targets") or ()}
    fitting = [target for target in sorted(targets, key=lambda t: ("re:" in t, t)) if _named(names, target)]
    fitting += [target for target in sorted(targets) if target in classes]
    scheme = _scheme(targets[fitting[0]], settings) if fitting else None
    return scheme if scheme and scheme.weights and scheme.format not in DENSE else None


def _groups(settings: Settings) -> list[Any]:
    return list((settings.get("config_groups") or {}).values())


def _named(names: Sequence[str], target: str) -> bool:
    if target.startswith("re:"):
        return any(re.match(target.removeprefix("re:"), name) for name in names)
    return target in names


def _scheme(group: Settings, settings: Settings) -> Scheme:
    weights, inputs, outputs = (group.get(of) or {} for of in ("weights", "input_activations", "output_activations"))
    format_ = str(group.get("format") or settings.get("format") or "")
    return Scheme(weights, inputs, outputs, _inferred(weights, inputs) if format_ in INFERRED else format_)


def _inferred(weights: Settings, inputs: Settings) -> str:
    """The format that the library chooses where none is stated."""
    bits, group = weights.get("num_bits", 8), weights.get("group_size")
    if not weights:
        return "dense"
    if weights.get("type", "int") == "int":
        return "int-quantized" if inputs and inputs.get("type", "int") == "int" else "pack-quantized"
    if bits == 8 and group == 32 and "uint8" in str(weights.get("scale_dtype")):
        return "mxfp8-quantized"
    named: dict[Any, str] = {
        (4, 32): "mxfp4-pack-quantized",
        (6, 32): "mxfp6-pack-quantized",
        (4, 16): "nvfp4-pack-quantized",
    }
    return named.get((bits, group), "float-quantized")


def _strategy(settings: Settings) -> str:
    """The strategy of the scales; if it is not stated, the size of groups decides."""
    size = settings.get("group_size")
    return str(settings.get("strategy") or ("tensor" if size is None else "channel" if size < 0 else "group"))


def _scales(weights: Settings, outputs: int, inputs: int) -> tuple[int, int]:
    """How many scales a matrix has, down and across."""
    strategy = _strategy(weights)
    if strategy == "block":
        down, across = weights["block_structure"]
        return ceil(outputs / down), ceil(inputs / across)
    if strategy in ("group", "tensor_group"):
        return outputs, ceil(inputs / int(weights["group_size"]))
    if strategy not in ("tensor", "channel"):
        raise ValueError(f"weights have no strategy '{strategy}'")
    return (outputs if strategy == "channel" else 1), 1


def _reordered(weights: Settings, inputs: int) -> int:
    """Bytes of the group of each input, which former versions store where inputs are sorted by activation."""
    return 4 * inputs if str(weights.get("actorder") or "").lower() in ("group", "dynamic") else 0


def form_of(settings: Settings) -> str:
    """The form that products of the first group with quantized weights have."""
    schemes = [_scheme(group, settings) for group in _groups(settings)]
    return next((scheme.computes_in for scheme in schemes if scheme.weights), "none")
