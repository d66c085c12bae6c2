"""Conditions on the figures of members, as --where takes them: comparisons of numbers and names."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from archcalc.errors import WrongUse


def _power(base: Any, exponent: Any) -> Any:
    """A power with an exponent small enough to compute at once."""
    if abs(exponent) > 64 or abs(base) > 2**64:
        raise ArithmeticError("that power is too large")
    return base**exponent


COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
KNOWN = (
    ast.Constant, ast.Name, ast.Load, ast.BoolOp, ast.boolop, ast.UnaryOp, ast.Not, ast.USub, ast.BinOp, ast.Compare,
    *ARITHMETIC, *COMPARISONS,
)  # fmt: skip
Row = Mapping[str, Any]
FORM = "write  --where 'macs < 1e9 and params > 2e6'"


def condition(text: str, names: Sequence[str]) -> Callable[[Row], bool]:
    """A test of rows: comparisons of numbers and of the named values, with and, or, not; WrongUse for anything else.

    >>> condition("macs < 1e9 and params >= 2 * depth", ["macs", "params", "depth"])(
    ...     {"macs": 5, "params": 80, "depth": 40}
    ... )
    True
    """
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise WrongUse(f"'--where {text}' is not a condition.", FORM) from None
    for node in ast.walk(tree):
        if not isinstance(node, KNOWN):
            raise WrongUse(f"'--where {text}' is more than a comparison.", FORM)
        if isinstance(node, ast.Name) and node.id not in names:
            raise WrongUse(f"'--where' knows no {node.id}.", f"it knows  {', '.join(names)}")
    if not isinstance(tree, ast.Compare | ast.BoolOp | ast.UnaryOp):
        raise WrongUse(f"'--where {text}' compares nothing.", FORM)

    def test(row: Row) -> bool:
        try:
            return bool(_value(tree, row, text))
        except (ArithmeticError, TypeError) as error:
            raise WrongUse(f"'--where {text}' cannot be reckoned: {error}.", FORM) from None

    return test


def _value(node: ast.expr, row: Row, text: str) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str):
        return node.value
    if isinstance(node, ast.Name):
        return row[node.id]
    if isinstance(node, ast.BoolOp):
        values = (_value(operand, row, text) for operand in node.values)
        return all(values) if isinstance(node.op, ast.And) else any(values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        value = _value(node.operand, row, text)
        return not value if isinstance(node.op, ast.Not) else -value
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        return ARITHMETIC[type(node.op)](_value(node.left, row, text), _value(node.right, row, text))
    if isinstance(node, ast.Compare) and all(type(op) in COMPARISONS for op in node.ops):
        sides = [_value(side, row, text) for side in (node.left, *node.comparators)]
        pairs = pairwise(sides)
        return all(COMPARISONS[type(op)](a, b) for op, (a, b) in zip(node.ops, pairs, strict=True))
    raise WrongUse(f"'--where {text}' is more than a comparison.", FORM)
