"""Choices with modules that are called several times: computed again in all of their calls, or in none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations, pairwise

from archcalc.studies.recompute.candidates import Candidate, Step
from archcalc.studies.recompute.choice import Choice, Path, apart
from archcalc.studies.recompute.patterns import kind

MOST = 3
"""Kinds of modules called several times that are looked at, those that free the most: each doubles the searches."""
WORTH = 100
"""A kind that frees less than this part of what is kept is not looked at."""


class Choices:
    """The choices of one step for each set of kinds of modules called several times, as one choice.

    `left` tells that there are more of these kinds than are looked at.
    """

    def __init__(self, step: Step, candidates: Sequence[Candidate], shared: Iterable[Sequence[Candidate]]) -> None:
        self.step = step
        kinds = _kinds(step, shared)
        self.left = len(kinds) > MOST
        sets = (chosen for number in range(MOST + 1) for chosen in combinations(kinds[:MOST], number))
        forced = ([c for calls in chosen for c in calls] for chosen in sets)
        self.choices = [Choice(step, candidates, calls) for calls in forced if _all_apart(calls)]

    @property
    def thinned(self) -> bool:
        """Whether choices were dropped that might have been better."""
        return self.left or any(choice.thinned for choice in self.choices)

    def best(self, budget: int) -> Path | None:
        """The path with the least work whose peak is within the budget; None if there is none."""
        found = (choice.best(budget) for choice in self.choices)
        return min((path for path in found if path), key=lambda path: (path.work, path.bytes), default=None)

    def lowest(self) -> int:
        """The lowest peak of all paths in bytes."""
        return min(choice.lowest() for choice in self.choices)


def _kinds(step: Step, shared: Iterable[Sequence[Candidate]]) -> list[list[Candidate]]:
    """The calls of each kind of module that is called several times and frees enough, those that free most first."""
    found: dict[str, list[Candidate]] = defaultdict(list)
    for calls in shared:
        found[kind(calls[0].path)] += calls
    sizes = {name: sum(step.freed(c) for c in calls) for name, calls in found.items()}
    names = sorted((name for name in found if sizes[name] * WORTH >= max(step.total, 1)), key=lambda n: -sizes[n])
    return [found[name] for name in names]


def _all_apart(calls: Sequence[Candidate]) -> bool:
    ordered = sorted(calls, key=lambda c: (c.begin, -c.end))
    return all(apart(one, other) for one, other in pairwise(ordered))
