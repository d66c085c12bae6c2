"""Memory that a device's kernels need beside the model's tensors: inside one op call, or once for all calls.

`cpu`: torch's CPU kernels. A convolution in float32 or bfloat16 goes through oneDNN, which copies its operands into
layouts of blocks of 16 channels (AVX-512) and its result back; a matrix that BLAS cannot read is copied; a Python
number beside a tensor becomes a tensor of its own.
Measured with the profiler's allocator events; oneDNN's buffers for reductions between threads are left out.
`cuda`: cuBLAS has a workspace for each thread that multiplies matrices, one in forward and one in backward, which torch
takes from its own allocator and keeps (CUBLAS_WORKSPACE_CONFIG; 32 MiB on Hopper).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor

from archcalc.engine.devices import onednn_lstm
from archcalc.engine.torch_private import schema

BLOCK = 16
CUBLAS = (2 * 4096 + 8 * 16) * 1024
"""Bytes of a workspace of cuBLAS: two chunks of 4,096 KiB and eight of 16 KiB."""
aten = torch.ops.aten
MATRIX_PRODUCTS = frozenset((aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default))


def of_cublas(func: Any) -> int:
    """Bytes that the first matrix product of a thread takes and that stay; 0 for other calls."""
    return CUBLAS if func in MATRIX_PRODUCTS else 0


def on_cpu(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> int:
    """Bytes that a call uses inside and gives back."""
    if func is aten.convolution.default:
        return _convolution(args, out)
    if func is aten.convolution_backward.default:
        return _convolution_backward(args, out)
    if func in (aten.mm.default, aten.addmm.default):
        return sum(_matrix_copy(matrix) for matrix in args[-2:])
    if func is aten.mkldnn_rnn_layer.default:
        return onednn_lstm.scratch(args)
    if func is aten.mkldnn_rnn_layer_backward.default:
        return onednn_lstm.backward_scratch(args)
    return _numbers(func, args)


def _matrix_copy(matrix: Any) -> int:
    """BLAS reads rows or columns that lie behind one another; any other, such as an expanded number, is copied."""
    if not isinstance(matrix, Tensor):
        return 0
    (rows, columns), (down, right) = matrix.shape, matrix.stride()
    fits = (right == 1 and down >= max(1, columns)) or (down == 1 and right >= max(1, rows))
    return 0 if fits or not matrix.numel() else matrix.numel() * matrix.element_size()


def _numbers(func: Any, args: Sequence[Any]) -> int:
    """A number in a tensor's place: 8 bytes, and its copy in the tensor's own dtype."""
    places = _tensor_places(func)
    total = 0
    for place in places:
        value = args[place] if place < len(args) else None
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        like = next((t for t in args if isinstance(t, Tensor)), None)
        if like is not None:
            same = like.dtype is (torch.int64 if isinstance(value, int) else torch.float64)
            total += 8 if same or not like.dtype.is_floating_point else 8 + like.element_size()
    return total


@cache
def _tensor_places(func: Any) -> tuple[int, ...]:
    return tuple(n for n, argument in enumerate(schema(func).arguments) if isinstance(argument.type, torch.TensorType))


def _convolution(args: Sequence[Any], y: Tensor) -> int:
    """Blocked copies of input, weight and output together; then the blocked output beside the plain one."""
    x, w = args[0], args[1]
    if not _by_onednn(x, w):
        return 0
    blocked = _blocked(y)
    return max(_input_copy(x) + _weight_copy(w) + blocked, blocked + y.nbytes) - y.nbytes


def _convolution_backward(args: Sequence[Any], out: Sequence[Tensor | None]) -> int:
    """First the input's gradient from those of output and weight, then the weight's beside it."""
    grad, x, w = args[0], args[1], args[2]
    if not _by_onednn(x, w):
        return 0
    to_input, to_weight = (out[0].nbytes if out[0] is not None else 0), (out[1].nbytes if out[1] is not None else 0)
    peak = 0
    if to_input:
        copies = 1 if x.dim() == 4 else 2  # in one and three dimensions the result is copied once more
        peak = _blocked(x) + max(_blocked(grad) + _weight_copy(w), copies * to_input)
    if to_weight:
        sums = 4 * _weight_copy(w) // w.element_size() if x.dtype is torch.bfloat16 else 0  # added up in float32
        peak = max(peak, to_input + _weight_copy(w) + max(_input_copy(x) + _blocked(grad) + sums, to_weight))
    return max(0, peak - to_input - to_weight)


def _by_onednn(x: Tensor, w: Tensor) -> bool:
    """Torch takes its own kernels for one small image."""
    large = x.shape[0] > 1 or prod(x.shape[:4]) > 20_480 or x.shape[1] != w.shape[1]
    return x.dtype in (torch.float32, torch.bfloat16) and x.dim() in (3, 4, 5) and large


def _blocked(image: Tensor) -> int:
    """Bytes in blocks of channels; a first layer's three channels stay as they are."""
    n, channels, *sizes = image.shape
    return n * _padded(channels) * prod(sizes) * image.element_size()


def _input_copy(image: Tensor) -> int:
    return _blocked(image) if image.shape[1] >= BLOCK else 0


def _weight_copy(w: Tensor) -> int:
    outputs, inputs, *sizes = w.shape
    return _padded(outputs) * _padded(inputs) * prod(sizes) * w.element_size()


def _padded(channels: int) -> int:
    return channels if channels < BLOCK else -(-channels // BLOCK) * BLOCK
