"""What a drawn case may be at most."""

from __future__ import annotations

PARAMETERS = 100_000_000
"""Parameters of the largest model that is drawn."""
STEP = 4 * 2**30
"""Bytes of the largest step that is run."""


class LeftOut(Exception):
    """A case that the rule leaves out; its text says why."""


def demand_small(parameters: int) -> None:
    """LeftOut for a model of too many parameters."""
    if parameters > PARAMETERS:
        raise LeftOut(f"more than {PARAMETERS:,} parameters")


def demand_short(peak: int) -> None:
    """LeftOut for a step of too many bytes."""
    if peak > STEP:
        raise LeftOut(f"a step of {peak / 2**30:.1f} GiB")
