"""How a run with data tells that it gets on. No torch here."""

from __future__ import annotations

from collections.abc import Callable

Watch = Callable[[], None]
"""Called for each op that is computed on values."""


def unwatched() -> None:
    """Ignore the progress."""
