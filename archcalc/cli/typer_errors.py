"""Typer's errors as WrongUse, with a hint."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from archcalc.errors import WrongUse


def as_wrong_use(error: Exception, arguments: Sequence[str]) -> WrongUse:
    """The sentence of a refused option or command, and the help to type."""
    message = str(getattr(error, "format_message", lambda: error)()).strip()
    command = next((a for a in arguments if not a.startswith("-")), "")
    if message.startswith("No such command"):
        close = get_close_matches(command, commands(), 1)
        hint = f"did you mean  archcalc {close[0]} ?" if close else f"commands  {', '.join(commands())}"
        from archcalc.networks import catalogue

        networks = [] if close else get_close_matches(command, catalogue.names(), 1, 0.8)
        hint = f"did you mean  archcalc summary {networks[0]} ?" if networks else hint
        return WrongUse(f"there is no command '{command}'.", hint)
    known = [command] if command in commands() else []
    option = getattr(error, "option_name", "")
    from archcalc.engine.setup import settings

    if known and option in {name for row in settings().values() for name in (row.option, row.typed.short) if name}:
        why = ": parameters come from the definition alone, without a run" if command == "params" else ""
        return WrongUse(f"{command} takes no {option}{why}.", f"leave it out; see  archcalc {command} --help")
    close = get_close_matches(option, getattr(error, "possibilities", None) or (), 1, 0.8)
    if close and known:
        return WrongUse(f"{command} has no option '{option}'.", f"did you mean  {close[0]} ?")
    sentence = message if message.endswith(".") else f"{message}."
    return WrongUse(sentence, f"see  {' '.join(('archcalc', *known, '--help'))}")


def commands() -> list[str]:
    """The names of all commands."""
    from archcalc.cli.commands import NAMES

    return list(NAMES)
