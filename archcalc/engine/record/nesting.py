"""Room on Python's stack for modules that are nested deeply."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

FRAMES = 8
"""Frames that a module's call takes at most: torch's, the hooks of the record, and the module's own."""
DEEPEST = 4000
"""Levels that are given room: each takes some of the C stack, too, which has 8 MiB."""


@contextmanager
def stack_for(depth: int) -> Iterator[None]:
    """Raise Python's limit of recursion by what `depth` levels of modules take, to the end of the block.

    What calls itself without end still meets a limit.
    """
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + FRAMES * min(depth, DEEPEST))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
