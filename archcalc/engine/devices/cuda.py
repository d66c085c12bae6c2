"""An NVIDIA GPU: fused attention, dropout and cells, cuBLAS's workspaces, an allocator of blocks of 512 bytes."""

from __future__ import annotations

from archcalc.engine.devices.device import Device, Kernels


def _kernels() -> Kernels:
    from archcalc.engine.devices import attention, convolution_layout, cuda_cells, workspaces
    from archcalc.engine.meta import own_kernels

    replaced = {"dropout": cuda_cells.dropout, "lstm_cell": cuda_cells.lstm_cell, "gru_cell": cuda_cells.gru_cell}
    result, workspace = convolution_layout.on_gpu, workspaces.of_cublas
    return Kernels(attention.CUDA, own_kernels.ON_CUDA, replaced, workspace=workspace, result=result)


CUDA = Device(
    name="cuda",
    note="with blocks of 512 bytes and cuBLAS's workspaces · not counted: cuDNN's, fragmentation, the context",
    kernels=_kernels,
    block=512,
    foreach=True,
    numbers_on_host=True,
    standing="not yet compared with a GPU",
)
