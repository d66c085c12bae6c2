"""Shell completion of names and knobs, from the catalogue alone: torch is not imported."""

from __future__ import annotations

from archcalc.networks import catalogue


def complete_model(incomplete: str) -> list[str]:
    """Network, family and alias names that begin like this."""
    wanted = catalogue.normal(incomplete)
    return [name for name in catalogue.names() if catalogue.normal(name).startswith(wanted)]
