"""Why a shape is what it is: the rule of each op that changes shapes, with the numbers of the call in it."""

from __future__ import annotations

from archcalc.ops.call_view import CallView
from archcalc.ops.names import base_name
from archcalc.ops.registry import known
from archcalc.tracing import Call, Shape, Trace


def why(trace: Trace, call: Call) -> str:
    """The rule of one call with its numbers; '' where the op leaves the shape as it is."""
    op, view = known(call.op), CallView(trace, call)
    if op is not None and op.shape_reason is not None and view.inputs:
        return op.shape_reason(view)
    shapes = set(view.inputs)
    if view.output in shapes or not shapes:
        return ""
    broadcast = len(shapes) > 1 and all(len(s) <= len(view.output) for s in shapes)
    return "broadcast" if broadcast else base_name(call.op) or call.op


def module_rule(type_: str, output: Shape) -> str:
    """The rule of modules that say more than their ops do: adaptive pooling of size 1 runs as a mean."""
    if type_ in ("RNN", "LSTM", "GRU"):
        return f"hidden state of {output[-1]} at every step"
    if type_ == "MultiheadAttention":
        return f"queries' length, embed_dim = {output[-1]}"
    dims = 3 if type_.endswith("3d") else 2 if type_.endswith("2d") else 1
    return f"adaptive: output {'x'.join(map(str, output[-dims:]))}" if type_.startswith("Adaptive") else ""
