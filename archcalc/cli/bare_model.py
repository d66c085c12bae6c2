"""`archcalc MODEL`: the summary of a model, where what is typed is plainly one."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.cli.typer_errors import commands
from archcalc.errors import WrongUse
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


def demand_values(arguments: Sequence[str]) -> None:
    """WrongUse for an option with an empty value, such as that of a shell's variable that is not set."""
    for option, after in zip(arguments, [*arguments[1:], "--"], strict=False):
        name, equals, value = option.partition("=")
        if option.startswith("-") and not value and (equals or after == ""):
            raise WrongUse(f"{name} is followed by an empty text.", f"write its value, or leave {name} out")


def _is_model(text: str) -> bool:
    """Whether a text has the form of a reference: a colon, a path, a stored trace, or an exact name of a network."""
    if ":" in text or "/" in text or text.endswith((".json", ".py", ".pt2")):
        return True
    from archcalc.networks import catalogue

    return normal(text.partition("[")[0]) in map(normal, catalogue.names())
