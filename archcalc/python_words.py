"""Errors in the words of Python: what the command line calls --seq-len is seq_len to a caller of the library."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from archcalc.engine.setup import settings
from archcalc.errors import ArchcalcError
from archcalc.text.spelling import parse_value

OTHERS = {"fit": "memory"}
"""Options that are no settings, and the argument that a caller has in their place."""
COMMAND = re.compile(r"archcalc \S+ \S+((?: -i \S+)+)")
KNOBS = re.compile(r"--set \w+=[^\s,]+(?: --set \w+=[^\s,]+)*")
WITH_VALUE = re.compile(r"(?<=  )(--[a-z][a-z-]*|-i) ([^\s-]\S*?)(?=,?(?:  |$))", re.MULTILINE)
"""An option and its value as hints set them apart, by two spaces in front and behind."""
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]*|-i)(?![\w-])( (?=\d|[A-Z*]{2}))?")


@contextmanager
def in_python() -> Iterator[None]:
    """In this block errors name keywords where the command line has options."""
    try:
        yield
    except ArchcalcError as error:
        error.message, error.hint = python_words(error.message), python_words(error.hint)
        error.args = (error.message,)
        raise


def python_words(text: str) -> str:
    """A message with keywords in place of options.

    >>> python_words("--seq-len does not apply"), python_words("write  --size 288  or  --size 224x320")
    ('seq_len does not apply', "write  size=288  or  size='224x320'")
    >>> python_words("try  archcalc summary Net -i x=1x3 -i tokens=int64:2"), python_words("write  --set a=6 --set b=B")
    ("try  inputs={'x': '1x3', 'tokens': 'int64:2'}", "write  knobs={'a': 6, 'b': 'B'}")
    """
    text = COMMAND.sub(lambda match: f"inputs={_inputs(match[1])}", text)
    text = KNOBS.sub(lambda match: f"knobs={_knobs(match[0])}", text)
    text = WITH_VALUE.sub(lambda match: f"{_keyword(match[1])}={parse_value(match[2])!r}", text)
    return OPTION.sub(lambda match: _keyword(match[1]) + ("=" if match[2] else ""), text)


def _inputs(options: str) -> str:
    """The inputs as a caller gives them: by name, or in their order."""
    pairs = _pairs(options, "-i")
    if all(value for _, value in pairs):
        return str(dict(pairs))
    given = [name for name, _ in pairs]
    return repr(given[0]) if len(given) == 1 else str(given)


def _knobs(options: str) -> dict[str, Any]:
    return {knob: parse_value(value) for knob, value in _pairs(options, "--set")}


def _pairs(options: str, option: str) -> list[tuple[str, str]]:
    """NAME=VALUE of each option; VALUE is '' where there is only one part."""
    parts = re.findall(rf"{option} (\S+)", options)
    return [(name, value) for name, _, value in (part.partition("=") for part in parts)]


def _keyword(option: str) -> str:
    names = {row.option: f"{row.name}{'=True' * (row.typed.kinds == (bool,))}" for row in settings().values()}
    names["-i"] = "inputs"
    key = option.removeprefix("--").replace("-", "_")
    return names.get(option) or OTHERS.get(key, key)
