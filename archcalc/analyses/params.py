"""Parameters: unique elements, tied ones once; trainable, frozen and buffers apart."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from archcalc.analyses.report import Finding
from archcalc.tracing import Trace

KEYS = ("params", "trainable_params", "buffers", "params_bytes", "buffers_bytes")


@dataclass(frozen=True)
class Params:
    """Elements and bytes of parameters and buffers, at the module that registered them first."""

    of_steps: ClassVar[bool] = False

    def __call__(self, trace: Trace) -> Finding:
        """Count each parameter and buffer at its owner."""
        own: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(KEYS, 0))
        ties = []
        for parameter in trace.parameters:
            tensor = trace.tensors[parameter.tensor]
            elements = prod(tensor.shape)
            bytes_ = elements * element_size(tensor.dtype)
            figures = own[parameter.owner]
            if parameter.kind == "buffer":
                figures["buffers"] += elements
                figures["buffers_bytes"] += bytes_
                continue
            figures["params"] += elements
            figures["params_bytes"] += bytes_
            figures["trainable_params"] += elements * parameter.trainable
            if len(parameter.names) > 1:
                ties.append(f"{' = '.join(parameter.names)} is one tensor and counted once")
        return Finding(KEYS, own, notes=tuple(ties))


def element_size(dtype: str) -> int:
    """Bytes of one element.

    >>> element_size("float32"), element_size("bfloat16"), element_size("bool")
    (4, 2, 1)
    """
    sizes = {"bool": 1, "complex64": 8, "complex128": 16, "complex32": 4, "bfloat16": 2}
    if dtype in sizes:
        return sizes[dtype]
    digits = "".join(c for c in dtype.removeprefix("float8").partition("_")[0] if c.isdigit())
    return int(digits) // 8 if digits else 1
