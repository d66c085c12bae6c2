"""The application that commands register with, its help and its version."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, TypeVar

import typer
from typer.models import CommandInfo

from archcalc.cli.completion import complete_model
from archcalc.cli.grouped_help import GroupedCommand, PlainGroup
from archcalc.version import __version__

HELP = """Shapes, parameters, multiply-adds and memory of a neural network, from its definition alone.

\b
Examples:
  archcalc params densenet              parameters by layer
  archcalc flops shufflenet-v2          multiply-adds and FLOPs
  archcalc memory resnet-50 --batch 32  peak of a forward pass
  archcalc shapes resnet-18             every shape and the rule that made it
  archcalc explain resnet-18 conv1      the formulas, in letters and in numbers
  archcalc compare resnet-50 densenet   side by side
  archcalc law densenet-bc-cifar --over depth   exact formulas and big O
  archcalc verify resnet-50             against papers, libraries and other counters
  archcalc list                         the catalogue
  archcalc summary mynet.py:Net -i 1x3x224x224
  archcalc flops timm:vit_base_patch16_224

A MODEL is a NAME of the catalogue, NAME[knob=value], package.module:EXPR, path/to/file.py:EXPR, torchvision:NAME,
timm:NAME, hf:ORG/NAME, hf:path/to/config.json, hf:bert or a stored trace.json; EXPR is a module, a class or a function,
called or not with plain values: mynet:make(width=2). archcalc MODEL alone prints its summary.
"""


def command_name(command: CommandInfo) -> str:
    """The name that a registered command is typed by."""
    return str(command.name or getattr(command.callback, "__name__", ""))


F = TypeVar("F", bound=Callable[..., Any])


class App(typer.Typer):
    """An application whose commands have their options in groups."""

    def command(self, name: str | None = None, **how: Any) -> Callable[[F], F]:
        """Register a command."""
        return super().command(name, **{"cls": GroupedCommand, **how})


app = App(
    name="archcalc",
    cls=PlainGroup,
    help=HELP,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@cache
def with_commands(names: tuple[str, ...]) -> Any:
    """The application as it is run, with the commands of these names, all that are registered; built once."""
    return typer.main.get_command(app)


Models = Annotated[
    list[str],
    typer.Argument(metavar="MODEL...", help="One or several model references.", autocompletion=complete_model),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"archcalc {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def archcalc(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Print the help when no command is given."""
    if context.invoked_subcommand is None:
        print(context.get_help())
