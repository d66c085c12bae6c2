"""The divided axis of an op's results, from those of its arguments. Contractions and embeddings are elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archcalc.analyses.spread.axis import COLUMNS, SUM, Axis, cut, moved, viewed
from archcalc.ops.call_view import integers
from archcalc.ops.names import packet
from archcalc.tracing import Call, Shape

Axes = list[Axis | None]

VIEWS = frozenset(
    "view _unsafe_view reshape unsqueeze squeeze flatten unflatten detach alias clone _to_copy lift_fresh "
    "contiguous _reshape_alias squeeze_ unsqueeze_ neg mul_scalar".split()
)
"""Ops whose results have the elements of their first argument, in the same order."""
LINEAR = VIEWS | frozenset(
    "add add_ sub sub_ mul mul_ div div_ t transpose permute expand slice select sum copy_ slice_backward cat".split()
)
"""Ops that may be done on the terms of a sum before these are added up."""
REDUCING = frozenset(
    "sum mean amax amin max min var std var_mean norm linalg_vector_norm logsumexp argmax all any".split()
)
NORMS = frozenset(
    "native_layer_norm native_group_norm native_batch_norm _softmax _safe_softmax _fused_rms_norm rms_norm".split()
)
"""Ops that look along the last dimensions, or along `dim`."""
PICKS = frozenset("slice narrow split split_with_sizes unsafe_split chunk cat slice_backward constant_pad_nd".split())


@dataclass(frozen=True)
class Seen:
    """One call: its name, its tensors' shapes and axes in the order of the arguments, and the shapes of its results."""

    name: str
    call: Call
    shapes: Sequence[Shape]
    axes: Sequence[Axis | None]
    results: Sequence[Shape]

    def number(self, key: str, default: int = 0) -> int:
        """An integer attribute."""
        value = self.call.attributes.get(key, default)
        return value if isinstance(value, int) else default


def followed(seen: Seen) -> Axes:
    """The axis of each result; None for what every rank has whole."""
    if not seen.shapes or not any(seen.axes):
        return [None] * len(seen.results)
    rule = RULES.get(seen.name)
    if rule is not None:
        return rule(seen)
    if seen.name in VIEWS and seen.axes[0]:
        return [viewed(seen.axes[0], result) for result in seen.results]
    return [_aligned(seen, result) for result in seen.results]


def _aligned(seen: Seen, result: Shape) -> Axis | None:
    """The axis of the first argument that has a dimension of the same size at the same place from the right."""
    for axis, shape in zip(seen.axes, seen.shapes, strict=True):
        if axis is None or not shape:
            continue
        if axis.kind == SUM:
            return axis
        dimension, outer = axis.place(shape)
        for there in (len(result) - len(shape) + dimension, dimension):
            if 0 <= there < len(result) and result[there] == shape[dimension]:
                return axis.at(result, there, outer)
    return None


def _order(seen: Seen) -> list[int]:
    """The dimension of the first argument that each dimension of the result was."""
    rank = len(seen.shapes[0])
    order = list(range(rank))
    if seen.name == "permute":
        return [dimension % rank for dimension in integers(seen.call.attributes.get("dims"))]
    first, second = (seen.number("dim0"), seen.number("dim1")) if seen.name == "transpose" else (0, rank - 1)
    if rank > 1:
        order[first], order[second] = order[second], order[first]
    return order


def _moved(seen: Seen) -> Axes:
    axis = seen.axes[0]
    return [axis and moved(axis, seen.shapes[0], result, _order(seen)) for result in seen.results]


def _picked(seen: Seen) -> Axes:
    """Slices and pieces of the first divided argument."""
    axis, shape = next((axis, shape) for axis, shape in zip(seen.axes, seen.shapes, strict=True) if axis)
    return [cut(axis, shape, result) for result in seen.results]


def _selected(seen: Seen) -> Axes:
    """One place of a dimension, or what unbind takes apart: whole where that dimension was divided."""
    axis, shape = seen.axes[0], seen.shapes[0]
    if axis is None or axis.kind == SUM:
        return [axis] * len(seen.results)
    dimension, outer = axis.place(shape)
    gone = seen.number("dim") % len(shape)
    if gone == dimension:
        return [None] * len(seen.results)
    return [axis.at(result, dimension - (gone < dimension), outer) for result in seen.results]


def _put_back(seen: Seen) -> Axes:
    """The gradient of what select takes: a dimension more."""
    axis, shape = seen.axes[0], seen.shapes[0]
    if axis is None or axis.kind == SUM:
        return [axis]
    dimension, outer = axis.place(shape)
    return [axis.at(seen.results[0], dimension + (seen.number("dim") <= dimension), outer)]


def reduced_dimensions(seen: Seen) -> set[int]:
    """The dimensions that a reduction, a softmax or a norm looks along."""
    rank = len(seen.shapes[0])
    if seen.name == "native_layer_norm":
        return {rank - 1 - place for place in range(len(integers(seen.call.attributes.get("normalized_shape"))))}
    if seen.name in ("_fused_rms_norm", "rms_norm"):
        return {rank - 1}
    dims = integers(seen.call.attributes.get("dim"))
    return {dim % rank for dim in dims} if dims and rank else set(range(rank))


def _reduced(seen: Seen) -> Axes:
    """A sum over the divided axis is one of terms; another one keeps the axis."""
    axis, shape = seen.axes[0], seen.shapes[0]
    if axis is None or axis.kind == SUM:
        return [axis] * len(seen.results)
    dimension, outer = axis.place(shape)
    gone = reduced_dimensions(seen)
    if dimension in gone:
        summed = Axis(1, 1, SUM) if axis.kind == COLUMNS and seen.name == "sum" else None
        return [summed] * len(seen.results)
    keeps = bool(seen.call.attributes.get("keepdim"))
    there = dimension if keeps else dimension - sum(dim < dimension for dim in gone)
    return [axis.at(result, there, outer) if len(result) > there else None for result in seen.results]


def _attention(seen: Seen) -> Axes:
    """Heads: each result has the axis of an argument of its shape, or of the query where it has fewer dimensions."""
    found: Axes = []
    for result in seen.results:
        same = [a for a, s in zip(seen.axes, seen.shapes, strict=True) if a and s == result]
        axis, shape = next((a, s) for a, s in zip(seen.axes, seen.shapes, strict=True) if a)
        dimension, outer = axis.place(shape)
        if same:
            found.append(same[0])
        elif len(result) > dimension and result[: dimension + 1] == shape[: dimension + 1]:
            found.append(axis.at(result, dimension, outer))
        else:
            found.append(None)
    return found


RULES: dict[str, Callable[[Seen], Axes]] = {
    **dict.fromkeys(("t", "transpose", "permute"), _moved),
    **dict.fromkeys(PICKS, _picked),
    **dict.fromkeys(("select", "unbind"), _selected),
    "select_backward": _put_back,
    **dict.fromkeys(REDUCING, _reduced),
}
for kernel in ("flash", "efficient", "cudnn", "flash_attention_for_cpu"):
    name_ = f"_scaled_dot_product_{kernel}" + ("" if kernel.endswith("cpu") else "_attention")
    RULES |= {name_: _attention, f"{name_}_backward": _attention}


def name_of(call: Call) -> str:
    """The name of a call's op without library and overload."""
    return packet(call.op)
