"""How a long study tells that it gets on; the command line shows it, Python hears nothing unless it asks."""

from __future__ import annotations


class Observer:
    """Told of each part of a study that is done. This one keeps silent."""

    def expect(self, parts: int) -> None:
        """So many parts will be done in all."""

    def advance(self) -> None:
        """One more part is done."""


SILENT = Observer()
