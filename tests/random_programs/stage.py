"""What a stage of a random program is: a module for a shape, with sizes drawn at random, and the kinds it lies between.

A stage knows nothing of archcalc. It takes one tensor of a kind and returns one; programs join stages of all kinds.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]
VOCABULARY = 16
"""Tokens are numbers below it; no tensor has more channels, so that positions of a maximum are tokens too."""


class Kind(Enum):
    """What a tensor between two stages is, with the least and the greatest size of each axis after the batch."""

    IMAGE = ((2, 12), (4, 10), (4, 10))
    """N, C, H, W with an even C."""
    SEQUENCE = ((3, 8), (2, 12))
    """N, T, C with an even C."""
    VECTOR = ((2, 12),)
    """N, C with an even C."""
    TOKENS = ((3, 9),)
    """N, T of int64."""

    @property
    def channels(self) -> int | None:
        """The axis of the channels; None for tokens."""
        return {"IMAGE": 1, "SEQUENCE": 2, "VECTOR": 1}.get(self.name)

    def fits(self, tensor: Tensor) -> bool:
        """Whether a tensor is of this kind and of a size that every stage can take."""
        floats = tensor.dtype == (torch.int64 if self is Kind.TOKENS else torch.float32)
        if not floats or tensor.dim() != 1 + len(self.value):
            return False
        even = self.channels is None or tensor.shape[self.channels] % 2 == 0
        return even and all(low <= size <= high for size, (low, high) in zip(tensor.shape[1:], self.value, strict=True))


IMAGE, SEQUENCE, VECTOR, TOKENS = Kind


class Draw:
    """The random choices of one stage; the same seed makes the same choices."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)

    def pick(self, *options: Any) -> Any:
        """One of the options."""
        return self.random.choice(options)

    def flag(self) -> bool:
        """True or False."""
        return self.random.random() < 0.5

    def size(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return self.random.randint(low, high)

    def even(self, low: int = 2, high: int = 12) -> int:
        """An even number of channels."""
        return 2 * self.random.randint(low // 2, high // 2)


Make = Callable[..., nn.Module]


@dataclass(frozen=True)
class Stage:
    """A kind of stage: its name, the kinds of tensor it takes and gives, and the function that makes its module."""

    name: str
    takes: Kind
    gives: Kind
    make: Make


STAGES: dict[str, Stage] = {}
"""Every kind of stage by its name."""


def stage(takes: Kind, gives: Kind | None = None) -> Callable[[Make], Make]:
    """Register a function (draw, *sizes of the input) -> module as a kind of stage."""

    def register(make: Make) -> Make:
        name = make.__name__.rstrip("_")
        assert name not in STAGES, f"two stages are called {name}"
        STAGES[name] = Stage(name, takes, gives or takes, make)
        return make

    return register


class Apply(nn.Module):
    """A function of (module, x) as a module, with the parts that it uses.

    Modules and parameters are registered, other tensors are buffers, all else is an attribute.
    """

    def __init__(self, function: Callable[[Any, Any], Any], **parts: Any) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, x: Any) -> Any:
        return self.function(self, x)


def parameter(*sizes: int, dtype: torch.dtype = torch.float32) -> nn.Parameter:
    """A parameter of small random numbers."""
    return nn.Parameter(torch.randn(*sizes, dtype=dtype) * 0.2)
