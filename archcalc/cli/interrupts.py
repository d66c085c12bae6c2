"""Ctrl-C while a command works: files and workers are put away, the exit code is 130, and there is no traceback."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any

NOTED: list[int] = []
"""The interrupts of this process. An import or the user's code may catch one, or make another error of it."""


def interruptible(work: Callable[[], int], leave: Callable[..., None]) -> int:
    """Run the work of a process and return its exit code; `leave` handles an interrupt before and after it."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, _note)
        sys.unraisablehook = _raise_again
    try:
        code = work()
    finally:
        if signal.getsignal(signal.SIGINT) is _note:
            signal.signal(signal.SIGINT, leave)
    if not NOTED:
        return code
    exec("pass")  # or Python ends as if killed, where an interrupt left an exec() such as those of dataclasses
    return 130


def interrupted() -> bool:
    """Whether this process was interrupted."""
    return bool(NOTED)


def _note(number: int, _: Any) -> None:
    NOTED.append(number)
    raise KeyboardInterrupt


def _raise_again(unraisable: Any, /) -> None:
    """An interrupt that came while an object was finalised cannot be raised there: raise it where work goes on."""
    if isinstance(unraisable.exc_value, KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    else:
        sys.__unraisablehook__(unraisable)
