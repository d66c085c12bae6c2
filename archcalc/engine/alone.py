"""One run at a time, and what it does to the process kept from other threads."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any, TextIO

LOCK = threading.RLock()
"""Held while a model is loaded and run: a run has hooks in torch that belong to the process."""

DEEP = 5000
"""Calls that may be nested in a run: five times Python's own limit."""
ENOUGH = 8 * 2**20
"""Bytes of a stack, which is what threads have by default, that hold as many calls."""


class ThreadsOutput:
    """A stream in the place of stdout: what one thread writes goes elsewhere, what others write where it went."""

    def __init__(self, own: TextIO, others: TextIO) -> None:
        self._owner, self._own, self._others = threading.get_ident(), own, others

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own if threading.get_ident() == self._owner else self._others, name)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """The block of a run: no other run beside it, and what the user's code prints goes to stderr."""
    with LOCK, contextlib.redirect_stdout(ThreadsOutput(sys.stderr, sys.stdout)), _deeper():
        yield


@contextlib.contextmanager
def _deeper() -> Iterator[None]:
    """Room for what archcalc adds to each level of nested modules: hooks when they run, steps when they are copied.

    A model that torch runs within Python's limit then runs here too, and endless recursion still ends in an error;
    for that, threads that were given a small stack get no more room.
    """
    limit, stack = sys.getrecursionlimit(), threading.stack_size()
    sys.setrecursionlimit(limit if 0 < stack < ENOUGH else max(limit, DEEP))
    try:
        yield
    finally:
        with contextlib.suppress(RecursionError):  # the caller is deeper than that already
            sys.setrecursionlimit(limit)
