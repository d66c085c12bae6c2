"""Multiply-accumulates of attention and of recurrent kernels, as archcalc.ops.macs has those of the rest."""

from __future__ import annotations

from math import prod

from archcalc.ops.macs import contraction
from archcalc.tracing.records import Shape

# ---- attention -----------------------------------------------------------------------------------


@contraction(
    "aten.scaled_dot_product_attention",
    "aten._scaled_dot_product_attention_math",
    "aten._scaled_dot_product_flash_attention",
    "aten._scaled_dot_product_flash_attention_for_cpu",
    "aten._scaled_dot_product_efficient_attention",
    "aten._scaled_dot_product_cudnn_attention",
    "aten._scaled_dot_product_fused_attention_overrideable",
)
def scaled_dot_product_attention(query: Shape, key: Shape, value: Shape) -> int:
    """N, h, n, d_k with N, h_kv, m, d_k and N, h_kv, m, d_v: both products, N·h·n·m · (d_k + d_v).

    With grouped queries (h_kv < h) every query head still meets every key; a causal mask does not halve the count.

    >>> scaled_dot_product_attention((1, 8, 10, 64), (1, 2, 20, 64), (1, 2, 20, 32))  # 8·10·20 · (64+32)
    153600
    """
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


@contraction("aten._flash_attention_forward", "aten._efficient_attention_forward")
def attention_forward(
    query: Shape, key: Shape, value: Shape, cum_seq_q: Shape | None = None, cu_seqlens_q: Shape | None = None
) -> int | None:
    """N, n, h, d_k with N, m, h_kv, d: both products, N·h·n·m · (d_k + d_v).

    Packed sequences of unequal length (cum_seq_q, cu_seqlens_q) keep their lengths in data: None.

    >>> attention_forward((1, 10, 8, 64), (1, 20, 8, 64), (1, 20, 8, 32))  # 8·10·20 · (64+32)
    153600
    """
    if cum_seq_q or cu_seqlens_q:
        return None
    return prod(query[:-1]) * key[1] * (query[-1] + value[-1])


@contraction(
    "aten._scaled_dot_product_flash_attention_backward",
    "aten._scaled_dot_product_flash_attention_for_cpu_backward",
    "aten._scaled_dot_product_efficient_attention_backward",
    "aten._scaled_dot_product_cudnn_attention_backward",
)
def scaled_dot_product_attention_backward(query: Shape, key: Shape, value: Shape) -> int:
    """Five products: the scores again, and the gradients of value, weights, query and key.

    >>> scaled_dot_product_attention_backward((1, 8, 10, 64), (1, 8, 20, 64), (1, 8, 20, 64))  # 8·10·20 · 5·64
    512000
    """
    return prod(query[:-1]) * key[-2] * (3 * query[-1] + 2 * value[-1])


# ---- recurrent kernels ---------------------------------------------------------------------------


@contraction("aten.lstm", "aten.gru", "aten.rnn_tanh", "aten.rnn_relu")
def recurrent(params: tuple[Shape, ...], input: Shape = (), data: Shape = ()) -> int:
    """Every weight matrix meets every time step of every sequence once: T·N · (sum of their elements).

    >>> recurrent(((512, 64), (512, 128), (512,), (512,)), input=(5, 2, 64))  # 5·2 · (512·64 + 512·128)
    983040
    """
    return prod((input or data)[:-1]) * sum(prod(p) for p in params if len(p) == 2)


@contraction("aten._cudnn_rnn", "aten.miopen_rnn")
def cudnn_rnn(input: Shape, weight: tuple[Shape, ...]) -> int:
    """As the kernels above, with the weights in one list.

    >>> cudnn_rnn((5, 2, 64), ((512, 64), (512, 128), (512,), (512,)))
    983040
    """
    return recurrent(weight, input)


@contraction("aten.mkldnn_rnn_layer")
def mkldnn_rnn_layer(input: Shape, weight0: Shape, weight1: Shape) -> int:
    """One layer in one direction: T·N · (elements of both weights).

    >>> mkldnn_rnn_layer((5, 2, 64), (512, 64), (512, 128))
    983040
    """
    return prod(input[:-1]) * (prod(weight0) + prod(weight1))


@contraction("aten.mkldnn_rnn_layer_backward")
def mkldnn_rnn_layer_backward(input: Shape, weight1: Shape, weight2: Shape) -> int:
    """The gradients of input, states and both weights: twice the forward pass.

    >>> mkldnn_rnn_layer_backward((5, 2, 64), (512, 64), (512, 128))
    1966080
    """
    return 2 * mkldnn_rnn_layer(input, weight1, weight2)


@contraction("aten.lstm_cell", "aten.gru_cell", "aten.rnn_tanh_cell", "aten.rnn_relu_cell")
def recurrent_cell(input: Shape, w_ih: Shape, w_hh: Shape) -> int:
    """One step: N · (elements of both weights).

    >>> recurrent_cell((2, 64), (512, 64), (512, 128))  # 2 · (512·64 + 512·128)
    196608
    """
    return prod(input[:-1]) * (prod(w_ih) + prod(w_hh))
