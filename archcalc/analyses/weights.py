"""Weights as they are: their types and bytes, and those that are used and that no module registers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from archcalc.ops.registry import macs_of
from archcalc.text import units
from archcalc.tracing import Shape, Trace, element_size

COMPLEX = "complex"
"""Types that begin so have two real numbers an element."""


@dataclass(frozen=True)
class OfType:
    """Elements and bytes of the parameters and buffers of one type."""

    dtype: str
    params: int
    params_bytes: int
    buffers: int
    buffers_bytes: int


def by_type(trace: Trace) -> tuple[OfType, ...]:
    """Parameters and buffers by type, those with the most bytes first."""
    elements: dict[str, dict[str, int]] = {}
    for parameter in trace.parameters:
        tensor = trace.tensors[parameter.tensor]
        counts = elements.setdefault(tensor.dtype, {"parameter": 0, "buffer": 0})
        counts[parameter.kind] += prod(tensor.shape)
    types = [
        OfType(
            dtype,
            counts["parameter"],
            counts["parameter"] * element_size(dtype),
            counts["buffer"],
            counts["buffer"] * element_size(dtype),
        )
        for dtype, counts in elements.items()
    ]
    return tuple(sorted(types, key=lambda of: -of.params_bytes - of.buffers_bytes))


def types_in_words(trace: Trace) -> str:
    """The types of the parameters, those with the most bytes first; the type that was asked for if there are none.

    'float32', 'float16 and float32', 'float16, float32 and complex64'
    """
    names = [of.dtype for of in by_type(trace) if of.params]
    if not names:
        return str(trace.assumptions["dtype"])
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def real_numbers(trace: Trace) -> int:
    """Real numbers in the parameters: a complex element has two."""
    return sum(of.params * (2 if of.dtype.startswith(COMPLEX) else 1) for of in by_type(trace))


def used_unregistered(trace: Trace) -> dict[str, list[Shape]]:
    """The shapes of the weights that no module registers, by the path of the module that multiplies by them."""
    return {path: [shape for shape, _ in several] for path, several in _unregistered(trace).items()}


def _unregistered(trace: Trace) -> dict[str, list[tuple[Shape, str]]]:
    """Shapes and ops of the tensors that modules multiply by, that are there before the run and not registered."""
    first_in: dict[int, int] = {}
    for number, tensor in enumerate(trace.tensors):
        first_in.setdefault(tensor.storage, number)
    given = {trace.tensors[p.tensor].storage for p in trace.parameters}
    given |= {trace.tensors[t].storage for t in trace.input_tensors}
    found: dict[str, dict[int, str]] = {}
    for call in trace.calls:
        if macs_of(trace, call) is not None:
            for storage in (trace.tensors[t].storage for t in call.tensors()):
                block = trace.storages[storage]
                if block.birth == -1 and block.role in ("constant", "saved") and storage not in given:
                    found.setdefault(trace.path(call), {}).setdefault(storage, call.op)
    return {
        path: [(trace.shape(first_in[storage]), op) for storage, op in by_storage.items()]
        for path, by_storage in found.items()
    }


def unregistered(trace: Trace) -> Iterator[str]:
    """A note for each module that multiplies by tensors that are there before the run and that no module registers.

    Such are the weights of layers in a plain list. They are not parameters, so nothing counts or trains them.
    """
    for path, several in _unregistered(trace).items():
        told = [f"{units.shape(shape)} in {op}" for shape, op in several[:4]]
        told += [f"{len(several) - 4} more"] if len(several) > 4 else []
        elements = sum(prod(shape) for shape, _ in several)
        yield (
            f"{path or 'the model itself'} multiplies by tensors that are no parameter, buffer or input "
            f"({', '.join(told)}): {units.plural(elements, 'element')} that no figure of parameters has; "
            "layers in a plain list are not registered, those in nn.ModuleList are"
        )
