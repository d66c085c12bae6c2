"""Many runs in one process, which does not collect garbage by itself: what the runs leave is collected now and then."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from archcalc.engine.collector import old_objects_frozen

MANY = 100_000
"""Op calls after which a collection is worth its time: what they leave is at most some 150 MB."""


@contextmanager
def gc_paused() -> Iterator[Callable[[int], None]]:
    """A block that gives a function to call after each run with its number of op calls.

    What was there before the block is put out of the collector's sight: all of torch, which is long to look through.
    """
    left = 0

    def ran(calls: int) -> None:
        nonlocal left
        left += calls
        if left > MANY:
            gc.collect()
            left = 0

    with old_objects_frozen():
        yield ran
