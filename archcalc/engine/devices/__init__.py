"""Devices: the kernels that each uses and the memory they need. One file a device, listed here."""

from archcalc.engine import choices
from archcalc.engine.devices.cpu import CPU
from archcalc.engine.devices.cuda import CUDA
from archcalc.engine.devices.device import Device
from archcalc.engine.devices.tensors import TENSORS

DEVICES = {device.name: device for device in (TENSORS, CPU, CUDA)}


def device_named(name: str) -> Device:
    """The device of that name, '' for the model's tensors alone; WrongUse lists them."""
    return DEVICES[choices.device(name)]


__all__ = ["DEVICES", "Device", "device_named"]
