"""The devices of a speed study: what was typed, its data sheet, and the run whose kernels it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from archcalc.engine.choices import ONE_KERNEL
from archcalc.engine.devices import DEVICES, device_named
from archcalc.engine.setup import Setup
from archcalc.errors import BadInput, WrongUse
from archcalc.hardware import Hardware, device_typed, means_another

HERE = "cpu"
"""The name of this machine."""


@dataclass(frozen=True)
class Target:
    """A device as it was typed, and the sentence about it, '' for none."""

    typed: str
    hardware: Hardware
    note: str = ""

    def setup(self, setup: Setup) -> Setup:
        """The setup with the kernels of the device, if archcalc has them. WrongUse for another --device.

        Of a device without known kernels attention is one kernel: as products and softmax it could take longer than on
        the device.
        """
        own = self.hardware.kernels
        if not own and not setup.device and setup.attention == "auto":
            return replace(setup, attention=ONE_KERNEL)
        if own and setup.attention == ONE_KERNEL:
            setup = replace(setup, attention="auto")
        if not own or setup.device == own:
            return setup
        if setup.device:
            message = f"--device {setup.device} and --on {self.typed} do not go together"
            raise WrongUse(f"{message}: {self.hardware.name} runs {own}'s kernels.", "leave --device out")
        return replace(setup, device=own)


def targets(typed: Sequence[str]) -> list[Target]:
    """The devices that were typed; WrongUse without one and for one that is named twice."""
    if not typed:
        raise WrongUse("a speed is on a device, and none was named.", "add  --on rtx4090\ndevices  archcalc devices")
    if other := next((text for text in typed if not isinstance(text, str)), None):
        raise WrongUse(f"{other!r} is not the name of a device.", 'write  on="rtx4090"  or  on=["h100", "a100"]')
    found = [target(text) for text in typed]
    for number, one in enumerate(found):
        if one.hardware.name in [other.hardware.name for other in found[:number]]:
            raise WrongUse(f"--on {one.typed} names {one.hardware.name} a second time.", "name each device once")
    return found


def target(text: str) -> Target:
    """The device that was typed; 'cpu' is this machine, measured. BadInput for kernels that do not exist.

    Raises what `device_typed` raises.
    """
    if text.strip().lower() == HERE:
        from archcalc.engine.this_machine import this_machine

        hardware = this_machine()
        return Target(HERE, hardware, f"{hardware.name}: {hardware.source}")
    hardware = device_typed(text)
    if hardware.kernels not in DEVICES:
        known = "  or  ".join(f'kernels = "{name}"' for name in DEVICES if name)
        raise BadInput(f"--on {text}: there are no kernels of '{hardware.kernels}' here.", f"write  {known}")
    return Target(text, hardware, means_another(text, hardware))


def with_kernels(setup: Setup, on: Sequence[Hardware | None]) -> Setup:
    """The setup with the kernels of the devices of some figures; WrongUse for another --device, or for two kinds."""
    for hardware in filter(None, on):
        setup = Target(hardware.alias, hardware).setup(setup)
    return setup


def assumed_kernels(target_: Target, setup: Setup) -> str:
    """The sentence about whose kernels were traced for a device that archcalc has none of; '' for the others."""
    if target_.hardware.kernels:
        return ""
    one = "one for each op" + (", attention too" if setup.attention == ONE_KERNEL else "")
    traced = f"are those of {setup.device}" if device_named(setup.device).name else f"is {one}"
    return f"{target_.typed}: archcalc has no kernels of it; assumed {traced}"
