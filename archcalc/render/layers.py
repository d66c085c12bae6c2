"""Layers as rows: which modules are shown, how deep, in which order; the rows add up to the report's total."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from archcalc.errors import NoSuchLayer, WrongUse
from archcalc.render.equal_blocks import Folding, Shown

if TYPE_CHECKING:
    from archcalc.analyses.report import Layer, Report

ENOUGH_ROWS = 6
"""Without --depth a table folds at the first depth that has this many rows."""
ALL = 1_000_000
"""A depth that folds nothing."""


@dataclass(frozen=True)
class Selection:
    """Which layers to show: `depth` None chooses one, `zeros` keeps rows whose main figure is 0.

    Equal blocks are one row where the depth is chosen for the whole model: not if `unfold` asks for each, which is an
    error where there are none, and not if the format shows `each` anyway.
    """

    depth: int | None = None
    layer: str = ""
    top: int | None = None
    sort: str = ""
    zeros: bool = False
    unfold: bool = False
    each: bool = False

    @property
    def may_fold(self) -> bool:
        """Whether equal blocks may be one row."""
        return self.depth is None and not self.layer and not self.each


def layer_rows(
    report: Report, selection: Selection, figures: Sequence[str] | Mapping[str, str], main: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of the selected layers with some figures, and their total; `main` is the one that folding looks at.

    `figures` are keys of the report, or keys of the rows with those of the report.

    A row is a module with everything below it, or, where its children have rows, only what it does itself.
    """
    roots = matching_layers(report, selection.layer)
    sources = figures if isinstance(figures, Mapping) else dict(zip(figures, figures, strict=True))
    keys = list(sources)
    folding, depth = _folding(roots, selection, sources)
    rows = [row for root in roots for row in _fold(root, depth, sources, folding)]
    total: dict[str, Any] = {key: sum(row[key] for row in rows) for key in keys}
    total |= {"path": "selected" if selection.layer else "total", "modules": sum(r["modules"] for r in rows)}
    total["output_shape"] = None if selection.layer else _shape(report.root)
    key = _sort_key(rows, selection.sort)
    rows = _ordered(rows, key)
    kept = rows if selection.zeros else [row for row in rows if row[main]]
    if selection.top is not None:
        largest = key if key and isinstance(rows[0][key], int) else main
        kept = sorted(kept, key=lambda row: row[largest], reverse=True)[: selection.top]
    return _folded(rows, keys, {id(row) for row in kept}), total


def matching_layers(report: Report, glob: str) -> list[Layer]:
    """The outermost layers whose path is, or matches, the pattern; the model itself without one."""
    if not glob:
        return [report.root]
    if glob in report.layers:
        return [report.layers[glob]]
    outermost: list[Layer] = []
    for layer in report.root.walk():
        inside = any(layer.path.startswith(f"{outer.path}.") for outer in outermost)
        if layer.path and fnmatchcase(layer.path, glob) and not inside:
            outermost.append(layer)
    if not outermost:
        raise NoSuchLayer(glob, [path for path in report.layers if path])
    return outermost


def _folding(roots: Sequence[Layer], selection: Selection, sources: Mapping[str, str]) -> tuple[Folding, int]:
    """How equal blocks are shown, and the depth: the one asked for, or the first that has enough rows.

    WrongUse if `unfold` is asked for and there is nothing to unfold.
    """
    folded = Folding(roots, sources.values(), fold=selection.may_fold)
    depth = selection.depth
    if depth is None:
        depth = _chosen_depth(roots, sources, folded)
    if not selection.unfold:
        return folded, depth
    if not any(row.get("times", 1) > 1 for root in roots for row in _fold(root, depth, sources, folded)):
        raise WrongUse("--unfold: no row of this table stands for several equal blocks.", "leave out  --unfold")
    return folded.apart(), depth


def _chosen_depth(roots: Sequence[Layer], sources: Mapping[str, str], folding: Folding) -> int:
    if len(roots) > 1:
        return 0
    depth, rows = 1, 0
    while True:
        now = sum(1 for root in roots for _ in _fold(root, depth, sources, folding))
        if now >= ENOUGH_ROWS or now == rows:
            return depth
        depth, rows = depth + 1, now


def _fold(root: Layer, depth: int, sources: Mapping[str, str], folding: Folding) -> Iterator[dict[str, Any]]:
    """The rows of a layer: one for each layer `depth` levels below, and for what those above do themselves."""
    waiting = [(Shown(root, root.path, 1), depth)]
    while waiting:
        shown, below = waiting.pop()
        layer = shown.layer
        if below == 0 and (blocks := folding.blocks_of_list(shown, sources.values())):
            waiting += [(block, 0) for block in reversed(blocks)]
            continue
        if not layer.children or below == 0:
            total = {key: layer.total[source] for key, source in sources.items()}
            yield _row(shown, total, sum(1 for _ in layer.walk()))
            continue
        own = {key: layer.own[source] for key, source in sources.items()}
        if any(own.values()):
            yield _row(shown, own, 1, itself=True)
        waiting += [(child, below - 1) for child in reversed(folding.children(shown))]


def _row(shown: Shown, figures: Mapping[str, int], modules: int, itself: bool = False) -> dict[str, Any]:
    """A row; where it stands for several modules, with the sum of their figures and of the modules in them."""
    layer, times = shown.layer, shown.times
    return {
        "path": shown.path,
        "type": layer.type,
        "modules": modules * times,
        "itself": itself,
        "calls": layer.calls,
        "output_shape": _shape(layer),
        **{key: figure * times for key, figure in figures.items()},
        **({"times": times} if times > 1 else {}),
    }


def _shape(layer: Layer) -> list[Any] | None:
    shapes = [list(shape) for shape in layer.output_shapes]
    return None if not shapes else shapes[0] if len(shapes) == 1 else shapes


def _sort_key(rows: Sequence[Mapping[str, Any]], sort: str) -> str:
    """The key that --sort means: its own name in any case, or the beginning of one; '' for none."""
    if not sort or not rows:
        return ""
    known = [key for key in rows[0] if key not in ("output_shape", "itself", "times")]
    wanted = sort.lower().replace(" ", "_").replace("parameters", "params")
    matches = [key for key in known if key == wanted] or [key for key in known if key.startswith(wanted)]
    if not matches:
        raise WrongUse(f"cannot sort by '{sort}'.", f"sort by one of  {', '.join(known)}")
    return matches[0]


def _ordered(rows: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Rows by a key, numbers from the largest down."""
    if not key:
        return rows
    return sorted(rows, key=lambda row: row[key], reverse=isinstance(rows[0][key], int))


def _folded(rows: list[dict[str, Any]], keys: Sequence[str], kept: set[int]) -> list[dict[str, Any]]:
    """The rows whose id is in `kept`, in their order, and one row for all others."""
    others = [row for row in rows if id(row) not in kept]
    if len(others) < 2:
        return rows
    folded = {key: sum(row[key] for row in others) for key in keys}
    modules, calls = (sum(row[key] for row in others) for key in ("modules", "calls"))
    head = {"path": f"[{len(others)} others]", "type": "", "modules": modules, "itself": False}
    return [*(row for row in rows if id(row) in kept), {**head, "calls": calls, "output_shape": None, **folded}]
