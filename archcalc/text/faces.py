"""Results that can be shown: as text, Markdown, LaTeX, JSON, HTML or a data frame.

A result does not know how; whoever renders answers is registered once, when archcalc is imported.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own would have to be imported, and this file is imported with the package
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Render = Callable[[Any, str], Any]

RENDERERS: list[Render] = []
"""From a result and the name of a format to what is shown."""


class Shown:
    """A result with the answer that the command line prints for it."""

    def __str__(self) -> str:
        """The answer as the command line prints it to a file."""
        return str(self._as("plain"))

    def _repr_html_(self) -> str:
        """The answer as tables of HTML, for notebooks."""
        return str(self._as("html"))

    def to_markdown(self) -> str:
        """The answer in Markdown."""
        return str(self._as("md"))

    def to_latex(self) -> str:
        """The answer in LaTeX."""
        return str(self._as("latex"))

    def to_json(self) -> str:
        """The answer as the document that --json prints."""
        return str(self._as("json"))

    def to_dataframe(self) -> Any:
        """The rows of that document as a pandas.DataFrame; MissingExtra without pandas."""
        return self._as("dataframe")

    def _as(self, format_: str) -> Any:
        if not RENDERERS:
            raise LookupError("nothing is registered that renders results: import archcalc")
        return RENDERERS[-1](self, format_)
