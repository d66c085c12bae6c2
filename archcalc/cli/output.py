"""The way out: choose the format, write to stdout or a file whole or not at all, tell errors."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from archcalc.errors import ArchcalcError, CannotWrite, WrongUse, writing
from archcalc.render.document import Document
from archcalc.studies.observer import SILENT, Observer
from archcalc.text.encoding import encodable
from archcalc.text.files import replace_file


class ReaderGone(Exception):
    """The pipe was closed early, as by `| head`: no error. Not an OSError, which typer turns into exit code 1."""


def emit(documents: Sequence[Document], *, format_: str, file: str, as_json: bool, quiet: bool) -> None:
    """Print the documents, or write them to a file; notes go to stderr where the format has no place for them."""
    from archcalc.render.formats import FOR_MACHINES, Screen, render

    pictures = [document.picture for document in documents if document.picture is not None]
    chosen = choose_format(format_, "" if pictures else file, as_json)
    if file and pictures:
        write_file(file, pictures[0])
        if not quiet:
            print(f"wrote {file}", file=sys.stderr)
        file = ""
    if file:
        write_file(file, render(documents, chosen, Screen()))
        if not quiet:
            print(f"wrote {file} ({chosen})", file=sys.stderr)
        return
    text = render(documents, chosen, Screen(_columns(), _in_colour()))
    if chosen in FOR_MACHINES and not quiet:
        for note in dict.fromkeys(n for d in documents for n in d.envelope.get("notes", ())):
            print(encodable(f"note: {note}", sys.stderr.encoding), file=sys.stderr)
    _say(text)


def emit_text(text: str, file: str, quiet: bool) -> None:
    """Print a text that has its own form, or write it to a file."""
    if not file:
        _say(text)
        return
    write_file(file, text)
    if not quiet:
        print(f"wrote {file}", file=sys.stderr)


def choose_format(format_: str, file: str, as_json: bool, more: Iterable[str] = ()) -> str:
    """The format that --json, -f or the file's extension asks for; a table without any of them."""
    from archcalc.render.formats import EXTENSIONS, FORMATS

    if as_json and format_ not in ("", "json"):
        raise WrongUse(f"--json and --format {format_} ask for two formats.", "leave one of them out")
    extension = Path(file).suffix.lower() if file else ""
    chosen = "json" if as_json else format_ or EXTENSIONS.get(extension, "plain" if file else "table")
    if chosen not in FORMATS:
        raise WrongUse(f"there is no format '{chosen}'.", f"choose one of  {', '.join((*FORMATS, *more))}")
    return chosen


class Shown(Observer):
    """Counts on a line of stderr."""

    def __init__(self, status: Any, what: str) -> None:
        self.status, self.what = status, what
        self.done, self.parts = 0, 0

    def expect(self, parts: int) -> None:
        """The number of parts stands beside those that are done."""
        self.parts = parts
        self._show()

    def advance(self) -> None:
        """Count one up."""
        self.done += 1
        self._show()

    def _show(self) -> None:
        of = f" of {self.parts:,}" if self.parts else ""
        self.status.update(f"{self.done:,}{of} {self.what}")


@contextlib.contextmanager
def watching(what: str, quiet: bool) -> Iterator[Observer]:
    """An observer that shows on stderr how a study gets on, if stderr is a terminal; else one that keeps silent."""
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        yield SILENT
        return
    from rich.console import Console

    with Console(stderr=True).status(f"0 {what}") as status:
        yield Shown(status, what)


def write_file(file: str, text: str | bytes) -> None:
    """Write all of the text, or of the bytes, or nothing; CannotWrite says why."""
    with writing(file):
        replace_file(file, text if isinstance(text, bytes) else encodable(text, "utf-8").encode("utf-8"))


def report_error(error: ArchcalcError, arguments: Sequence[str]) -> int:
    """One sentence and the next step on stderr; under --json also a document on stdout. Returns the exit code."""
    if _wants_json(arguments):
        from archcalc.render.formats.as_json import error_as_json

        with contextlib.suppress(ReaderGone, CannotWrite):
            _say(error_as_json(error.kind, error.message, error.hint))
    hint = "".join(f"\n       {line}" for line in error.hint.splitlines())
    with contextlib.suppress(OSError, ValueError, AttributeError):  # stderr is closed
        print(encodable(f"error: {error.message}{hint}", sys.stderr.encoding), file=sys.stderr)
    return error.exit_code


def _say(text: str) -> None:
    """Write to stdout; CannotWrite if it is closed or full, ReaderGone if the pipe was closed early."""
    try:
        sys.stdout.write(encodable(text, sys.stdout.encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        drop_stdout()
        raise ReaderGone from None
    except (OSError, ValueError, AttributeError) as error:
        drop_stdout()
        reason = getattr(error, "strerror", None) or "it is closed"
        raise CannotWrite("to stdout", reason.lower()) from None


def _wants_json(arguments: Sequence[str]) -> bool:
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    named = any(option in ("-f", "--format") and value == "json" for option, value in pairs)
    return named or any(re.fullmatch(r"--json|--format=json|-[a-z]*f=?json", a) for a in arguments)


def drop_stdout() -> None:
    """Send what is left of stdout nowhere, so that the interpreter's last flush finds a place."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _on_a_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def _columns() -> int | None:
    return shutil.get_terminal_size().columns if _on_a_terminal() else None


def _in_colour() -> bool:
    return _on_a_terminal() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
