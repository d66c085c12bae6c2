"""Shell completion of names and knobs, from the catalogue alone: torch is not imported."""

from __future__ import annotations

from archcalc.text.spelling import normal


def complete_model(incomplete: str) -> list[str]:
    """Network, family and alias names that begin like this."""
    from archcalc.networks import catalogue

    wanted = normal(incomplete)
    return [name for name in catalogue.names() if normal(name).startswith(wanted)]


def complete_device(incomplete: str) -> list[str]:
    """Aliases of devices that begin like this."""
    from archcalc import hardware

    wanted = normal(incomplete)
    return [alias for device in hardware.devices() for alias in device.aliases if normal(alias).startswith(wanted)]
