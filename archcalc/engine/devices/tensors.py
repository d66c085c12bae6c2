"""No device: the model's tensors alone, by torch's plainest kernels."""

from __future__ import annotations

from archcalc.engine.devices.device import Device, Kernels


def _kernels() -> Kernels:
    from dataclasses import replace

    from archcalc.engine.devices.attention import CPU
    from archcalc.engine.devices.cpu_results import of_cpu
    from archcalc.engine.meta.own_kernels import ON_CPU

    return Kernels(replace(CPU, default="math"), ON_CPU, result=of_cpu)


TENSORS = Device(
    name="",
    note="not counted: workspaces inside kernels (--device cpu counts them), allocator rounding, the framework itself",
    kernels=_kernels,
    standing="tensors alone, no device's bill",
)
