"""The way out: choose the format, write to stdout or a file whole or not at all, tell errors."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from archcalc.errors import ArchcalcError, CannotWrite, WrongUse, writing
from archcalc.render.document import Document
from archcalc.studies.observer import SILENT, Observer
from archcalc.text.encoding import encodable
from archcalc.text.files import replace_file, writable
from archcalc.text.visible import shortened, visible

LONGEST_WORD = 400
"""Letters of a word that an error repeats whole."""
DRAWN = (
    "params, flops, traffic, memory, memory --timeline or --fit, speed --on, law --over, serve --fit, sweep --pareto"
)
"""The commands with a picture."""


class ReaderGone(Exception):
    """The pipe was closed early, as by `| head`: no error. Not an OSError, which typer turns into exit code 1."""


def emit(
    documents: Sequence[Document], *, format_: str, file: str, as_json: bool, quiet: bool, verbose: bool = False
) -> None:
    """Print the documents, or write them to a file; notes go to stderr where the format has no place for them."""
    from archcalc.render.formats import FOR_MACHINES, Screen, render

    pictures = [document.picture for document in documents if document.picture is not None]
    chosen = choose_format(format_, "" if pictures else file, as_json)
    if file and pictures:
        (picture,) = pictures  # picture_format lets one model through
        write_file(file, picture)
        if not quiet:
            tell(f"wrote {file}")
        file = ""
    if file:
        from archcalc.render.drawing import SUFFIXES

        if (suffix := Path(file).suffix.lower()) in SUFFIXES:
            raise _no_picture(suffix)
        write_file(file, render(documents, chosen, Screen(verbose=verbose)))
        if not quiet:
            tell(f"wrote {file} ({chosen})")
        return
    text = render(documents, chosen, Screen(_columns(), _in_colour(), verbose))
    if chosen in FOR_MACHINES and not quiet:
        for note in dict.fromkeys(n for d in documents for n in d.envelope.get("notes", ())):
            tell(f"note: {note}")
    _say(text)


def emit_text(text: str, file: str, quiet: bool) -> None:
    """Print a text that has its own form, or write it to a file."""
    if not file:
        _say(text)
        return
    write_file(file, text)
    if not quiet:
        tell(f"wrote {file}")


def tell(line: str) -> None:
    """Write a line to stderr, safe to print; nothing if stderr is closed."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(encodable(visible(line), sys.stderr.encoding), file=sys.stderr)


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


def demand_format(format_: str, file: str, as_json: bool, further: Sequence[str], form: str) -> None:
    """WrongUse for a format that a command does not have: beside all others its `further` ones, or `form` alone."""
    asked = "json" if as_json and format_ in ("", "json") else format_
    if form and asked not in ("", form):
        raise WrongUse(
            f"the answer is {form.upper()} and has no form as {asked}.", f"leave out  {_typed(format_, as_json)}"
        )
    if not form and (as_json or format_ not in further):
        choose_format(format_, file, as_json, further)


def demand_ending(file: str, named: bool, form: str, draws: bool) -> None:
    """WrongUse for a file whose ending names what the answer is not: a picture, a page, another program's format.

    `named` says that a format was typed, which then decides; `form` is the only format of an answer; `draws` says that
    the command has pictures. Endings that are not letters, as in resnet-1.0, name nothing.
    """
    if not file:
        return
    from archcalc.render.drawing import SUFFIXES
    from archcalc.render.formats import EXTENSIONS

    suffix = Path(file).suffix.lower()
    if form and suffix[1:].isalpha() and not f".{form}".startswith(suffix):
        raise WrongUse(f"the answer is {form.upper()} and has no form as {suffix}.", f"write  -o x.{form}")
    if form or (suffix in SUFFIXES and draws):
        return
    if suffix in SUFFIXES:
        raise _no_picture(suffix)
    if not named and suffix not in EXTENSIONS and suffix[1:].isalpha():
        page = "\nor make a page:  archcalc report MODEL -o x.html" if suffix in (".html", ".htm") else ""
        endings = (*EXTENSIONS, *(SUFFIXES if draws else ()))
        hint = f"end the file in  {', '.join(endings)}  or add  -f FORMAT{page}"
        raise WrongUse(f"'{suffix}' names no format of this answer.", hint)


def _no_picture(suffix: str) -> WrongUse:
    return WrongUse(f"this answer has no picture ({suffix}).", f"write .txt, or draw one of  {DRAWN}")


def _typed(format_: str, as_json: bool) -> str:
    return "--json" if as_json else f"-f {format_}"


def demand_output(file: str, inputs: Iterable[str]) -> None:
    """CannotWrite, before any work, for an output file that cannot be written, or that the answer is made from."""
    if file:
        with writing(file):
            writable(file, inputs)


def files_named(values: Iterable[object]) -> list[str]:
    """The files that the arguments of a command may name, as references or by their paths."""
    texts = [
        text for value in values for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)
    ]
    files = [f"{head}.py" for text in texts for head, colon, _ in [text.partition(".py:")] if colon]
    return [*files, *texts, *(text.removeprefix("hf:") for text in texts)]


class Shown(Observer):
    """Counts on a line of stderr, with the number of parts and the time that is left, as far as these are known."""

    def __init__(self, status: Any, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.status, self.what, self.clock = status, what, clock
        self.done, self.parts, self.about, self.start = 0, 0, "", clock()

    def expect(self, parts: int) -> None:
        """The number of parts stands beside those that are done."""
        self.parts, self.about = parts, ""
        self._show()

    def estimate(self, parts: int) -> None:
        """The same, with a word that the number is not certain."""
        self.parts, self.about = parts, "about "
        self._show()

    def advance(self) -> None:
        """Count one up."""
        self.done += 1
        self._show()

    def _show(self) -> None:
        known = self.parts >= self.done
        of = f" of {self.about}{self.parts:,}" if self.parts and known else ""
        self.status.update(f"{self.done:,}{of} {self.what}{self._left() if known else ''}")

    def _left(self) -> str:
        """The time that the other parts take, if each takes as long as those that are done."""
        if not 0 < self.done < self.parts:
            return ""
        seconds = round((self.clock() - self.start) / self.done * (self.parts - self.done))
        minutes = f"{seconds // 60} min " if seconds >= 60 else ""
        return f", about {minutes}{seconds % 60} s left" if seconds else ""


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
    tell(f"error: {_brief(error.message)}")
    for line in error.hint.split("\n"):
        if line:
            tell(f"       {_brief(line)}")
    return error.exit_code


def _brief(text: str) -> str:
    """A sentence with words of thousands of letters, such as what was typed, cut behind their beginning."""
    return re.sub(rf"\S{{{LONGEST_WORD},}}", lambda word: shortened(word[0]), text)


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
