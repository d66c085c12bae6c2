"""Help that lists a command's options in groups."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

OWN = "Options"
"""The group of a command's own options."""


class GroupedCommand(TyperCommand):
    """A command whose help has one section a group (`rich_help_panel` of each option), its own options first."""

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
