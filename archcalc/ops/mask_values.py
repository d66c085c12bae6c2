"""Values of masks and of what masks are made from, as far as the trace tells them.

Positions (`arange`) are numbers that are linear in the indices of their tensor. A comparison of positions, `tril` and
`triu` are functions of the difference of two indices that have a few pieces: so is the mask of causal attention, and
that of a sliding window. A value that is not known is None.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from archcalc.ops.call_view import CallView, dim_of, integers, swapped_dims
from archcalc.ops.mask_arithmetic import POINTWISE, number, pointwise
from archcalc.ops.names import base_name
from archcalc.ops.pieces import Known, Pieces, Positions, causal, constant, merged, padded
from archcalc.tracing import Call, Trace


def value_of(trace: Trace, call: Call, values: Mapping[int, Known]) -> Known | None:
    """What is known of the first output of a call; None if nothing is."""
    name = base_name(call.op) or ""
    view = CallView(trace, call)
    rank = len(view.output)
    if name == "arange":
        return _range(call)
    if name in FILLED:
        return constant(FILLED[name], rank)
    if name in ("full", "new_full", "full_like", "scalar_tensor"):
        return constant(number(call.attributes.get("s" if name == "scalar_tensor" else "fill_value")), rank)
    first = values.get(next(call.tensors(), -1))
    if name in MOVED:
        return None if first is None else _moved(view, first, MOVED[name])
    if name == "index" and isinstance(first, Pieces) and not any(first.coefficients):
        return replace(first, coefficients=(0,) * rank)  # any place of a uniform tensor holds the same
    if name in ("tril", "triu"):
        return _triangle(view, first, upper=name == "triu")
    if name in POINTWISE:
        return pointwise(trace, call, POINTWISE[name], values)
    return None


# ---- makers --------------------------------------------------------------------------------------

FILLED = {"ones": 1.0, "new_ones": 1.0, "ones_like": 1.0, "zeros": 0.0, "new_zeros": 0.0, "zeros_like": 0.0}


def _range(call: Call) -> Known | None:
    start, step = call.attributes.get("start", 0), call.attributes.get("step", 1)
    return Positions((step,), start) if type(start) is int and type(step) is int else None


def _triangle(call: CallView, of: Known | None, upper: bool) -> Known | None:
    """What is below the diagonal of triu, and above that of tril, becomes 0."""
    diagonal = call.attributes.get("diagonal", 0)
    rank = len(call.output)
    if type(diagonal) is not int or rank < 2:
        return None
    start = diagonal if upper else diagonal + 1
    inside = replace(causal(rank), cuts=(start,), values=(0.0, 1.0) if upper else (1.0, 0.0))
    content = of if isinstance(of, Pieces) else constant(None, rank)
    return merged(lambda part, value: value if part else 0.0, [inside, content], rank)


# ---- moved indices -------------------------------------------------------------------------------


def _moved(call: CallView, value: Known, move: Callable[[CallView, Known], Known | None]) -> Known | None:
    """What is known after indices have moved, those of chunks with the others."""
    moved = move(call, value)
    if not isinstance(moved, Pieces) or not isinstance(value, Pieces) or not value.chunk:
        return moved
    query, key = (move(call, part) for part in value.chunk)
    if not isinstance(query, Positions) or not isinstance(key, Positions):
        return None
    return replace(moved, chunk=(query, key))


def _same(call: CallView, value: Known) -> Known | None:
    return value


def _reshaped(call: CallView, value: Known) -> Known | None:
    """Sizes of 1 come and go; merged and split dimensions lose the values, unless those are all the same."""
    before, after = call.inputs[0], call.output
    sizes = [(size, c) for size, c in zip(before, value.coefficients, strict=True) if size != 1]
    if [size for size, _ in sizes] != [size for size in after if size != 1]:
        alike = not any(value.coefficients)
        return replace(value, coefficients=(0,) * len(after)) if alike else None
    rest = iter([c for _, c in sizes])
    return replace(value, coefficients=tuple(next(rest) if size != 1 else 0 for size in after))


def _expanded(call: CallView, value: Known) -> Known | None:
    before, after = call.inputs[0], call.output
    if any(size == 0 for size in before):
        return None
    return replace(value, coefficients=padded(value.coefficients, len(after)))


def _permuted(call: CallView, value: Known) -> Known | None:
    rank = len(value.coefficients)
    order = [d % rank for d in integers(call.attributes.get("dims"))]
    if not order:
        order = list(range(rank))
        if rank > 1:
            first, second = swapped_dims(call, rank) if "dim0" in call.attributes else (0, 1)
            order[first], order[second] = order[second], order[first]
    return replace(value, coefficients=tuple(value.coefficients[d] for d in order))


def _sliced(call: CallView, value: Known) -> Known | None:
    before, dim = call.inputs[0], dim_of(call, len(call.inputs[0]))
    start, step = call.attributes.get("start") or 0, call.attributes.get("step", 1)
    if type(start) is not int or type(step) is not int:
        return None
    start = max(0, start + before[dim]) if start < 0 else min(start, before[dim])
    shifted = _shifted(value, value.coefficients[dim] * start)
    factors = [step if d == dim else 1 for d in range(len(before))]
    return replace(shifted, coefficients=tuple(c * f for c, f in zip(value.coefficients, factors, strict=True)))


def _selected(call: CallView, value: Known) -> Known | None:
    before, dim, index = call.inputs[0], dim_of(call, len(call.inputs[0])), call.attributes.get("index")
    if type(index) is not int:
        return None
    shifted = _shifted(value, value.coefficients[dim] * (index % before[dim]))
    return replace(shifted, coefficients=(*value.coefficients[:dim], *value.coefficients[dim + 1 :]))


def _shifted(value: Known, by: int) -> Known:
    """The value after the first index of a dimension has moved, which adds `by` to its x."""
    if isinstance(value, Positions):
        return replace(value, offset=value.offset + by)
    return replace(value, cuts=tuple(cut - by for cut in value.cuts))


MOVED: Mapping[str, Callable[[CallView, Known], Known | None]] = {
    **dict.fromkeys(("detach", "alias", "lift_fresh", "clone", "contiguous", "to", "_to_copy"), _same),
    **dict.fromkeys(("view", "_unsafe_view", "reshape", "unsqueeze", "squeeze", "flatten"), _reshaped),
    **dict.fromkeys(("expand", "broadcast_to", "expand_as"), _expanded),
    **dict.fromkeys(("transpose", "t", "permute", "numpy_T"), _permuted),
    "slice": _sliced,
    "select": _selected,
}
