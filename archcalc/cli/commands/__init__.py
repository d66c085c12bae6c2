"""One file a command: parse, call a study, render a page, exit code. Importing this room registers all of them."""

from importlib import import_module
from pkgutil import iter_modules

ORDER = (
    "list", "devices", "show", "summary", "params", "flops", "memory", "traffic", "lint", "speed", "serve", "shapes",
    "explain",
    "compare", "verify", "law", "sweep", "plan", "check", "init", "snapshot", "diff",
)  # fmt: skip
"""How the help lists them; a command that is not named here follows."""

FOUND = {module.name for module in iter_modules(__path__)}
for name in (*ORDER, *sorted(FOUND.difference(ORDER))):
    import_module(f"{__name__}.{name}")
