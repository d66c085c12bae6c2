"""The choice with the least extra work within a budget: a dynamic programme over what is kept, in the order of forward.

Autograd runs its nodes in the opposite order of forward, so that at each moment of backward exactly what an earlier
part of forward keeps is still held. A choice is therefore a path through the positions of what is kept: from each
position either the next tensor is kept, or a module that begins there is computed again and the path goes on behind
it. Of a path up to a position only three things matter for the rest: the bytes it holds, its work, and which tensors
it holds that may be held by later modules, too. Of two paths that hold the same such tensors the one with more bytes
and more work is dropped; nothing else is, so that the choice is the best one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from archcalc.studies.bisection import first
from archcalc.studies.recompute.candidates import Candidate, Step
from archcalc.studies.recompute.prediction import before, copies, timeline, while_recomputed

FEW, MOST = 30, 1000
"""Paths that are kept at one position for the same tensors: in a first search, whose work bounds the second, and there.

Of more than the second number some are dropped, and the choice is near the best one."""


def apart(one: Candidate, other: Candidate) -> bool:
    """Whether neither of two calls is inside the other."""
    return one.end <= other.begin or other.end <= one.begin


@dataclass(frozen=True)
class Path:
    """Bytes that are held, extra work, and the modules that are computed again, the last one first."""

    bytes: int
    work: int
    last: tuple[Candidate, Path] | None = None

    def chosen(self) -> list[Candidate]:
        """The modules that are computed again, in the order of forward."""
        found, path = [], self
        while path.last is not None:
            candidate, path = path.last
            found.append(candidate)
        return found[::-1]


Open = frozenset[int]
"""Tensors that are held and still matter by name: the model's code has them, too, or later modules may hold them."""


class Choice:
    """The choices of one step in which `forced` calls are computed again.

    `thinned` tells after a search that paths were dropped that might have been better.
    """

    def __init__(self, step: Step, candidates: Sequence[Candidate], forced: Sequence[Candidate] = ()) -> None:
        self.step, self.thinned = step, False
        self.forced = {c.begin for c in forced}
        candidates = [*(c for c in candidates if all(apart(c, other) for other in forced)), *forced]
        self.storages = step.trace.storages
        fixed = ((s.bytes, s.birth, end) for s, end in zip(self.storages, step.ends, strict=True))
        self.fixed = timeline(step, fixed)
        """Live bytes that no choice changes, during each call."""
        self.times = [kept.packed for kept in step.kept[: step.own]] + [step.step.loss]
        self.backward = self._moments_of_backward()
        self.least = max([*self.fixed[step.span[0] : self.times[0] + 1], self.backward.get(-1, 0)])
        self.starting: dict[int, list[Candidate]] = defaultdict(list)
        for c in candidates:
            self.starting[c.begin].append(c)
        self.latest = self._latest(candidates)
        self.own = {c: self._own_peak(c) for c in candidates}

    def _moments_of_backward(self) -> Mapping[int, int]:
        """For each position the highest fixed bytes while what is kept there is the last that is still held."""
        highest: dict[int, int] = {}
        released = [kept.released or len(self.fixed) for kept in self.step.kept[: self.step.own]]
        position = len(released) - 1
        for call in range(self.step.step.loss, self.step.span[1]):
            while position >= 0 and released[position] <= call:
                position -= 1
            highest[position] = max(highest.get(position, 0), self.fixed[call])
        return highest

    def _latest(self, candidates: Iterable[Candidate]) -> Mapping[int, int]:
        """The last position from which each storage may be held."""
        latest = {storage: position for position, storage in enumerate(self.step.storage_of[: self.step.own])}
        for c in candidates:
            for storage in c.held:
                latest[storage] = max(latest.get(storage, 0), c.begin)
        return latest

    def _own_peak(self, c: Candidate) -> int:
        """The highest bytes in a module's backward pass, and while it is computed again, without what others hold."""
        step, live = self.step, list(self.fixed)
        for _, bytes_, end in copies(step, c):
            for call in range(c.trigger, end):
                live[call] += bytes_
        again = before(step, c, live) + max(while_recomputed(step, c), default=0)
        inside = [self.backward.get(position, 0) for position in range(c.begin, c.end)]
        return max([again, *inside, *live[c.trigger : c.released]])

    def best(self, budget: int) -> Path | None:
        """The path with the least work whose peak is within the budget; None if there is none."""
        found = self.fits(budget)
        for most in (FEW, MOST):
            if found is not None:
                paths = self._ends(budget, most, found.work)
                found = min([*paths, found], key=lambda path: (path.work, path.bytes))
        return found

    def fits(self, budget: int) -> Path | None:
        """Any path whose peak is within the budget, the quickest to find."""
        return next(iter(self._ends(budget)), None)

    def lowest(self, above: int = 0) -> int:
        """The lowest peak of all paths in bytes."""
        most = max(self.fixed) + sum(s.bytes for s in self.storages)
        return first(lambda budget: self.fits(budget) is not None, min(most, max(self.least, above)), most)

    def _ends(self, budget: int, most: int = 1, work: int | None = None) -> list[Path]:
        """The paths to the end of forward with at most some work; the one with the fewest bytes if `work` is None."""
        if self.least > budget:
            return []
        self.thinned = False
        count = self.step.own
        at: list[dict[Open, list[Path]]] = [defaultdict(list) for _ in range(count + 1)]
        at[0][frozenset()] = [Path(0, 0)]
        for position in range(count):
            for held, paths in at[position].items():
                kept = self._best_of(paths, most, work)
                if position not in self.forced:
                    self._go(at, held, kept, position, None, budget)
                for c in self.starting.get(position, ()):
                    self._go(at, held, kept, position, c, budget)
            at[position] = {}
        return [path for paths in at[count].values() for path in self._best_of(paths, most, work)]

    def _go(
        self,
        at: Sequence[dict[Open, list[Path]]],
        held: Open,
        paths: Sequence[Path],
        position: int,
        c: Candidate | None,
        budget: int,
    ) -> None:
        """Take the paths at a position over the next tensor, or over a module that is computed again."""
        storage = self.step.storage_of[position]
        new = c.held if c else {storage} if self.step.movable(storage) else frozenset()
        end = c.end if c else position + 1
        open_, more, highest = self._over(held, new, position, end)
        backward = self.own[c] if c else self.backward.get(position, 0)
        all_held = more + sum(self.storages[s].bytes for s in open_ if self.step.ends[s] > self.times[end])
        room = budget - max(highest, backward + all_held)
        if c:
            target = at[end][open_]
            target += [Path(p.bytes + more, p.work + c.work, (c, p)) for p in paths if p.bytes <= room]
        else:
            at[end][open_] += [Path(p.bytes + more, p.work, p.last) if more else p for p in paths if p.bytes <= room]

    def _over(self, held: Open, new: Iterable[int], begin: int, end: int) -> tuple[Open, int, int]:
        """What is open at `end`, the bytes that are held more, and the highest that forward adds to held bytes between.

        The bytes of a held tensor count from the moment on at which the model's own code lets it go.
        """
        first, last, ends = self.times[begin], self.times[end], self.step.ends
        added = [s for s in new if s not in held]
        more = sum(self.storages[s].bytes for s in added if ends[s] <= first)
        closing = sorted((ends[s], self.storages[s].bytes) for s in (*held, *added) if first < ends[s] <= last)
        highest, start = 0, first
        for moment, bytes_ in [*closing, (last, 0)]:
            if moment > start:
                highest = max(highest, max(self.fixed[start:moment]) + more)
                start = moment
            more += bytes_
        open_ = frozenset(s for s in (*held, *added) if ends[s] > last or self.latest[s] >= end)
        return open_, more, highest

    def _best_of(self, paths: list[Path], most: int, work: int | None) -> list[Path]:
        """The paths of which no other has as few bytes and as little work."""
        if work is None:
            return [min(paths, key=lambda path: path.bytes)] if paths else []
        paths.sort(key=lambda path: (path.bytes, path.work))
        kept: list[Path] = []
        for path in paths:
            if path.work <= work and (not kept or path.work < kept[-1].work):
                kept.append(path)
        if len(kept) <= most:
            return kept
        self.thinned = True
        return [kept[number * (len(kept) - 1) // (most - 1)] for number in range(most)]
