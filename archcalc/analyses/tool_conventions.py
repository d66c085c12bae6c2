"""How other tools count, from the same trace: what each takes for work, so that a reader sees where a number is from.

Each habit follows the tool's own rules for convolutional networks, and tests compare it with the tool itself. What a
tool does with functional calls and with fused attention is not imitated.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from archcalc.ops.names import packet
from archcalc.tracing import Call, Trace

TORCH = frozenset(
    "mm addmm bmm baddbmm convolution _convolution _scaled_mm _scaled_dot_product_flash_attention "
    "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention".split()
)
"""Ops that torch.utils.flop_counter has a formula for; mv, dot and grouped products are not among them."""
NORMS = frozenset("native_batch_norm cudnn_batch_norm native_layer_norm native_group_norm".split())
PTFLOPS_ONE = ("ReLU", "ELU", "LeakyReLU", "PReLU", "MaxPool", "AvgPool", "AdaptiveAvgPool", "AdaptiveMaxPool")
FVCORE_OUTPUTS = {"upsample_nearest2d": 1, "upsample_bilinear2d": 4, "grid_sampler_2d": 4}
"""fvcore: operations an output element."""


def torch_habit(trace: Trace, exact: Mapping[int, int]) -> dict[int, int]:
    """FlopCounterMode, halved: contractions of the ops it knows."""
    return {number: macs for number, macs in exact.items() if packet(trace.calls[number].op) in TORCH}


def fvcore_habit(trace: Trace, exact: Mapping[int, int]) -> dict[int, int]:
    """Contractions; 2 an element in batch norm (1 without weights), 5 (4) in other norms, 1 in adaptive pooling."""
    counted = {number: macs for number, macs in exact.items() if packet(trace.calls[number].op) in TORCH}
    for number, call in enumerate(trace.calls):
        work = _fvcore_beside(trace, call)
        if work:
            counted[number] = work
    return counted


def _fvcore_beside(trace: Trace, call: Call) -> int:
    name = packet(call.op)
    if name in NORMS:
        x = prod(trace.shape(next(call.tensors())))
        affine = "weight" in call.inputs
        evaluated = name.endswith("batch_norm") and not call.attributes.get("training")
        return x * ((2 if affine else 1) if evaluated else (5 if affine else 4))
    if name == "_adaptive_avg_pool2d" or (name == "mean" and _type(trace, call).startswith("AdaptiveAvgPool2d")):
        return prod(trace.shape(next(call.tensors())))
    return FVCORE_OUTPUTS.get(name, 0) * prod(trace.shape(call.outputs[0])) if call.outputs else 0


def thop_habit(trace: Trace, exact: Mapping[int, int]) -> dict[int, int]:
    """By modules: convolutions and linears; 4 an element in batch norm; average pooling 1 an output."""
    counted = {}
    for number, call in enumerate(trace.calls):
        type_, name = _type(trace, call), packet(call.op)
        if number in exact and type_.startswith(("Conv", "Linear")):
            counted[number] = exact[number]
        elif name == "native_batch_norm" and type_.startswith("BatchNorm"):
            counted[number] = (4 if "weight" in call.inputs else 2) * prod(trace.shape(next(call.tensors())))
        elif type_.startswith("AvgPool") and name.startswith("avg_pool"):
            counted[number] = prod(trace.shape(call.outputs[0]))
        elif type_.startswith("AdaptiveAvgPool") and name in ("mean", "_adaptive_avg_pool2d"):
            x, y = prod(trace.shape(next(call.tensors()))), prod(trace.shape(call.outputs[0]))
            counted[number] = (x // y + 1) * y
    return counted


def ptflops_habit(trace: Trace, exact: Mapping[int, int]) -> dict[int, int]:
    """By modules: convolutions and linears with bias; 2 an element in norms; ReLU and pooling 2 an element.

    1 is meant: it counts the module, and then the function of torch.nn.functional that the module calls.
    """
    counted = {}
    for number, call in enumerate(trace.calls):
        type_ = _type(trace, call)
        if number in exact and type_.startswith(("Conv", "Linear")):
            bias = prod(trace.shape(call.outputs[0])) if "bias" in call.inputs or packet(call.op) == "addmm" else 0
            counted[number] = exact[number] + bias
        elif type_.startswith(("BatchNorm", "GroupNorm", "LayerNorm")) and packet(call.op) in NORMS:
            counted[number] = (2 if "weight" in call.inputs else 1) * prod(trace.shape(next(call.tensors())))
        elif type_.startswith(PTFLOPS_ONE) and not any(word in call.op for word in ("view", "squeeze", "empty")):
            counted[number] = 2 * prod(trace.shape(next(call.tensors())))  # as a module and as the function it calls
    return counted


def _type(trace: Trace, call: Call) -> str:
    return trace.modules[trace.module_calls[call.module_call].module].type
