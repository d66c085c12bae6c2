"""Devices: the kernels that each uses and the memory they need. One file a device, listed here."""

from archcalc.engine.devices.cpu import CPU
from archcalc.engine.devices.cuda import CUDA
from archcalc.engine.devices.device import Device
from archcalc.engine.devices.tensors import TENSORS
from archcalc.errors import WrongUse

DEVICES = {device.name: device for device in (TENSORS, CPU, CUDA)}


def device_named(name: str) -> Device:
    """The device of that name, '' for the model's tensors alone; WrongUse lists them."""
    if name not in DEVICES:
        known = "  or  ".join(known for known in DEVICES if known)
        raise WrongUse(f"there are no kernels of '{name}' here.", f"choose  {known}, or leave --device out")
    return DEVICES[name]


__all__ = ["DEVICES", "Device", "device_named"]
