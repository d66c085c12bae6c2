"""Convolutions: each output element sums a window over the input's channels."""

from __future__ import annotations

from fractions import Fraction
from math import prod

from archcalc.ops.axes import LOST, Axis, Field, Seen
from archcalc.ops.call_view import CallView, integers, once
from archcalc.ops.met import by_convolution, passed_over, reads_met
from archcalc.ops.names import packet
from archcalc.ops.registry import FREE, Op
from archcalc.ops.traffic import Launch, Moved, Operands, wanted_of
from archcalc.ops.windows import window
from archcalc.tracing import Shape, Trace


def bias_behind(operands: Operands) -> tuple[Launch, ...]:
    """CuDNN's convolution has no bias; torch adds it to the result. Its own depthwise kernel adds it at once."""
    input_, groups = operands.shape("input"), operands.attributes.get("groups")
    channels = input_[1] if len(input_) > 2 else 0
    if not operands.has("bias") or not channels or (groups == channels and channels > 1):
        return ()
    unread = passed_over(operands, by_convolution)
    return Launch(("input", "weight"), (0,), 1, unread=unread), Launch(("bias",), (0,), adds=True)


CONVOLUTION = Op("convolution", "_convolution", traffic=reads_met(by_convolution), launches=bias_behind)
OF_ONE_DEVICE = Op(
    "convolution_overrideable", "mkldnn_convolution", "cudnn_convolution", "_conv_depthwise2d", "conv_depthwise3d",
    "_slow_conv2d_forward", "slow_conv3d_forward", "slow_conv_dilated2d", "slow_conv_dilated3d",
    traffic=reads_met(by_convolution),
)  # fmt: skip
TRANSPOSED = Op("cudnn_convolution_transpose", "slow_conv_transpose2d", "slow_conv_transpose3d")
CONV_TBC = Op("conv_tbc")
DEFORMABLE = Op("torchvision.deform_conv2d")


def of_wanted_gradients(operands: Operands) -> Moved:
    """The weight is read for the gradient of the input, the input for that of the weight."""
    input_, weight, _ = wanted_of(operands)
    read = ["grad_output", *(["weight"] if input_ else []), *(["input"] if weight else [])]
    unread = passed_over(operands, by_convolution) if weight else 0
    return Moved(operands.bytes_of(*read) - unread, operands.made)


def each_gradient(operands: Operands) -> list[Launch]:
    """A kernel for the gradient of the input and one for that of the weight, cuDNN's, and torch's sum for the bias."""
    unread = passed_over(operands, by_convolution)
    gradients = (("grad_output", "weight"), 1, 0), (("grad_output", "input"), 1, unread), (("grad_output",), 0, 0)
    computed = [of for of, wanted in zip(gradients, wanted_of(operands), strict=True) if wanted]
    return [Launch(read, (place,), products, unread=left) for place, (read, products, left) in enumerate(computed)]


BACKWARD = Op(
    "convolution_backward", "convolution_backward_overrideable",
    work=FREE, traffic=of_wanted_gradients, launches=each_gradient,
)  # fmt: skip


def could_be_winograds(trace: Trace) -> bool:
    """Whether a convolution moves a kernel of several places by one: Winograd's method has fewer products for it."""
    for call in trace.calls:
        weight = call.inputs.get("weight") if packet(call.op) == "convolution" else None
        steps = set(integers(call.attributes.get("stride")))
        if isinstance(weight, int) and max(trace.shape(weight)[2:], default=1) > 1 and steps == {1}:
            return True
    return False


@CONVOLUTION.macs
@OF_ONE_DEVICE.macs
def convolution(output: Shape, weight: Shape, input: Shape = (), transposed: bool = False) -> int:
    """Each output element sums Cin/groups · kh · kw products.

    Transposed, each input element makes Cout/groups · kh · kw.
    The weight is Cout, Cin/groups, k... (transposed: Cin, Cout/groups, k...), so groups, stride, dilation and the
    number of dimensions are in the shapes already. Products with padded zeros are counted, as everyone does.

    >>> convolution((1, 64, 112, 112), (64, 3, 7, 7))  # 64·112·112 · 3·7·7
    118013952
    >>> convolution((1, 8, 16, 16), (4, 8, 2, 2), (1, 4, 8, 8), transposed=True)  # 4·8·8 · 8·2·2
    8192
    """
    return prod(input if transposed else output) * prod(weight[1:])


@TRANSPOSED.macs
def transposed_convolution(self: Shape, weight: Shape) -> int:
    """Each input element makes Cout/groups · kh · kw products.

    >>> transposed_convolution((1, 4, 8, 8), (4, 8, 2, 2))  # 4·8·8 · 8·2·2
    8192
    """
    return prod(self) * prod(weight[1:])


@CONV_TBC.macs
def conv_tbc(output: Shape, weight: Shape) -> int:
    """T, N, C -> T', N, C' with a weight of k, C, C': T'·N·C' · k·C.

    >>> conv_tbc((5, 2, 4), (3, 6, 4))  # 5·2·4 · 3·6
    720
    """
    return prod(output) * weight[0] * weight[1]


@DEFORMABLE.macs
def deform_conv2d(output: Shape, weight: Shape) -> int:
    """A convolution whose taps lie between pixels: Cin/groups · kh · kw products for each output element.

    >>> deform_conv2d((1, 8, 4, 4), (8, 2, 3, 3))  # 8·4·4 · 2·3·3
    2304
    """
    return prod(output) * prod(weight[1:])


@BACKWARD.macs
def convolution_backward(
    grad_output: Shape,
    input: Shape,
    weight: Shape,
    transposed: bool = False,
    output_mask: tuple[bool, ...] = (True, True, True),
) -> int:
    """The gradients of input and weight cost one forward pass each; the bias's is a sum.

    >>> convolution_backward((1, 64, 112, 112), (1, 3, 224, 224), (64, 3, 7, 7), output_mask=(False, True, False))
    118013952
    """
    forward = convolution(grad_output, weight, input, transposed)
    return forward * (output_mask[0] + output_mask[1])


@CONVOLUTION.reason
def convolution_reason(call: CallView) -> str:
    """Kernels make channels; ⌊(H + 2p - d(k-1) - 1)/s⌋ + 1, or (H-1)s - 2p + d(k-1) + p' + 1 transposed."""
    weight, x = call.named["weight"], call.named["input"]
    dims = len(weight) - 2
    transposed = call.attributes.get("transposed") is True
    s, p, d = (call.numbers(a, dims) for a in ("stride", "padding", "dilation"))
    extra = call.numbers("output_padding", dims)
    sizes = []
    for i in range(dims):
        h, k, out = x[2 + i], weight[2 + i], call.output[2 + i]
        if transposed:
            tail = f"+{extra[i]}" if extra[i] else ""
            sizes.append(f"({h}-1)·{s[i]}-2·{p[i]}+{d[i]}·({k}-1)+1{tail} = {out}")
        else:
            sizes.append(window(h, k, s[i], p[i], d[i], out))
    return f"{call.output[1]} kernels, {once(sizes)}"


@CONVOLUTION.field
def convolution_field(call: CallView, seen: Seen, shape: Shape) -> Field:
    """Makes r + d(k-1)·j and j·s; transposed r + ⌊d(k-1)/s⌋·j and j/s."""
    field, _ = seen[0]
    kernel = call.named["weight"][2:]
    stride, dilation = (call.numbers(a, len(kernel), 1) for a in ("stride", "dilation"))
    out: list[Axis | None] = [None, None]
    for i, k in enumerate(kernel):
        axis = field[2 + i] if len(field) == len(shape) else None
        if axis is None:
            return LOST
        if call.attributes.get("transposed") is True:
            reach = dilation[i] * (k - 1) // stride[i]
            out.append(axis.window(reach + 1, Fraction(1, stride[i])))
        else:
            out.append(axis.window(k, stride[i], dilation[i]))
    return tuple(out)
