"""Parts of a model that a run did not use, such as the tower of an image that was not given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

from archcalc.text.units import exact, plural
from archcalc.tracing import Call, Parameter, Tensor

LEAST = 0.01
"""The share of all parameters below which a part is not named."""
MOST = 4
"""How many parts are named."""


def parts_not_run(
    parameters: Sequence[Parameter], tensors: Sequence[Tensor], calls: Sequence[Call]
) -> Mapping[str, int]:
    """The outermost modules of which no op used a parameter, with the number of their parameters.

    Small ones are left out. Nothing if no op used any parameter.
    """
    used: set[int] = set()
    for call in calls:
        for value in call.inputs.values():
            used.update(value if isinstance(value, tuple) else (value,))
    sizes: dict[str, int] = {}
    runs: set[str] = set()
    total = 0
    for parameter in parameters:
        if parameter.kind != "parameter":
            continue
        size = prod(tensors[parameter.tensor].shape)
        total += size
        for place in _places(parameter.names[0]):
            sizes[place] = sizes.get(place, 0) + size
        if parameter.tensor in used:
            runs.update(place for name in parameter.names for place in _places(name))
    idle = [place for place in sizes if place not in runs and (not _above(place) or _above(place) in runs)]
    return {place: sizes[place] for place in idle if sizes[place] >= LEAST * total} if runs else {}


def in_words(parts: Mapping[str, int]) -> str:
    """The note about parts that did not run."""
    named = [f"{place} ({exact(size)} parameters)" for place, size in list(parts.items())[:MOST]]
    more = [plural(len(parts) - MOST, "other part")] if len(parts) > MOST else []
    return f"{', '.join([*named, *more])} did not run: MACs and memory are of the rest"


def _places(name: str) -> list[str]:
    """The paths of the modules that a parameter is in, outermost first."""
    parts = name.split(".")[:-1]
    return [".".join(parts[: end + 1]) for end in range(len(parts))]


def _above(place: str) -> str:
    return place.rpartition(".")[0]
