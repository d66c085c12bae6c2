"""Devices as hardware: peaks, bandwidth and capacity, each with its source. No torch."""

from archcalc.hardware.catalogue import device, devices, matching, overhead
from archcalc.hardware.hardware import Hardware, Overhead
from archcalc.hardware.typed import device_typed, means_another

__all__ = ["Hardware", "Overhead", "device", "device_typed", "devices", "matching", "means_another", "overhead"]
