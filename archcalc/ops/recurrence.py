"""Recurrent layers and cells as single kernels."""

from __future__ import annotations

from math import prod

from archcalc.ops.registry import FREE, Op, passes
from archcalc.tracing import Shape

LAYERS = Op("lstm", "gru", "rnn_tanh", "rnn_relu")
CUDNN = Op("_cudnn_rnn", "miopen_rnn")
ONEDNN = Op("mkldnn_rnn_layer")
ONEDNN_BACKWARD = Op("mkldnn_rnn_layer_backward", work=FREE)
CELLS = Op("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
Op("_thnn_fused_lstm_cell", work=passes(14))
# a quarter of the gates: 4 biases, 4 activations, 3 products, a sum, a tanh and a product
Op("_thnn_fused_gru_cell", work=passes(12))


@LAYERS.macs
def recurrent(params: tuple[Shape, ...], input: Shape = (), data: Shape = ()) -> int:
    """Every weight matrix meets every time step of every sequence once: T·N · (sum of their elements).

    >>> recurrent(((512, 64), (512, 128), (512,), (512,)), input=(5, 2, 64))  # 5·2 · (512·64 + 512·128)
    983040
    """
    return prod((input or data)[:-1]) * sum(prod(p) for p in params if len(p) == 2)


@CUDNN.macs
def cudnn_rnn(input: Shape, weight: tuple[Shape, ...]) -> int:
    """As the kernels above, with the weights in one list.

    >>> cudnn_rnn((5, 2, 64), ((512, 64), (512, 128), (512,), (512,)))
    983040
    """
    return recurrent(weight, input)


@ONEDNN.macs
def mkldnn_rnn_layer(input: Shape, weight0: Shape, weight1: Shape) -> int:
    """One layer in one direction: T·N · (elements of both weights).

    >>> mkldnn_rnn_layer((5, 2, 64), (512, 64), (512, 128))
    983040
    """
    return prod(input[:-1]) * (prod(weight0) + prod(weight1))


@ONEDNN_BACKWARD.macs
def mkldnn_rnn_layer_backward(input: Shape, weight1: Shape, weight2: Shape) -> int:
    """The gradients of input, states and both weights: twice the forward pass.

    >>> mkldnn_rnn_layer_backward((5, 2, 64), (512, 64), (512, 128))
    1966080
    """
    return 2 * mkldnn_rnn_layer(input, weight1, weight2)


@CELLS.macs
def recurrent_cell(input: Shape, w_ih: Shape, w_hh: Shape) -> int:
    """One step: N · (elements of both weights).

    >>> recurrent_cell((2, 64), (512, 64), (512, 128))  # 2 · (512·64 + 512·128)
    196608
    """
    return prod(input[:-1]) * (prod(w_ih) + prod(w_hh))
