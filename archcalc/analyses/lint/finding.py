"""What a rule of `lint` measures, and what it finds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """The number of a rule at one place, and what would make it smaller."""

    path: str
    value: float
    advice: str


@dataclass(frozen=True)
class LintFinding:
    """A number that is above its bound: the rule, the path of the layer or block, and what to change."""

    guideline: str
    path: str
    value: float
    bound: float
    advice: str
