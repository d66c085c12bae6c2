"""One run at a time, and what it does to the process kept from other threads."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import Any, TextIO

LOCK = threading.RLock()
"""Held while a model is loaded and run: a run has hooks in torch that belong to the process."""


class ThreadsOutput:
    """A stream in the place of stdout: what one thread writes goes elsewhere, what others write where it went."""

    def __init__(self, own: TextIO, others: TextIO) -> None:
        self._owner, self._own, self._others = threading.get_ident(), own, others

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own if threading.get_ident() == self._owner else self._others, name)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """The block of a run: no other run beside it, and what the user's code prints goes to stderr."""
    with LOCK, contextlib.redirect_stdout(ThreadsOutput(sys.stderr, sys.stdout)):
        yield
