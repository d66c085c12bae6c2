"""Bytes inside a convolution on CPU: which of torch's kernels computes it, and what that kernel allocates.

Torch gives most convolutions to oneDNN (onednn_convolutions.py). Its own kernels, for one small image and for what
oneDNN does not do, unfold the input into columns and multiply matrices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from archcalc.engine.devices import onednn_convolutions as onednn
from archcalc.engine.devices import onednn_scratch, processor
from archcalc.engine.devices.convolution_layout import FORMS, channels_last
from archcalc.engine.devices.onednn_convolutions import LAST, PLAIN, Convolution, highest
from archcalc.engine.meta.shape_rules import each

SMALL = 20_480
"""Numbers of a batch of one below which torch takes its own kernels."""


@dataclass(frozen=True)
class Call:
    """A convolution's input and weight and its settings, one number for each dimension; in one dimension as in two."""

    x: Tensor
    w: Tensor
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    transposed: bool
    groups: int

    @property
    def kernel(self) -> tuple[int, ...]:
        """The sizes of the kernel."""
        return tuple(self.w.shape[2:])

    @property
    def plain_point(self) -> bool:
        """Whether the kernel is one element, at each position."""
        return prod(self.kernel) == 1 and not any(self.padding) and set(self.stride) == {1}

    @property
    def dilated(self) -> bool:
        """Whether the kernel has gaps."""
        return set(self.dilation) != {1}


def forward_scratch(args: Sequence[Tensor], y: Tensor) -> int:
    """Bytes that a forward call uses inside, beside its result; `args` are those of aten.convolution."""
    call = call_of(args[0], args[1], args[3:])
    if by_onednn(call):
        return _onednn_forward(call, y, args[2] is not None) - y.nbytes
    return _columns(call, y) + _ordered(call.x, call.w)


def backward_scratch(args: Sequence[Tensor], out: Sequence[Tensor | None]) -> int:
    """Bytes that a backward call uses inside, beside its results; `args` are those of aten.convolution_backward."""
    grad, x, w = args[:3]
    call = call_of(x, w, args[4:])
    if by_onednn(call):
        return _onednn_backward(call, grad, out) - sum(tensor.nbytes for tensor in out if tensor is not None)
    sums = out[2].nbytes if out[2] is not None and call.dilated else 0
    for_weight = len(call.kernel) < 3 and not call.transposed and not call.dilated
    columns = 0 if for_weight and out[1] is None else _columns(call, grad)
    return columns + sums + _ordered(call.x, call.w, grad)


def call_of(x: Tensor, w: Tensor, settings: Sequence[object]) -> Call:
    """The convolution of an op's input and weight, and of its settings from the stride on."""
    dims = x.dim() - 2
    stride, padding, dilation = (tuple(each(value, dims)) for value in settings[:3])  # type: ignore[arg-type]
    return Call(x, w, stride, padding, dilation, bool(settings[3]), int(settings[5]))  # type: ignore[call-overload]


def by_onednn(call: Call) -> bool:
    """Torch's own rule: `use_mkldnn` in ATen/native/Convolution.cpp."""
    x = call.x
    if x.dtype is torch.bfloat16:
        return processor.has_bfloat16()
    if x.dtype is not torch.float32:
        return False
    kernel = (1, *call.kernel) if x.dim() == 3 else call.kernel
    worth = (
        set(call.stride) != {1} or call.dilated or x.shape[0] >= 16 or kernel[-2:] != (1, 1) or processor.threads() > 1
    )
    shape = (x.shape[0], x.shape[1], 1, x.shape[2]) if x.dim() == 3 else x.shape[:4]
    large = call.groups > 1 or min(kernel[-2:]) > 3 or x.shape[0] > 1 or prod(shape) > SMALL
    return worth and large


def _columns(call: Call, y: Tensor) -> int:
    """Bytes of the unfolded input: of the whole batch, or of one image where the kernel goes from image to image."""
    x, w = call.x, call.w
    if call.transposed:
        return w.shape[1] * prod(call.kernel) * prod(x.shape[2:]) * x.element_size()
    if call.plain_point and not call.dilated:
        return 0
    images = 1 if call.dilated else x.shape[0]
    return images * w.shape[1] * prod(call.kernel) * prod(y.shape[2:]) * x.element_size()


def _ordered(*tensors: Tensor) -> int:
    """Bytes of copies in the usual order, of tensors that are in another."""
    return sum(tensor.nbytes for tensor in tensors if not tensor.is_contiguous())


def _seen(call: Call, y: Tensor) -> Convolution:
    """The convolution that oneDNN computes; of a transposed one, the one whose gradient it is. `y` is the result."""
    sizes = (y if call.transposed else call.x).shape[2:]
    even = all(size % step == 0 for size, step in zip(sizes, call.stride, strict=True))
    outputs, inputs = call.w.shape[0] // call.groups, call.w.shape[1]
    half = call.x.dtype is torch.bfloat16
    return Convolution(
        inputs,
        outputs,
        call.groups,
        call.kernel,
        call.stride,
        call.padding,
        call.dilated,
        even,
        processor.lanes(),
        half,
    )


def _onednn_forward(call: Call, y: Tensor, biased: bool) -> int:
    """The most that oneDNN's forward pass holds at once, its result counted."""
    c, width = _seen(call, y), call.x.element_size()
    if channels_last(call.x) or channels_last(call.w):
        weight = onednn.on_channels_last(c, "data" if call.transposed else "forward")
        scratch = onednn_scratch.of_small_products(c)
        return highest((*_as_last(call.x), *_as_last(call.w), y.nbytes, scratch, onednn.weight_bytes(c, weight, width)))
    layouts = onednn.backward_data(c) if call.transposed else onednn.forward(c)
    copies = [*_copied(call.x, layouts.inputs), *_weight_copied(c, layouts.weight, width)]
    made = onednn.image_bytes(y, layouts.outputs)
    if call.transposed:
        scratch = onednn_scratch.of_transposed(c, layouts, call.x, y, biased, processor.threads())
    else:
        scratch = onednn_scratch.of_forward(c, layouts, y, biased, processor.threads())
    return highest((scratch, *copies, made, -sum(copies) - scratch, *_dense(y, layouts.outputs)))


def _onednn_backward(call: Call, grad: Tensor, out: Sequence[Tensor | None]) -> int:
    """The most that the two halves of oneDNN's backward pass hold at once, their results counted."""
    c, width = _seen(call, grad), call.x.element_size()
    of_input, of_weight, of_bias = out
    if channels_last(call.x) or channels_last(call.w):
        return _channels_last_backward(call, c, grad, out)
    changes: list[int] = []
    if of_input is not None:
        layouts = onednn.forward(c) if call.transposed else onednn.backward_data(c)
        copies = [*_copied(grad, layouts.inputs), *_weight_copied(c, layouts.weight, width)]
        made = onednn.image_bytes(of_input, layouts.outputs)
        if call.transposed:
            scratch = onednn_scratch.nested(onednn_scratch.of_forward(c, layouts, of_input, False, processor.threads()))
        else:
            scratch = onednn_scratch.of_data(c, layouts, grad, call.x, processor.threads())
        dense = _dense(of_input, layouts.outputs)
        changes += [*copies, made, scratch, -sum(copies) - scratch, *dense, of_input.nbytes - made - sum(dense)]
    if of_weight is not None:
        layouts = onednn.backward_weights(c)
        images = (grad, call.x) if call.transposed else (call.x, grad)
        copies = [*_copied(images[0], layouts.inputs), *_copied(images[1], layouts.outputs)]
        bias = [of_bias.nbytes] if of_bias is not None else []
        biased = bool(bias) and not call.transposed  # whose bias is computed apart
        scratch = onednn_scratch.of_weights(c, layouts, *images, biased, processor.threads())
        scratch = onednn_scratch.nested(scratch) if call.transposed else scratch
        made = onednn.weight_bytes(c, layouts.weight, width)
        changes += [*copies, made, scratch, *bias, -sum(copies) - scratch, *bias, of_weight.nbytes]
    return highest(changes)


def _channels_last_backward(call: Call, c: Convolution, grad: Tensor, out: Sequence[Tensor | None]) -> int:
    """The same with images in channels-last order: only weights are copied."""
    of_input, of_weight, of_bias = out
    width = call.x.element_size()
    changes = [*_as_last(call.x), *_as_last(call.w), *_as_last(grad)]
    if of_input is not None:
        copy = onednn.weight_bytes(c, onednn.on_channels_last(c, "forward" if call.transposed else "data"), width)
        scratch = onednn_scratch.of_small_products(c)
        changes += [of_input.nbytes, copy, scratch, -copy - scratch]
    if of_weight is not None:
        bias = [of_bias.nbytes] if of_bias is not None else []
        layout = onednn.on_channels_last(c, "weights")
        made = onednn.weight_bytes(c, layout, width)
        sums = onednn.weight_bytes(c, layout, 4) if c.half else 0
        if sums and c.depthwise and max(c.kernel) > 3:
            sums += onednn_scratch.of_spread_channels(c, call.x, grad)
        changes += [made, sums, *bias, -sums, *bias, of_weight.nbytes, of_weight.nbytes]
    return highest(changes)


def _as_last(tensor: Tensor) -> list[int]:
    """A copy in channels-last order, if a tensor is not there in that order already."""
    return [] if tensor.is_contiguous(memory_format=FORMS[tensor.dim()]) else [tensor.nbytes]


def _copied(image: Tensor, layout: int) -> list[int]:
    """The copies of an image: in the usual order if it is not there so, and in the kernel's layout."""
    plain = [] if image.is_contiguous() else [image.nbytes]
    return plain if layout == PLAIN else [*plain, onednn.image_bytes(image, layout)]


def _weight_copied(c: Convolution, layout: onednn.Weight, width: int) -> list[int]:
    return [] if layout is None else [onednn.weight_bytes(c, layout, width)]


def _dense(result: Tensor, layout: int) -> list[int]:
    """The result copied out of the kernel's layout; from channels-last order it is copied twice."""
    return [result.nbytes] * (2 if layout == LAST and result.shape[1] > 1 else 1)
