"""`law --table self-attention`: what a layer costs, what has to wait, and how far apart positions are, from traces.

The comparison of Vaswani et al. 2017, Table 1, computed: costs and waiting as laws; the way between two positions in
stacks of as many layers as it takes, told apart by which of four forms it follows on every member.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import log
from typing import Any

from archcalc import engine
from archcalc.analyses.op_graph import path_length
from archcalc.cli.options import Options
from archcalc.cli.output import counting
from archcalc.engine import Setup
from archcalc.errors import ArchcalcError, WrongUse
from archcalc.render.document import TEXT, Column, Document, Table
from archcalc.render.formulas import as_sympy, as_written, big_o, letters
from archcalc.studies.law.interpolation import Law
from archcalc.studies.law.members import found

TABLE = "self-attention"
MOST_LAYERS = 40
WIDTH = 4


@dataclass(frozen=True)
class Kind:
    """A kind of layer: its network, the knob of its reach (if it has one), and more settings."""

    words: str
    network: str
    reach: str = ""
    settings: Mapping[str, Any] | None = None


KINDS = (
    Kind("self-attention", "self-attention-layer"),
    Kind("recurrent", "recurrent-layer"),
    Kind("convolutional", "convolutional-layer", "k"),
    Kind("convolutional, dilated", "convolutional-layer", "k", {"dilated": True}),
    Kind("self-attention, restricted", "restricted-attention-layer", "r"),
)


@dataclass(frozen=True)
class Form:
    """What a way may be as a function of n positions and a reach of w: in letters, its big O, its value."""

    words: str
    big_o: str
    at: Callable[[int, int], float]

    @property
    def reaches(self) -> bool:
        """Whether it knows of a reach."""
        return "{w}" in self.words


FORMS = (
    Form("1", "O(1)", lambda _n, _w: 1),
    Form("n", "O(n)", lambda n, _w: n),
    Form("(n - 1)", "O(n)", lambda n, _w: n - 1),
    Form("(n - 1)/({w} - 1)", "O(n/{w})", lambda n, w: (n - 1) / (w - 1)),
    Form("log_{w} n", "O(log_{w} n)", lambda n, w: log(n) / log(w)),
)


def layer_comparison(table: str, model: str, options: Options) -> Document:
    """The table, every cell computed; WrongUse for another name."""
    if table != TABLE:
        raise WrongUse(f"there is no table '{table}'.", f"write  --table {TABLE}")
    if model:
        raise WrongUse("--table has its own layers and takes no model.", f"type  archcalc law --table {TABLE}")
    with counting("members traced", options.quiet) as watch:
        rows = [_row(kind, watch) for kind in KINDS]
    columns = [
        Column("layer", "layer", TEXT),
        Column("macs", "MACs of a layer", TEXT),
        Column("macs_big_o", "complexity", TEXT),
        Column("sequential", "sequential contractions", TEXT),
        Column("sequential_big_o", "", TEXT),
        Column("path", "longest path", TEXT),
        Column("path_big_o", "", TEXT),
    ]
    head = ["the layers of sequence models · n positions of width d, kernels of k, neighbourhoods of r"]
    foot = [
        "MACs and sequential contractions: laws, checked on members apart from those they were found on",
        "longest path: contractions on the shortest way between the two positions that are farthest apart, in as many",
        "layers as it takes; the form holds on every member that was traced, kernels of 2 to 5 among them",
        "the same layers by themselves: archcalc show self-attention-layer · archcalc law recurrent-layer --over n,d",
    ]
    around = {"totals": {"layers": len(rows)}, "notes": []}
    return Document("law", head, [Table(columns, rows)], foot, around)


def _row(kind: Kind, watch: Callable[[], None]) -> dict[str, Any]:
    setup = Setup(dict(kind.settings or {}))
    over = ["n", "d", *([kind.reach] if kind.reach else [])]
    result = found(kind.network, setup, over, ["macs", "sequential_operations"], watch)
    laws: dict[str, Law] = {law.figure: law for law in result.laws}
    row: dict[str, Any] = {"layer": kind.words, "network": kind.network}
    names = list(letters(over).values())
    for key, figure in (("macs", "macs"), ("sequential", "sequential_operations")):
        row[key] = as_written(laws[figure].formula, over)
        row[f"{key}_expression"] = as_sympy(laws[figure].formula, over)
        row[f"{key}_big_o"] = big_o(laws[figure].leading, names)
    return {**row, **_path(kind, setup, watch)}


def _path(kind: Kind, setup: Setup, watch: Callable[[], None]) -> dict[str, Any]:
    """The form that the longest path follows on all members."""
    points = (
        [(n, w) for w in (2, 3, 5) for n in _lengths(kind, w)] if kind.reach else [(n, 2) for n in (2, 3, 5, 9, 14)]
    )
    lengths = {(n, w): _longest(kind, setup, n, w, watch) for n, w in points}
    for form in FORMS:
        ratios = {round(length / form.at(n, w), 9) for (n, w), length in lengths.items()}
        if len(ratios) == 1 and form.reaches <= bool(kind.reach):
            words = _times(ratios.pop(), form.words.format(w=kind.reach))
            return {"path": words, "path_big_o": form.big_o.format(w=kind.reach)}
    return {"path": "no form", "path_big_o": ""}


def _times(factor: float, words: str) -> str:
    """A multiple of a form.

    >>> _times(3, "1"), _times(1, "(n - 1)"), _times(3, "(n - 1)/(r - 1)")
    ('3', 'n - 1', '3·(n - 1)/(r - 1)')
    """
    if factor == 1:
        return words[1:-1] if words.startswith("(") and words.endswith(")") and words.count("(") == 1 else words
    return f"{factor:g}" if words == "1" else f"{factor:g}·{words}"


def _lengths(kind: Kind, w: int) -> list[int]:
    """Numbers of positions that whole layers reach."""
    if (kind.settings or {}).get("dilated"):
        return [w, w**2, w**3] if w < 5 else [w, w**2]
    return [1 + layers * (w - 1) for layers in (1, 2, 3, 5)]


def _longest(kind: Kind, setup: Setup, n: int, w: int, watch: Callable[[], None]) -> int:
    """The longest path in the smallest stack in which every position reaches all behind it."""
    knobs = {**setup.knobs, "n": n, "d": WIDTH, **({kind.reach: w} if kind.reach else {})}
    for layers in range(1, MOST_LAYERS):
        watch()
        length = path_length(engine.trace(kind.network, replace(setup, knobs={**knobs, "layers": layers})))
        if length is not None:
            return length
    raise ArchcalcError(f"{MOST_LAYERS} layers of {kind.network} do not join {n} positions.")
