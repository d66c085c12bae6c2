"""Shell completion of names and knobs, from the catalogue alone: torch is not imported."""

from __future__ import annotations

from typing import Any

from archcalc.text.spelling import normal


def complete_model(incomplete: str) -> list[str]:
    """Network, family and alias names that begin like this."""
    from archcalc.networks import catalogue

    wanted = normal(incomplete)
    return [name for name in catalogue.names() if normal(name).startswith(wanted)]


def on_option(help_: str) -> Any:
    """The option --on, which takes a device; `help_` is its line in the help."""
    import typer

    return typer.Option("--on", metavar="DEVICE", help=help_, autocompletion=complete_device)


def complete_device(incomplete: str) -> list[str]:
    """Aliases of devices that begin like this."""
    from archcalc import hardware

    wanted = normal(incomplete)
    return [alias for device in hardware.devices() for alias in device.aliases if normal(alias).startswith(wanted)]
