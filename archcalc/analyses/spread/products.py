"""Contractions of divided tensors: which axis the result has, and what has to be gathered before."""

from __future__ import annotations

from dataclasses import dataclass

from archcalc.analyses.spread.axis import COLUMNS, SEQUENCE, SUM, Axis
from archcalc.tracing import Call, Shape

OPERANDS = {
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "addmm": ("mat1", "mat2"),
    "baddbmm": ("batch1", "batch2"),
    "_grouped_mm": ("self", "mat2"),
}
"""The two factors of each contraction, by their argument names."""
SUMMED = Axis(1, 1, SUM)


@dataclass(frozen=True)
class Product:
    """The axis of a product, the operand (0 or 1) that is gathered first, and whether each rank does a part of it.

    `lone` says that one factor alone is divided along the axis that is summed over.
    """

    axis: Axis | None
    gathered: int | None = None
    divided: bool = False
    lone: bool = False


def operands(name: str, call: Call) -> tuple[int, int]:
    """The ids of the two factors."""
    first, second = (call.inputs[key] for key in OPERANDS[name])
    assert isinstance(first, int)
    assert isinstance(second, int)
    return first, second


def _role(axis: Axis | None, shape: Shape, free: int) -> str:
    """'free' or 'summed' for the last two dimensions, 'batch' for those before, '' for a whole factor."""
    if axis is None or axis.kind == SUM:
        return ""
    place = axis.place(shape)[0] - len(shape)
    return "free" if place == free else "batch" if place < -2 else "summed"


def product(axes: tuple[Axis | None, Axis | None], shapes: tuple[Shape, Shape], result: Shape) -> Product:
    """The divided axis of the product of (..., m, k) and (..., k, n); None if it is whole."""
    roles = _role(axes[0], shapes[0], -2), _role(axes[1], shapes[1], -1)
    for which in (0, 1):
        axis, other = axes[which], axes[1 - which]
        if axis and other and axis.kind == SEQUENCE and other.kind == COLUMNS and roles[1 - which] == "free":
            return Product(_free(other, shapes[1 - which], result, 1 - which), gathered=which, divided=True)
    if roles == ("summed", "summed"):
        same = axes[0] and axes[0].kind == COLUMNS
        return Product(SUMMED if same else None, divided=True)
    for which in (0, 1):
        axis = axes[which]
        if axis is None or not roles[which]:
            continue
        if roles[which] == "free":
            return Product(_free(axis, shapes[which], result, which), divided=True)
        if roles[which] == "batch":
            dimension, outer = axis.place(shapes[which])
            placed = axis.at(result, dimension, outer) if len(result) == len(shapes[which]) else None
            return Product(placed, divided=True)
    if "summed" in roles:
        axis = axes[roles.index("summed")]
        return Product(SUMMED if axis and axis.kind == COLUMNS else None, divided=True, lone=True)
    return Product(None)


def _free(axis: Axis, shape: Shape, result: Shape, which: int) -> Axis:
    _, outer = axis.place(shape)
    return axis.at(result, len(result) - 2 + which, outer)
