"""Memory that a device's kernels need beside the model's tensors: inside one op call, or once for all calls.

`cpu`: torch's CPU kernels, one file a family of ops; here are Python numbers, which become tensors. Measured with the
profiler's allocator events.
`cuda`: cuBLAS has a workspace for each thread that multiplies matrices, one in forward and one in backward, which torch
takes from its own allocator and keeps (CUBLAS_WORKSPACE_CONFIG; 32 MiB on Hopper).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.devices import cpu_convolutions, cpu_operands, matrix_products, onednn_lstm
from archcalc.engine.torch_private import schema

CUBLAS = (2 * 4096 + 8 * 16) * 1024
"""Bytes of a workspace of cuBLAS: two chunks of 4,096 KiB and eight of 16 KiB."""
aten = torch.ops.aten
MATRIX_PRODUCTS = frozenset((aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default))
SCALARS = {
    getattr(aten, name).Scalar: (1,)
    for name in "add sub mul div rsub eq ne lt le gt ge remainder fmod floor_divide".split()
}
"""Ops whose number becomes a tensor inside, and its place."""


def of_cublas(func: Any) -> int:
    """Bytes that the first matrix product of a thread takes and that stay; 0 for other calls."""
    return CUBLAS if func in MATRIX_PRODUCTS else 0


def on_cpu(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """Bytes that a call uses inside and gives back."""
    if func is aten.convolution.default:
        return cpu_convolutions.forward_scratch(args, out)
    if func is aten.convolution_backward.default:
        return cpu_convolutions.backward_scratch(args, out)
    if func in (aten.mm.default, aten.addmm.default):
        return matrix_products.of_matrices(*args[-2:])
    if func in (aten.mv.default, aten.addmv.default):
        return matrix_products.of_vector(args[-2])
    if func in (aten.bmm.default, aten.baddbmm.default):
        return matrix_products.of_batches(*args[-2:])
    if func is aten.mkldnn_rnn_layer.default:
        return onednn_lstm.scratch(args)
    if func is aten.mkldnn_rnn_layer_backward.default:
        return onednn_lstm.backward_scratch(args)
    return _numbers(func, args) + cpu_operands.scratch(func, args, kwargs, out)


def _numbers(func: Any, args: Sequence[Any]) -> int:
    """A number in a tensor's place: 8 bytes, and its copy in the tensor's own dtype."""
    places = (*_tensor_places(func), *SCALARS.get(func, ()))
    total = 0
    for place in places:
        value = args[place] if place < len(args) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        like = next((t for t in args if isinstance(t, Tensor)), None)
        if like is not None:
            same = like.dtype is (torch.int64 if isinstance(value, int) else torch.float64)
            whole = not like.dtype.is_floating_point and isinstance(value, int)
            total += 8 if same or whole else 8 + min(4, like.element_size())
    return total


@cache
def _tensor_places(func: Any) -> tuple[int, ...]:
    return tuple(n for n, argument in enumerate(schema(func).arguments) if isinstance(argument.type, torch.TensorType))
