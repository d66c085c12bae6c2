"""The data sheet of a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Hardware:
    """A device by its data sheet.

    `peaks` are dense operations a second by dtype (a multiply-add is two); `bandwidth` bytes a second between device
    and memory; `capacity` the bytes of that memory, None if they are not printed. `source` names the document.
    """

    name: str
    aliases: tuple[str, ...]
    peaks: Mapping[str, float]
    bandwidth: float
    capacity: int | None
    source: str
