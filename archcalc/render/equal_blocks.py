"""Sibling modules that are equal in structure and figures, as one: `layers.{0..23}` stands for all of them."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archcalc.analyses.report import Layer

MANY = 4
"""Equal blocks that stand in the place of the list that holds them."""


@dataclass(frozen=True)
class Shown:
    """A module that stands for `times` equal ones, and the name of them all."""

    layer: Layer
    path: str
    times: int


class Folding:
    """Which modules are shown, and for how many each stands."""

    def __init__(
        self,
        roots: Sequence[Layer],
        figures: Iterable[str],
        fold: bool = True,
        marks: Mapping[str, Hashable] | None = None,
    ) -> None:
        """Modules under `roots` are equal if their `figures` and `marks` by path are, and those of all inside them."""
        self.figures, self.fold, self.marks = tuple(figures), fold, marks or {}
        self._each = False
        self._numbers: dict[Hashable, int] = {}
        self._kinds: dict[str, int] = {}
        for root in roots if fold else ():
            self._measure(root)

    def children(self, parent: Shown) -> list[Shown]:
        """The children of a module, each run of equal ones as its first."""
        shown, base = [], f"{parent.path}." if parent.path else ""
        children = parent.layer.children
        for run in self._runs(children) if self.fold and not self._each else [[child] for child in children]:
            names = [layer.path.rpartition(".")[2] for layer in run]
            name = names[0] if len(run) == 1 else _span(names[0], names[-1])
            shown.append(Shown(run[0], base + name, parent.times * len(run)))
        return shown

    def walk(self, root: Layer) -> Iterator[Shown]:
        """Every module that is shown, parents before their children."""
        waiting = [Shown(root, root.path, 1)]
        while waiting:
            shown = waiting.pop()
            yield shown
            waiting += reversed(self.children(shown))

    def apart(self) -> Folding:
        """The same with each of equal modules by itself: what stood in one row stands in as many."""
        each = copy(self)
        each._each = True
        return each

    def blocks_of_list(self, parent: Shown, figures: Iterable[str]) -> list[Shown]:
        """What stands for the children of a module that does nothing itself and has MANY, all equal; else nothing."""
        children = parent.layer.children
        if not self.fold or len(children) < MANY or any(parent.layer.own[figure] for figure in figures):
            return []
        return self.children(parent) if len(self._runs(children)) == 1 else []

    def _runs(self, children: Sequence[Layer]) -> list[list[Layer]]:
        """Neighbours that are equal and numbered one after the other."""
        runs: list[list[Layer]] = []
        for child in children:
            if runs and self._follows(runs[-1][-1], child):
                runs[-1].append(child)
            else:
                runs.append([child])
        return runs

    def _follows(self, before: Layer, layer: Layer) -> bool:
        first, second = (_numbered(each.path.rpartition(".")[2]) for each in (before, layer))
        if first is None or second is None or first[0] != second[0] or first[1] + 1 != second[1]:
            return False
        return self._kinds[before.path] == self._kinds[layer.path]

    def _measure(self, root: Layer) -> None:
        """Number what each module is, from the innermost on: equal modules have equal numbers."""
        for layer in reversed(list(root.walk())):
            what = (
                layer.type, layer.extra, layer.calls, tuple(layer.input_shapes), tuple(layer.output_shapes),
                tuple(layer.own.get(figure) for figure in self.figures), layer.own.get("params"),
                self.marks.get(layer.path),
                tuple((child.path.rpartition(".")[2], self._kinds[child.path]) for child in layer.children),
            )  # fmt: skip
            self._kinds[layer.path] = self._numbers.setdefault(what, len(self._numbers))


def _numbered(name: str) -> tuple[str, int] | None:
    """A name's beginning and the number at its end.

    >>> _numbered("3"), _numbered("block12"), _numbered("norm")
    (('', 3), ('block', 12), None)
    """
    match = re.fullmatch(r"(.*?)(0|[1-9]\d{0,8})", name, re.ASCII)
    return (match[1], int(match[2])) if match else None


def _span(first: str, last: str) -> str:
    """The name of a run.

    >>> _span("0", "23"), _span("block1", "block4")
    ('{0..23}', 'block{1..4}')
    """
    (name, start), (_, end) = (_numbered(each) or (each, 0) for each in (first, last))
    return f"{name}{{{start}..{end}}}"


def times_each(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """The footnote of a table in which a row stands for several equal blocks; none for another table."""
    times = [row["times"] for row in rows if "times" in row]
    if not times:
        return []
    return [f"x{times[0]}: equal blocks, their figures summed up; --unfold shows each"]
