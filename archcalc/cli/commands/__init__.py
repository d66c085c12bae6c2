"""One file a command: parse, call a study, render a page, exit code. Importing a file registers its command."""

from importlib import import_module
from pkgutil import iter_modules

from archcalc.cli.app import app, command_name

ORDER = (
    "list", "devices", "show", "summary", "params", "flops", "memory", "traffic", "lint", "speed", "serve", "plan",
    "shapes", "explain", "compare", "verify", "law", "sweep", "check", "init", "snapshot", "diff", "report", "cache",
)  # fmt: skip
"""How the help lists them; a command that is not named here follows."""

NAMES = (*ORDER, *sorted({module.name for module in iter_modules(__path__)}.difference(ORDER)))
"""The name of each command, which is also its file's, in the order of the help."""


def register(name: str = "") -> None:
    """Import the file of one command, or of all of them, which registers it; what was registered before stays."""
    for each in (name,) if name in NAMES else NAMES:
        import_module(f"{__name__}.{each}")
    app.registered_commands.sort(key=lambda command: NAMES.index(command_name(command)))
