"""How a long study tells that it gets on; the command line shows it, Python hears nothing unless it asks."""

from __future__ import annotations


class Observer:
    """Receives the progress of a study; this base class ignores it."""

    def expect(self, parts: int) -> None:
        """Called before a study begins, with the number of its parts."""

    def estimate(self, parts: int) -> None:
        """Called with about how many parts there are, where only the study's course tells; may be called again."""

    def advance(self) -> None:
        """Called when one more part is done."""


SILENT = Observer()
