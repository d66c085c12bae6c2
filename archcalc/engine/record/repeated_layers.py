"""Layers of a list that are alike: one of each kind runs, the others return what it returned.

A model of 61 layers of two kinds is then traced as fast as one of two layers; figures of a layer that runs count as
often as there are layers like it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from torch import nn

from archcalc.engine.torch_private import own_buffers, own_parameters

FEWEST = 3
"""Shorter lists run as they are."""
PLAIN = (int, float, str, bool, type(None))


class Repeated(nn.Module):
    """Stands for a layer that is like `first`: it returns what that one returned last, and has its attributes."""

    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.__dict__["first"], self.__dict__["returned"] = first, None

    @property  # type: ignore[misc]  # of every object it can be set
    def __class__(self) -> type[Any]:
        """The class of the layer that this one stands for: code that looks for layers of it finds this one, too.

        transformers does so to collect the states behind each layer.
        """
        return type(self.__dict__["first"])

    def __getattr__(self, name: str) -> Any:
        """What the layer has that this one stands for."""
        return getattr(self.__dict__["first"], name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the first layer returned last."""
        return self.__dict__["returned"]

    def listen(self) -> None:
        """From now on note what the first layer returns."""

        def note(module: nn.Module, args: Any, out: Any) -> None:
            self.__dict__["returned"] = out

        self.__dict__["first"].register_forward_hook(note)


def one_of_each_kind(module: nn.Module) -> dict[str, int]:
    """Replace layers that are like an earlier one of their list; how many layers each path that is left stands for.

    Only the outermost lists are looked at: experts inside a layer all stay. Paths that stand for themselves alone are
    left out.
    """
    counts: dict[str, int] = {}
    for path, layers in list(_outermost_lists(module, "")):
        firsts: dict[Any, int] = {}
        numbers = _numbers(layers)
        for number, layer in enumerate(list(layers)):
            first = firsts.setdefault(_kind(layer, numbers), number)
            place = f"{path}.{first}" if path else str(first)
            counts[place] = counts.get(place, 0) + 1
            if first != number:
                layers[number] = Repeated(layers[first])
    return {place: count for place, count in counts.items() if count > 1}


def _outermost_lists(module: nn.Module, path: str) -> Iterator[tuple[str, nn.ModuleList]]:
    for name, child in module.named_children():
        place = f"{path}.{name}" if path else name
        is_list = isinstance(child, nn.ModuleList) and len(child) >= FEWEST
        if is_list and all(any(True for _ in layer.children()) for layer in child.children()):
            yield place, cast("nn.ModuleList", child)
        else:
            yield from _outermost_lists(child, place)


def _numbers(layers: nn.ModuleList) -> set[tuple[str, str]]:
    """The attributes, by module and name, that are the layer's own number in every layer that has them."""
    differ: set[tuple[str, str]] = set()
    same: set[tuple[str, str]] = set()
    for number, layer in enumerate(layers):
        for path, member in layer.named_modules():
            for name, value in vars(member).items():
                if type(value) is int:
                    (same if value == number else differ).add((path, name))
    return same - differ


def _kind(layer: nn.Module, numbers: set[tuple[str, str]]) -> Any:
    """What two layers must have in common to be alike: classes, shapes, and plain attributes but their own number."""
    return tuple(
        (
            path,
            type(member),
            tuple(
                (name, _form(tensor)) for own in (own_parameters, own_buffers) for name, tensor in own(member).items()
            ),
            tuple(
                sorted(
                    (name, repr(value))
                    for name, value in vars(member).items()
                    if _is_plain(value) and (path, name) not in numbers
                )
            ),
        )
        for path, member in layer.named_modules()
    )


def _form(tensor: Any) -> Any:
    return None if tensor is None else (tuple(tensor.shape), tensor.dtype)


def _is_plain(value: Any) -> bool:
    return isinstance(value, PLAIN) or (isinstance(value, tuple | list) and all(isinstance(v, PLAIN) for v in value))
