"""A command's options: help that lists them in groups, and an error for one that is given twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand

from archcalc.errors import WrongUse

OWN = "Options"
"""The group of a command's own options."""


class GroupedCommand(TyperCommand):
    """A command whose help has one section a group (`rich_help_panel` of each option), its own options first."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; WrongUse if an option that is not a list occurs more than once."""
        if not ctx.resilient_parsing:
            _demand_once(self.make_parser(ctx).parse_args(list(args))[2])
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the sections in the order in which their first options stand."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], OWN: []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                argument = parameter.param_type_name == "argument"
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
