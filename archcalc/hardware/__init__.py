"""Devices as hardware: peaks, bandwidth and capacity, each with its source. No torch."""

from archcalc.hardware.catalogue import device, devices, matching, overhead
from archcalc.hardware.hardware import Hardware, Overhead

__all__ = ["Hardware", "Overhead", "device", "devices", "matching", "overhead"]
