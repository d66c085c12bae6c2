"""Python's garbage collector while models run: what was there before is put out of its sight."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOCK = threading.Lock()
_ours: list[bool] = []
"""For each block that is entered and not left, whether the objects were frozen here, and not by the program before."""


@contextmanager
def old_objects_frozen() -> Iterator[None]:
    """In this block the collector does not look at the objects that were there before the first block of several.

    What a program froze itself stays frozen. To count frozen objects takes as long as there are many of them, so that
    only the first block asks.
    """
    with _LOCK:
        ours = _ours[0] if _ours else gc.get_freeze_count() == 0
        if ours and not _ours:
            gc.freeze()
        _ours.append(ours)
    try:
        yield
    finally:
        with _LOCK:
            if _ours.pop() and not _ours:
                gc.unfreeze()
