"""What the bytes of a run must fit into: a size of memory, or a device's, less what is kept in reserve."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from archcalc.engine import Setup
from archcalc.engine.setting_forms import parse_memory
from archcalc.errors import BadInput, UnknownDevice, WrongUse
from archcalc.hardware import Hardware, device, overhead
from archcalc.text.units import size
from archcalc.text.visible import shortened

SIZE = re.compile(r"\s*[-+.,\d]")
"""How a size of memory begins; no device's name begins so."""
PERCENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*")


MILLION = 10**6
"""A share is counted in millionths, in whole numbers."""


@dataclass(frozen=True)
class Reserve:
    """Bytes that are set aside: `context` for driver and context or for what was asked, and a share of the capacity."""

    context: int = 0
    share: float = 0.0
    typed: str = ""

    def of(self, capacity: int) -> int:
        """The bytes set aside of a capacity."""
        return self.context + capacity * round(min(self.share, 1.0) * MILLION) // MILLION


@dataclass(frozen=True)
class Budget:
    """A capacity as it was typed, the device that has it, if one was named, and what is set aside of it."""

    typed: str
    capacity: int
    reserve: Reserve = Reserve()
    hardware: Hardware | None = None

    @property
    def reserved(self) -> int:
        """The bytes set aside."""
        return self.reserve.of(self.capacity)

    @property
    def bytes(self) -> int:
        """The bytes that a peak may have."""
        return self.capacity - self.reserved

    def setup(self, setup: Setup) -> Setup:
        """The setup on the named device: its kernels, if archcalc has them. WrongUse for another --device."""
        found = self.hardware
        if found is None or setup.device == found.kernels:
            return setup
        if setup.device:
            runs = f"runs {found.kernels}'s kernels" if found.kernels else "has none of archcalc's kernels"
            message = f"--device {setup.device} and --fit {self.typed} do not go together: {found.name} {runs}."
            raise WrongUse(
                message, f"leave --device out, or give a size:  --fit {size(self.capacity).replace(' ', '')}"
            )
        return replace(setup, device=found.kernels)


def parse_budget(memory: str | int, reserve: str | int | None = None) -> Budget:
    """'24GiB', bytes as a number, or a device's name; `reserve` a size, '5%', bytes, or the device's default.

    BadInput for what is neither, for a number without a unit, and for a reserve that leaves nothing. UnknownDevice
    for a name that no device or that several have.
    """
    typed = str(memory)
    if isinstance(memory, int) and memory > 0:
        capacity, hardware = memory, None
    elif SIZE.match(typed):
        capacity, hardware = _size(typed), None
    else:
        hardware = _device(typed)
        capacity = _capacity(hardware)
    kept = default_reserve(hardware) if reserve is None else _reserve(reserve)
    budget = Budget(typed, capacity, kept, hardware)
    if budget.bytes < 1:
        kept_words = f"a reserve of {size(budget.reserved)} leaves nothing of {size(capacity)}"
        raise BadInput(f"{kept_words}.", "set less aside:  --reserve 5%")
    return budget


def _size(text: str) -> int:
    try:
        return parse_memory("--fit", text)
    except BadInput as error:
        try:
            device(text)
        except UnknownDevice as unknown:
            if text.strip().isdigit() and unknown.near:
                error.hint += f"\nor a device  --fit {unknown.near[0]}"
        raise error from None


def _device(text: str) -> Hardware:
    try:
        return device(text)
    except UnknownDevice as unknown:
        if unknown.near:
            raise
        message = f"'--fit {shortened(text)}' is not a size of memory and not the name of a device."
        raise BadInput(message, "write  --fit 24GiB  or  --fit RTX4090\ndevices  archcalc devices") from None


def _capacity(hardware: Hardware) -> int:
    if hardware.capacity is None:
        raise BadInput(f"{hardware.name} has no memory of its own in its data sheet.", "give a size:  --fit 64GiB")
    return hardware.capacity


def default_reserve(hardware: Hardware | None) -> Reserve:
    """What is set aside without --reserve: nothing of a size, the overhead of a device where it is known."""
    known = overhead(hardware) if hardware else None
    return Reserve(known.context, known.fragmentation) if known else Reserve()


def _reserve(given: str | int) -> Reserve:
    text = str(given)
    percent = PERCENT.fullmatch(text)
    if percent:
        return Reserve(share=float(percent[1]) / 100, typed=text)
    if re.fullmatch(r"\s*0+\s*", text):
        return Reserve(typed=text)
    if isinstance(given, int) and given > 0:
        return Reserve(given, typed=text)
    try:
        return Reserve(parse_memory("--reserve", text), typed=text)
    except BadInput as error:
        if "unit" in error.message:
            raise
        raise BadInput(
            f"'--reserve {shortened(text)}' is not a size of memory and not a share.",
            "write  --reserve 2GiB  or  --reserve 5%",
        ) from None
