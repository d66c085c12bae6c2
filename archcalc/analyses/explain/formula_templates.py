"""Formulas in letters: put numbers in the place of letters, and reckon what comes out.

`Cout · Cin/groups · kh · kw [+ Cout if bias]` is a template: letters are words, a trailing mark makes another letter of
one (H'), and a part in brackets counts only where its condition holds.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Mapping
from fractions import Fraction
from math import ceil, floor

LETTER = re.compile(r"[A-Za-z_]+[a-z_A-Z]*'?")
OPTION = re.compile(r" ?\[(?P<part>[^\]]*) if (?P<condition>\w+)\]")


def in_letters(template: str) -> str:
    """The template with its conditions in words.

    >>> in_letters("out · in [+ out if bias]")
    'out · in (+ out if bias)'
    """
    return OPTION.sub(r" (\g<part> if \g<condition>)", template).strip()


def in_numbers(template: str, numbers: Mapping[str, int], conditions: Collection[str] = ()) -> str:
    """The template with a number for each letter, and of its options those whose condition holds.

    >>> in_numbers("out · in [+ out if bias]", {"out": 1000, "in": 512}, {"bias"})
    '1000 · 512 + 1000'
    """
    chosen = OPTION.sub(lambda m: f" {m['part']}" if m["condition"] in conditions else "", template)
    return LETTER.sub(lambda m: str(numbers[m[0]]), chosen).strip()


def value(expression: str) -> int:
    """The value of an expression of numbers; ValueError for a fraction.

    >>> value("⌊(224 + 2·3 - 1·(7 - 1) - 1)/2⌋ + 1"), value("2·256²/16")
    (112, 8192)
    """
    python = expression
    for sign, replacement in (("·", "*"), ("²", "**2"), ("⌊", "floor("), ("⌋", ")"), ("⌈", "ceil("), ("⌉", ")")):
        python = python.replace(sign, replacement)
    number = _value(ast.parse(python, mode="eval").body)
    if number.denominator != 1:
        raise ValueError(f"{expression} is {number}, not a whole number")
    return int(number)


def _value(node: ast.expr) -> Fraction:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return Fraction(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return Fraction({"floor": floor, "ceil": ceil}[node.func.id](_value(node.args[0])))
    if isinstance(node, ast.BinOp):
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Div):
            return left / right
        if isinstance(node.op, ast.Pow):
            return left ** int(right)
    raise ValueError(f"{ast.unparse(node)} is not arithmetic")
