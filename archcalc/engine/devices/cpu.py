"""torch's CPU kernels: oneDNN's convolutions and LSTM, BLAS, recurrent layers that multiply all inputs first."""

from __future__ import annotations

from archcalc.engine.devices.device import Device, Kernels


def _kernels() -> Kernels:
    from archcalc.engine.devices import attention, cpu_results, cpu_rnn, workspaces
    from archcalc.engine.meta import own_kernels

    return Kernels(attention.CPU, own_kernels.ON_CPU, cpu_rnn.RECURRENT, workspaces.on_cpu, result=cpu_results.of_cpu)


def _machine() -> str:
    from archcalc.engine.devices import processor

    return processor.in_words()


CPU = Device(
    name="cpu",
    note="with the scratch memory of cpu kernels · not counted: allocator rounding, the framework itself",
    kernels=_kernels,
    autocast="cpu",
    machine=_machine,
)
