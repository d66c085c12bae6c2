"""Arithmetic and logic on the values of masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite

from archcalc.ops.names import base_name
from archcalc.ops.pieces import (
    Elementwise,
    Known,
    Number,
    Pieces,
    Positions,
    broadcast,
    constant,
    in_chunks,
    merged,
    oriented,
)
from archcalc.tracing import Call, Trace, Value

HIDES = -1e3
"""A number that is added to a score hides the key if it is at most this: BERT adds -10,000, others -inf."""


def _times(a: Number, b: Number) -> Number:
    if 0 in (a, b):
        return 0.0
    return None if a is None or b is None else a * b


def _plus(a: Number, b: Number) -> Number:
    """A score that is hidden stays hidden, whatever finite number is added."""
    for part in (a, b):
        if part is not None and part <= HIDES:
            return part
    return None if a is None or b is None else a + b


def _minus(a: Number, b: Number) -> Number:
    return _plus(a, None if b is None else -b)


def _both(a: Number, b: Number) -> Number:
    if 0 in (a, b):
        return 0.0
    return None if a is None or b is None else 1.0


def _either(a: Number, b: Number) -> Number:
    if (a is not None and a != 0) or (b is not None and b != 0):
        return 1.0
    return None if a is None or b is None else 0.0


def _unlike(a: Number, b: Number) -> Number:
    return None if a is None or b is None else float((a != 0) != (b != 0))


def _quotient(a: Number, b: Number) -> Number:
    return None if a is None or not b or not isfinite(a) else float(a // b)


def _not(a: Number) -> Number:
    return None if a is None else float(a == 0)


def _chosen(condition: Number, a: Number, b: Number) -> Number:
    if condition is None:
        return a if a == b else None
    return a if condition else b


def _comparison(of: Callable[[float, float], bool]) -> Elementwise:
    return lambda a, b: None if a is None or b is None else float(of(a, b))


COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "le": lambda a, b: a <= b,
    "lt": lambda a, b: a < b,
    "ge": lambda a, b: a >= b,
    "gt": lambda a, b: a > b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
}
POINTWISE: Mapping[str, Elementwise] = {
    **{name: _comparison(of) for name, of in COMPARISONS.items()},
    "add": _plus,
    "sub": _minus,
    "rsub": lambda a, b: _minus(b, a),
    "mul": _times,
    **dict.fromkeys(("bitwise_and", "logical_and", "__and__"), _both),
    **dict.fromkeys(("bitwise_or", "logical_or", "__or__"), _either),
    **dict.fromkeys(("bitwise_xor", "logical_xor", "__xor__"), _unlike),
    **dict.fromkeys(("bitwise_not", "logical_not"), _not),
    "floor_divide": _quotient,
    "abs": lambda a: None if a is None else abs(a),
    "neg": lambda a: None if a is None else -a,
    "where": _chosen,
    "masked_fill": lambda a, mask, value: _chosen(mask, value, a),
}
ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "where": ("condition", "self", "other"),
    "masked_fill": ("self", "mask", "value"),
    **dict.fromkeys(("bitwise_not", "logical_not", "neg", "abs"), ("self",)),
}


def pointwise(trace: Trace, call: Call, rule: Elementwise, values: Mapping[int, Known]) -> Known | None:
    """The result of an elementwise op; None if nothing is known of it."""
    name = base_name(call.op) or ""
    rank = len(trace.shape(call.outputs[0]))
    operands = [argument(call, word, values, rank) for word in ARGUMENTS.get(name, ("self", "other"))]
    if call.attributes.get("alpha", 1) != 1 or call.attributes.get("rounding_mode"):
        return None
    linear = _linear(name, operands)
    if linear is not None or all(isinstance(part, Positions) or not _knows(part) for part in operands):
        return linear
    return merged(rule, [part if isinstance(part, Pieces) else constant(None, rank) for part in operands], rank)


def argument(call: Call, word: str, values: Mapping[int, Known], rank: int) -> Known:
    """What is known of an argument, a tensor or a number, as it is broadcast to a rank."""
    tensor = call.inputs.get(word)
    if isinstance(tensor, int):
        value = values.get(tensor)
        return broadcast(value, rank) if value else constant(None, rank)
    return constant(number(call.attributes.get(word)), rank)


def _knows(value: Known) -> bool:
    return isinstance(value, Positions) or any(part is not None for part in (*value.values, *value.apart))


def _linear(name: str, operands: list[Known]) -> Known | None:
    """Sums and differences of positions are positions, and their comparison has two or three pieces."""
    if name == "abs":
        only = operands[0]
        return replace(only, absolute=True) if isinstance(only, Positions) and only.plain else None
    if len(operands) != 2 or not any(isinstance(part, Positions) for part in operands):
        return None
    left, right = (_as_positions(part) for part in operands)
    if left is None or right is None:
        return None
    if name in COMPARISONS:
        return _compared(COMPARISONS[name], left, right)
    if not (left.plain and right.plain):
        return None
    if name == "floor_divide":
        by = 0 if any(right.coefficients) else right.offset
        return replace(left, divisor=by) if by > 0 else None
    if name not in ("add", "sub", "rsub"):
        return None
    return _sum(right, left, -1) if name == "rsub" else _sum(left, right, 1 if name == "add" else -1)


def _compared(holds: Callable[[float, float], bool], left: Positions, right: Positions) -> Known | None:
    """Where a comparison of positions is true: by their difference, by the distance of a window, or by chunks."""
    if left.plain and right.plain:
        difference = _sum(left, right, -1)
        cuts = (-difference.offset, 1 - difference.offset)  # the difference is below 0, 0, above 0
        return oriented(Pieces(difference.coefficients, cuts, tuple(float(holds(x, 0)) for x in (-1, 0, 1))))
    if right.absolute:
        return _compared(lambda a, b: holds(b, a), right, left)
    if left.absolute and right.plain and not any(right.coefficients) and right.offset > 0:
        ends = (-right.offset, 1 - right.offset, right.offset, right.offset + 1)
        values = tuple(float(holds(x, 0)) for x in (1, 0, -1, 0, 1))
        return oriented(Pieces(left.coefficients, tuple(end - left.offset for end in ends), values))
    together, apart = holds(0, 0), holds(0, 1)
    if left.divisor == right.divisor > 1 and together != apart == holds(1, 0):  # == or !=
        return in_chunks(left, right, float(together), float(apart))
    return None


def _as_positions(value: Known) -> Positions | None:
    if isinstance(value, Positions):
        return value
    only = value.values[0]
    whole = not value.cuts and not value.chunk and only is not None and isfinite(only) and only == int(only)
    return Positions(value.coefficients, int(only)) if whole and only is not None else None


def _sum(a: Positions, b: Positions, sign: int) -> Positions:
    both = zip(a.coefficients, b.coefficients, strict=True)
    return Positions(tuple(x + sign * y for x, y in both), a.offset + sign * b.offset)


def number(value: Value) -> Number:
    """An attribute as a number; None for anything else."""
    if isinstance(value, str):
        return {"-inf": float("-inf"), "inf": float("inf")}.get(value)
    return float(value) if isinstance(value, bool | int | float) else None
