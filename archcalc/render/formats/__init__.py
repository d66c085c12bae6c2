"""Report -> Table -> text. Views make documents; a format is one file and one line here. No torch in this room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archcalc.errors import WrongUse
from archcalc.render.document import Document
from archcalc.render.formats.as_csv import as_csv
from archcalc.render.formats.as_json import as_json
from archcalc.render.formats.as_latex import as_latex
from archcalc.render.formats.as_markdown import as_markdown
from archcalc.render.formats.as_plain import as_plain


@dataclass(frozen=True)
class Screen:
    """The terminal: its width in columns (None: no limit), whether it shows colour, and whether all footnotes."""

    width: int | None = None
    colour: bool = False
    verbose: bool = False


def _as_table(documents: Sequence[Document], screen: Screen) -> str:
    """For a terminal; imported when used, since other formats do without."""
    from archcalc.render.formats.as_table import as_table

    return as_table(documents, screen.width, screen.colour, screen.verbose)


FORMATS: dict[str, Callable[[Sequence[Document], Screen], str]] = {
    "table": _as_table,
    "plain": lambda documents, screen: as_plain(documents, screen.verbose),
    "json": lambda documents, screen: as_json(documents),
    "csv": lambda documents, screen: as_csv(documents),
    "md": lambda documents, screen: as_markdown(documents),
    "latex": lambda documents, screen: as_latex(documents),
}
EXTENSIONS = {".json": "json", ".csv": "csv", ".md": "md", ".tex": "latex", ".txt": "plain"}
FOR_MACHINES = frozenset(("json", "csv"))


def render(documents: Sequence[Document], format_: str, screen: Screen) -> str:
    """The documents as one text in a format; WrongUse for a format that does not exist."""
    if format_ not in FORMATS:
        raise WrongUse(f"there is no format '{format_}'.", f"choose one of  {', '.join(FORMATS)}")
    return FORMATS[format_](documents, screen)
