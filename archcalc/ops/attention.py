"""Fused attention, and softmax."""

from __future__ import annotations

from math import prod

from archcalc.ops.call_view import CallView
from archcalc.ops.reductions import along_dim
from archcalc.ops.registry import FREE, Causal, Op, Work, passes
from archcalc.tracing import Shape

PASSES = 5
"""Of a softmax over its elements: maximum, subtract, exponential, sum, divide."""
SOFTMAX = Op("_softmax", "_safe_softmax", "softmax", work=passes(PASSES), causal=Causal.SOFTMAX, fuses=True)
LOG_SOFTMAX = Op("_log_softmax", "log_softmax", "_masked_softmax", work=passes(PASSES), fuses=True)


def _scaled_softmax(call: CallView) -> int:
    """Every score is scaled, and takes part in a softmax."""
    query, key = call.inputs[:2]
    return (1 + PASSES) * prod(query[:-1]) * key[-2]


ATTENTION = Op(
    "scaled_dot_product_attention",
    "_scaled_dot_product_attention_math",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
    work=Work("a scaling and a softmax of the scores", _scaled_softmax),
    causal=Causal.FUSED,
)
POSITIONS_FIRST = Op("_flash_attention_forward", "_efficient_attention_forward")
ATTENTION_BACKWARD = Op(
    "_scaled_dot_product_flash_attention_backward",
    "_scaled_dot_product_flash_attention_for_cpu_backward",
    "_scaled_dot_product_efficient_attention_backward",
    "_scaled_dot_product_cudnn_attention_backward",
    work=FREE,
)


@ATTENTION.macs
def scaled_dot_product_attention(query: Shape, key: Shape, value: Shape) -> int:
    """N, h, n, d_k with N, h_kv, m, d_k and N, h_kv, m, d_v: both products, N·h·n·m · (d_k + d_v).

    With grouped queries (h_kv < h) every query head still meets every key; a causal mask does not halve the count.

    >>> scaled_dot_product_attention((1, 8, 10, 64), (1, 2, 20, 64), (1, 2, 20, 32))  # 8·10·20 · (64+32)
    153600
    """
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


@POSITIONS_FIRST.macs
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


@ATTENTION_BACKWARD.macs
def scaled_dot_product_attention_backward(query: Shape, key: Shape, value: Shape) -> int:
    """Five products: the scores again, and the gradients of value, weights, query and key.

    >>> scaled_dot_product_attention_backward((1, 8, 10, 64), (1, 8, 20, 64), (1, 8, 20, 64))  # 8·10·20 · 5·64
    512000
    """
    return prod(query[:-1]) * key[-2] * (3 * query[-1] + 2 * value[-1])


SOFTMAX.field(along_dim)
LOG_SOFTMAX.field(along_dim)
