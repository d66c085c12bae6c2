"""Functions and modules that torch.compile wraps run as they are written: its compiler would trace our hooks, too."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def without_compiling() -> Iterator[None]:
    """A block in which nothing is compiled; programs that compile nothing do not import the compiler here."""
    if "torch._dynamo" not in sys.modules:
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
