"""The whole command line: the application with every command registered, in the order of the help."""

from __future__ import annotations

from archcalc.cli import asking, growing, guarding  # noqa: F401, they register their commands
from archcalc.cli.base import app

__all__ = ["app"]
