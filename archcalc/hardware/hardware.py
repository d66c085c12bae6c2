"""The data sheet of a device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SHARED = ("soc", "cpu")
"""Kinds whose memory the rest of the system uses too."""


@dataclass(frozen=True)
class Hardware:
    """A device by its data sheet.

    `peaks` are dense operations a second by dtype (a multiply-add is two); `bandwidth` bytes a second between device
    and memory, None if it is not printed; `capacity` the bytes of that memory, None if the device has none of its own:
    the total that the driver reports if `reported`, else the vendor's figure, `sold_as`, read as binary. `kernels`
    names the device of archcalc whose kernels run there, "" for none. `recalled` are the facts (memory, bandwidth,
    dtypes of peaks) that were not seen in a source; `source` names the documents. `vector` are operations a second of
    the unit that does elementwise work, None if they are not known; `launch` seconds between the starts of two kernels,
    None if they are not known. `cache` are the bytes of the largest cache on the chip, None if they are not known.
    """

    name: str
    aliases: tuple[str, ...]
    kind: str
    kernels: str
    peaks: Mapping[str, float]
    bandwidth: float | None
    capacity: int | None
    sold_as: str
    reported: bool
    recalled: tuple[str, ...]
    source: str
    vector: float | None = None
    launch: float | None = None
    cache: int | None = None

    @property
    def alias(self) -> str:
        """The shortest way to type it."""
        return self.aliases[0] if self.aliases else self.name

    @property
    def shared(self) -> bool:
        """Whether the system and its other programs use the same memory."""
        return self.kind in SHARED

    @property
    def provenance(self) -> str:
        """'read' if every fact was seen in a source, 'recalled' if none of the memory's was, else 'in part'."""
        if not self.recalled:
            return "read"
        facts = {*self.peaks, *(["memory"] if self.capacity else []), *(["bandwidth"] if self.bandwidth else [])}
        return "recalled" if facts <= set(self.recalled) else "in part"


@dataclass(frozen=True)
class Overhead:
    """What a process cannot give to tensors: bytes of driver and context, and a share lost to fragmentation."""

    context: int
    fragmentation: float
    source: str
