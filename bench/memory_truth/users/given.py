"""What the modules are given: images, sequences, token numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Inputs = Callable[[int], tuple[Tensor, ...]]
"""From the size of a batch to what forward receives."""
Program = tuple[Callable[[], nn.Module], Inputs]
"""How a module is made, and its inputs."""


def floats(*sizes: int) -> Inputs:
    """Random numbers, N x the sizes."""
    return lambda batch: (torch.randn(batch, *sizes),)


def tokens(vocabulary: int, *sizes: int) -> Inputs:
    """Token numbers below the size of the vocabulary, N x the sizes."""
    return lambda batch: (torch.randint(0, vocabulary, (batch, *sizes)),)


def both(first: Inputs, second: Inputs) -> Inputs:
    """The inputs of the first, then those of the second."""
    return lambda batch: (*first(batch), *second(batch))
