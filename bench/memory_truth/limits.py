"""What a drawn case may be at most."""

from __future__ import annotations

PARAMETERS = 100_000_000
"""Parameters of the largest model that is drawn."""
STEP = 4 * 2**30
"""Bytes of the largest step that is run."""
MACS = 10_000_000_000
"""Multiply-adds of the longest forward pass, its batch included."""


class LeftOut(Exception):
    """A case that the rule leaves out; its text says why."""


def demand_small(parameters: int) -> None:
    """LeftOut for a model of too many parameters."""
    if parameters > PARAMETERS:
        raise LeftOut(f"more than {PARAMETERS:,} parameters")


def demand_short(peak: int, macs: int) -> None:
    """LeftOut for a step of too many bytes, or whose forward pass has too many multiply-adds."""
    if peak > STEP:
        raise LeftOut(f"a step of {peak / 2**30:.1f} GiB")
    if macs > MACS:
        raise LeftOut(f"a forward pass of {macs / 1e9:.1f} G multiply-adds")
