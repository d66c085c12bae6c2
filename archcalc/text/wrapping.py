"""Texts in the columns of a terminal: how many they take, and how lines break at words."""

from __future__ import annotations

import re
from collections.abc import Sequence

NARROW = re.compile(
    "[ -~\u00a0-\u02ff\u0370-\u0373\u0391-\u03c9\u2010-\u2027\u2190-\u2199\u2200-\u22ff\u2500-\u259f\u2605]*"
)
"""Texts of letters and signs that take one cell of a terminal each; of all others rich has a table."""
UNIT = re.compile(r"(?<=\d) (?=(?:[kMGTP]|[KMGTP]iB|B|GB|ms|µs|s|%)(?![\w%]))|(?<=[≥≤=~]) (?=\d)")
"""The space between a number and its unit, or before a number and its sign: no line ends there."""
STUCK = "\ue000"
"""Stands for a space at which no line ends, from a private area: no text that is safe to print holds it."""
SEPARATOR = " · "
"""Between commands of a line."""


def cells(text: str) -> int:
    """The columns of a terminal that a text takes.

    >>> cells("3×3 ≥ 2"), cells("日本"), cells("e\u0301")
    (7, 4, 1)
    """
    if NARROW.fullmatch(text):
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def words(text: str) -> list[str]:
    """The parts of a text between which a line may end; a number stays with its unit.

    >>> words("peak of 2.834 GiB")
    ['peak', 'of', '2.834 GiB']
    """
    return [word.replace(STUCK, " ") for word in UNIT.sub(STUCK, text).split()]


def longest_word(text: str) -> int:
    """The columns of the longest part of a text in which no line ends.

    >>> longest_word("held at the peak")
    4
    """
    return max(map(cells, words(text)), default=0)


def pieces(word: str) -> list[str]:
    """The parts of a long word, such as a path, between which it may break where nothing else helps.

    >>> pieces("bvlc_googlenet/deploy.prototxt")
    ['bvlc_', 'googlenet/', 'deploy.', 'prototxt']
    """
    return re.findall(r"(?:[^/_:.-]|[:.-](?=\d))*[/_:.-]?", word)[:-1] or [word]


def in_pieces(text: str, width: int) -> str:
    """The text with a space in each word that is longer than `width`, at the last place where it may break."""
    lines = []
    for word in words(text):
        line = ""
        for piece in pieces(word) if cells(word) > width else [word]:
            if line and cells(line + piece) > width:
                lines.append(line)
                line = ""
            line += piece
        lines.append(line)
    return " ".join(lines)


def wrapped(text: str, width: int, indent: int = 2) -> list[str]:
    """A text as lines of at most `width` columns, all but the first `indent` columns to the right.

    It breaks at words; a word longer than a line has one of its own and is not cut.

    >>> wrapped("one two three", 8), wrapped("one two three", 20)
    (['one two', '  three'], ['one two three'])
    """
    if cells(text) <= width:
        return [text]
    start = text[: len(text) - len(text.lstrip())]
    lines, line = [], start
    for word in words(text):
        empty = not line.strip()
        if not empty and cells(line) + 1 + cells(word) > width:
            lines.append(line)
            line, empty = start + " " * indent, True
        line += word if empty else f" {word}"
    return [*lines, line]


def wrapped_commands(title: str, commands: Sequence[str], width: int) -> list[str]:
    """Commands behind a title as lines of at most `width` columns, none divided where it fits a line of its own.

    A longer one goes on in a further line, each before the last ending in a backslash: a shell takes it as it is.

    >>> wrapped_commands("next: ", ["archcalc list", "archcalc show NAME"], 26)
    ['next: archcalc list', '      archcalc show NAME']
    """
    lines, line = [], title
    for number, command in enumerate(commands):
        if number and cells(line) + len(SEPARATOR) + cells(command) <= width:
            line += SEPARATOR + command
            continue
        if number:
            lines.append(line)
            line = " " * len(title)
        *before, last = wrapped(line + command, width - 2, 2) if cells(line + command) > width else [line + command]
        lines += [f"{part} \\" for part in before]
        line = last
    return [*lines, line]
