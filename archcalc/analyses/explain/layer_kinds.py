"""The kinds of layer whose cost has a formula in a few letters, as `archcalc explain` writes them.

A kind says what its letters mean, its formulas as templates of `formula_templates`, and how the numbers are read from a
layer that ran. What a formula gives is compared with the figure that was counted before it is shown.
"""

from __future__ import annotations

from math import prod

from archcalc.analyses.explain.layer_kind import Kind, Reading, Seen, has
from archcalc.analyses.explain.norm_kinds import NORMS
from archcalc.analyses.explain.window_kinds import (
    AXES,
    convolution,
    pooling,
    read_global_pooling,
    transposed_convolution,
)

# ---- linear, embedding, activation ---------------------------------------------------------------


def _read_linear(seen: Seen) -> Reading:
    out, in_ = seen.parameters["weight"]
    bias = {"bias"} if "bias" in seen.parameters else set()
    return {"rows": prod(seen.inputs[0][:-1]), "in": in_, "out": out}, bias


def _read_embedding(seen: Seen) -> Reading:
    V, D = seen.parameters["weight"]
    return {"V": V, "D": D}, set()


def _read_elements(seen: Seen) -> Reading:
    return {"elements": prod(seen.output)}, set()


ACTIVATIONS = (
    "ReLU", "ReLU6", "Sigmoid", "Tanh", "GELU", "SiLU", "Mish", "ELU", "SELU", "LeakyReLU", "Softplus", "Hardswish",
    "Hardsigmoid", "Hardtanh",
)  # fmt: skip

# ---- attention -----------------------------------------------------------------------------------


def _read_attention(seen: Seen) -> Reading:
    (N, h, n, d_k), (*_, m, _), (*_, d_v) = seen.inputs[:3]
    return {"N": N, "h": h, "n": n, "m": m, "d_k": d_k, "d_v": d_v}, set()


def _read_multi_head_attention(seen: Seen) -> Reading:
    """Ours has a matrix for each of Q, K, V and an attention inside; torch's stacks them and multiplies by itself."""
    if "W_Q.weight" in seen.parameters:
        (N, h, n, d_k), (*_, m, _), (*_, d_v) = seen.inside("attention")[:3]
        d = seen.parameters["W_Q.weight"][1]
        bias = has(seen, "W_Q.bias", "bias")
    else:
        d = seen.parameters["in_proj_weight"][1]
        scores = seen.op("bmm", "baddbmm")
        keys = scores.named.get("mat2", scores.named.get("batch2", ()))
        queries, n, d_k = scores.named.get("self" if "mat2" in scores.named else "batch1", ())
        h, m, d_v = d // d_k, keys[2], d_k
        N = queries // h
        bias = has(seen, "in_proj_bias", "bias")
    return {"N": N, "h": h, "n": n, "m": m, "d": d, "d_k": d_k, "d_v": d_v}, bias


# ---- recurrent cells -----------------------------------------------------------------------------


def recurrent_cell(name: str, types: tuple[str, ...], gates: int, says: str) -> Kind:
    """One step of a recurrent net: as many products with x and with h as it has gates."""
    many = "" if gates == 1 else f"{gates} · "
    return Kind(
        name,
        types,
        "N batch, I inputs, H hidden units",
        (
            ("params", f"{many}H · (I + H) [+ {2 * gates} · H if bias]"),
            ("MACs", f"N · {many}H · (I + H)"),
        ),
        _read_cell,
        says,
    )


def _read_cell(seen: Seen) -> Reading:
    """Ours has U for x and W for h, torch's weight_ih and weight_hh; a projection has another formula."""
    shapes = seen.parameters
    if any(name.startswith("P.") for name in shapes):
        raise LookupError("no projection")
    ours = "U.weight" in shapes
    inputs, hidden = shapes["U.weight" if ours else "weight_ih"][1], shapes["W.weight" if ours else "weight_hh"][1]
    return {"N": prod(seen.inputs[0][:-1]), "I": inputs, "H": hidden}, has(
        seen, "U.bias" if ours else "bias_ih", "bias"
    )


def recurrent_layer(name: str, type_: str, gates: int) -> Kind:
    """A whole sequence through one layer in one direction."""
    many = "" if gates == 1 else f"{gates} · "
    return Kind(
        name,
        (type_,),
        "N batch, T time steps, I inputs, H hidden units; one layer, one direction",
        (
            ("params", f"{many}H · (I + H) [+ {2 * gates} · H if bias]"),
            ("MACs", f"N · T · {many}H · (I + H)"),
        ),
        _read_layer,
        "the weights are shared over time: parameters do not depend on T, MACs grow with it",
    )


def _read_layer(seen: Seen) -> Reading:
    shapes = seen.parameters
    if set(shapes) - {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"}:
        raise LookupError("one layer, one direction, no projection")
    inputs, hidden = shapes["weight_ih_l0"][1], shapes["weight_hh_l0"][1]
    rows = prod(seen.inputs[0][:-1])
    N = seen.trace.shape(seen.call.outputs[1])[1] if len(seen.inputs[0]) == 3 else 1
    return {"N": N, "T": rows // N, "I": inputs, "H": hidden}, has(seen, "bias_ih_l0", "bias")


# ---- blocks --------------------------------------------------------------------------------------


def _read_se(seen: Seen) -> Reading:
    N, C, H, W = seen.inputs[0]
    reduced, _ = seen.parameters["fc1.weight"]
    return {"N": N, "C": C, "r": C // reduced, "H": H, "W": W}, has(seen, "fc1.bias", "bias")


def _read_positions(seen: Seen) -> Reading:
    N, n, d = seen.inputs[0]
    return {"N": N, "n": n, "d": d, "max_len": seen.parameters["positions"][0]}, set()


def _read_shuffle(seen: Seen) -> Reading:
    groups = seen.op("view").output[1]
    N, C, H, W = seen.output
    return {"N": N, "C": C, "g": groups, "H": H, "W": W}, set()


KINDS: tuple[Kind, ...] = (
    *map(convolution, AXES),
    *map(transposed_convolution, AXES),
    Kind(
        "linear",
        ("Linear", "NonDynamicallyQuantizableLinear"),
        "rows: all positions of all samples; in and out features",
        (
            ("params", "out · in [+ out if bias]"),
            ("MACs", "rows · in · out"),
            ("elementwise", "[rows · out if bias]"),
        ),
        _read_linear,
        "y = x Wᵀ + b: each output feature of each row sums `in` products",
    ),
    Kind(
        "embedding",
        ("Embedding",),
        "V words, D features",
        (("params", "V · D"),),
        _read_embedding,
        "a look-up: rows are copied, nothing is multiplied",
    ),
    *NORMS,
    Kind("activation", ACTIVATIONS, "elements of the output", (("elementwise", "elements"),), _read_elements),
    Kind(
        "softmax",
        ("Softmax", "LogSoftmax"),
        "elements of the output",
        (("elementwise", "5 · elements"),),
        _read_elements,
        "maximum, subtraction, exponential, sum, division",
    ),
    pooling("max-pool2d", "MaxPool2d", ("max_pool2d_with_indices",), True),
    pooling("avg-pool2d", "AvgPool2d", ("avg_pool2d",), False),
    Kind(
        "global-avg-pool",
        ("AdaptiveAvgPool2d",),
        "N batch, C channels, H, W size; H', W' as asked for",
        (("output", "N×C×H'×W'"), ("elementwise", "N · C · H · W")),
        read_global_pooling,
        "every input element is added once",
    ),
    Kind(
        "attention",
        ("ScaledDotProductAttention",),
        "N batch, h heads, n queries, m keys; d_k features of a key, d_v of a value",
        (
            ("output", "N×h×n×d_v"),
            ("MACs", "N · h · n · m · (d_k + d_v)"),
        ),
        _read_attention,
        "softmax(Q Kᵀ / √d_k) V: n · m scores of d_k products, then as many weights on d_v features",
    ),
    Kind(
        "multi-head-attention",
        ("MultiHeadAttention", "MultiheadAttention"),
        "N batch, n queries, m keys, d features of the model; h heads of d_k and d_v",
        (
            ("params", "d · h · (2 · d_k + d_v) + h · d_v · d [+ h · (2 · d_k + d_v) + d if bias]"),
            ("MACs", "N · d · h · (n · d_k + m · d_k + m · d_v + n · d_v) + N · h · n · m · (d_k + d_v)"),
        ),
        _read_multi_head_attention,
        "four projections, then both products of attention; with d_k = d_v = d/h and m = n:  4nd² + 2n²d",
    ),
    Kind(
        "positional-encoding",
        ("PositionalEncoding",),
        "N batch, n positions of d features; max_len rows of the table",
        (("output", "N×n×d"), ("buffers", "max_len · d"), ("elementwise", "N · n · d")),
        _read_positions,
        "x + PE, PE(pos, 2i) = sin(pos/10000^(2i/d)) and PE(pos, 2i + 1) its cosine: computed once, nothing is learnt",
    ),
    recurrent_cell("rnn-cell", ("RNNCell",), 1, "h = tanh(U x + W h + b), U with H · I weights and W with H · H"),
    recurrent_cell("gru-cell", ("GRUCell",), 3, "reset gate, update gate and new state, each with its U and W"),
    recurrent_cell("lstm-cell", ("LSTMCell",), 4, "input, forget, cell and output gate, each with its U and W"),
    recurrent_layer("rnn", "RNN", 1),
    recurrent_layer("gru", "GRU", 3),
    recurrent_layer("lstm", "LSTM", 4),
    Kind(
        "se-block",
        ("SEBlock",),
        "N batch, C channels, H, W size, r reduction",
        (
            ("output", "N×C×H×W"),
            ("params", "2 · C²/r [+ C/r + C if bias]"),
            ("MACs", "N · 2 · C²/r"),
            ("elementwise", "N · (2 · C · H · W + C/r + C) [+ N · (C/r + C) if bias]"),
        ),
        _read_se,
        "squeeze: C · H · W additions; excitation: C -> C/r -> C, ReLU, sigmoid; scale: C · H · W products",
    ),
    Kind(
        "channel-shuffle",
        ("ChannelShuffle",),
        "N batch, C channels in g groups, H, W size",
        (("output", "N×C×H×W"),),
        _read_shuffle,
        "(g, C/g) -> (C/g, g): channels change places; no parameters, no arithmetic",
    ),
)
BY_TYPE = {type_: kind for kind in KINDS for type_ in kind.types}
