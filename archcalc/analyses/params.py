"""Parameters: unique elements, tied ones once; trainable, frozen and buffers apart."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import prod
from typing import ClassVar

from archcalc.analyses.report import Finding
from archcalc.analyses.weights import OfType, by_type, unregistered
from archcalc.tracing import Trace, element_size

KEYS = ("params", "trainable_params", "buffers", "params_bytes", "buffers_bytes")


STORED = "stored_params_bytes"
"""Bytes of parameters as a quantized checkpoint stores them; only where a configuration states a quantization."""


@dataclass(frozen=True)
class ByType:
    """Parameters and buffers by their types, those with the most bytes first."""

    types: tuple[OfType, ...]


@dataclass(frozen=True)
class Params:
    """Elements and bytes of parameters and buffers, at the module that registered them first. Record: ByType.

    For a quantized checkpoint also the bytes as it stores them, scales included (stored_params_bytes).
    """

    of_steps: ClassVar[bool] = False

    def __call__(self, trace: Trace) -> Finding:
        """Count each parameter and buffer at its owner."""
        keys = (*KEYS, *([STORED] if any(p.stored is not None for p in trace.parameters) else []))
        own: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(keys, 0))
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
            if STORED in keys:
                figures[STORED] += bytes_ if parameter.stored is None else parameter.stored
            figures["trainable_params"] += elements * parameter.trainable
            if len(parameter.names) > 1:
                ties.append(f"{' = '.join(parameter.names)} is one tensor and counted once")
        return Finding(keys, own, notes=(*ties, *unregistered(trace)), record=ByType(by_type(trace)))
