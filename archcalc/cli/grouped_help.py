"""A command's options: help that lists them in groups, plain values read fast, an error for one given twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

from archcalc.errors import WrongUse

GROUPS = {
    "What there is": ("list", "devices", "show", "explain"),
    "Layers of a model": ("summary", "params", "flops", "shapes", "memory", "traffic", "lint"),
    "A model on devices": ("speed", "serve", "plan"),
    "Several models": ("compare", "diff", "law", "sweep", "verify"),
    "In a repository": ("init", "check", "snapshot", "report", "cache"),
}
"""The commands by what they are for; one that is not named here stands in a section of its own."""
OTHERS = "Other commands"
OWN = "Options"
"""The group of a command's own options."""


class PlainValue:
    """Texts, lists of texts and whole numbers as Typer makes them of what is typed, but without pydantic.

    All other types, and values that are refused, are left to Typer, so that its sentences stay the same.
    """

    def __init__(self, descriptor: Any) -> None:
        self.descriptor = descriptor

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value of a parameter; Typer's BadParameter for one that is not of its type."""
        kind, typed = self.descriptor.annotation, self.descriptor.parameter_info
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        plain = typed.parser is None and typed.max is None
        if plain and kind is str and isinstance(value, str):
            return value
        if plain and kind == list[str] and isinstance(value, list | tuple) and all(isinstance(v, str) for v in value):
            return list(value)
        if plain and kind is int and re.fullmatch(r"\d{1,18}", str(value), re.ASCII):
            number = int(value)
            if typed.min is None or number >= typed.min:
                return number
        from typer._coercion import build_runtime_param

        return build_runtime_param(self.descriptor).coerce(value, param=param, ctx=ctx)


def _read_plainly(parameters: Sequence[Any]) -> None:
    for parameter in parameters:
        parameter._runtime_param = PlainValue(parameter.type_descriptor)


class PlainGroup(TyperGroup):
    """The application: its own options are read without pydantic, too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options before the command's name."""
        _read_plainly(self.get_params(ctx))
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands in their groups, each with the whole first line of its help."""
        names = self.list_commands(ctx)
        grouped = [name for group in GROUPS.values() for name in group]
        others = {OTHERS: [name for name in names if name not in grouped]}
        for title, group in {**GROUPS, **others}.items():
            commands = {name: self.get_command(ctx, name) for name in group if name in names}
            records = [(name, _first_line(command)) for name, command in commands.items() if command]
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _first_line(command: Any) -> str:
    return str(command.help or "").strip().partition("\n")[0]


class GroupedCommand(TyperCommand):
    """A command whose help has one section a group (`rich_help_panel` of each option), its own options first."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; WrongUse if an option that is not a list occurs more than once."""
        _read_plainly(self.get_params(ctx))
        if not ctx.resilient_parsing:
            _demand_once(self.make_parser(ctx).parse_args(list(args))[2])
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The words of the usage line behind the command: each argument as its metavar spells it."""
        arguments = [str(each.metavar) for each in self.get_params(ctx) if each.param_type_name == "argument"]
        return [self.options_metavar or "", *arguments]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections in the order in which their first options stand."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], OWN: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                argument = parameter.param_type_name == "argument"
                record = (str(parameter.metavar), record[1]) if argument else record
                group = "Arguments" if argument else getattr(parameter, "rich_help_panel", None) or OWN
                sections.setdefault(group, []).append(record)
        if len(sections[OWN]) == 1:  # --help alone comes last
            sections[OWN] = sections.pop(OWN)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _demand_once(given: Sequence[Any]) -> None:
    """WrongUse for an option that is given twice, of those in the order in which they were typed."""
    names = Counter(max(each.opts, key=len) for each in given if each.param_type_name == "option" and not each.multiple)
    twice = [name for name, times in names.items() if times > 1]
    if twice:
        raise WrongUse(f"{twice[0]} is given twice.", "give it once")
