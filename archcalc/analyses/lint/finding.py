"""The records of `lint`: the number of a rule at one place, and the finding where it is above the bound."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """The number of a rule at one place, and advice on how to make it smaller."""

    path: str
    value: float
    advice: str


@dataclass(frozen=True)
class LintFinding:
    """A number that is above its bound: the rule, the path of the layer or block, and advice."""

    guideline: str
    path: str
    value: float
    bound: float
    advice: str
