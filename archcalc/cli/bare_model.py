"""`archcalc MODEL`: the summary of a model, where what is typed is plainly one."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.cli.typer_errors import commands
from archcalc.text.spelling import normal


def with_command(arguments: Sequence[str]) -> list[str]:
    """The arguments of a command line, `summary` in front if the first one is a model and no command.

    >>> with_command(["mynet.py:Net", "-i", "1x3"]), with_command(["flops", "resnet-18"])
    (['summary', 'mynet.py:Net', '-i', '1x3'], ['flops', 'resnet-18'])
    """
    first = arguments[0] if arguments else ""
    plainly = first not in commands() and not first.startswith("-") and _is_model(first)
    return ["summary", *arguments] if plainly else list(arguments)


def with_empty_values(arguments: Sequence[str]) -> list[str]:
    """The arguments with '' behind an option that may stand alone, and does: --on of `speed`.

    >>> with_empty_values(["speed", "resnet-18", "--on"]), with_empty_values(["speed", "--on", "--json"])
    (['speed', 'resnet-18', '--on', ''], ['speed', '--on', '', '--json'])
    """
    if arguments[:1] != ["speed"]:
        return list(arguments)
    followed = zip(arguments, [*arguments[1:], "--"], strict=True)
    return [
        part for this, after in followed for part in ([this, ""] if this == "--on" and after[:1] == "-" else [this])
    ]


def _is_model(text: str) -> bool:
    """Whether a text has the form of a reference: a colon, a path, a stored trace, or an exact name of a network."""
    if ":" in text or "/" in text or text.endswith((".json", ".py", ".pt2")):
        return True
    from archcalc.networks import catalogue

    return normal(text.partition("[")[0]) in map(normal, catalogue.names())
