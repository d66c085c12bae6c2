"""`law --table self-attention`: what a layer costs, what has to wait, and how far apart positions are, from traces.

The comparison of Vaswani et al. 2017, Table 1, computed: costs and waiting as laws; the way between two positions in
stacks of as many layers as it takes, told apart by which of four forms it follows on every member.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import log
from typing import Any

from archcalc import engine
from archcalc.analyses.op_graph import path_length
from archcalc.engine.setup import Setup
from archcalc.errors import ArchcalcError
from archcalc.studies.law.crossing import sides
from archcalc.studies.law.interpolation import Law
from archcalc.studies.law.law import laws
from archcalc.studies.law.polynomials import Formula
from archcalc.studies.observer import SILENT, Observer

COMPARED = ("macs", "sequential_operations")
MOST_LAYERS = 40
WIDTH = 4


@dataclass(frozen=True)
class LayerKind:
    """A kind of layer: its network, the knob of its reach (if it has one), and more settings."""

    words: str
    network: str
    reach: str = ""
    settings: Mapping[str, Any] | None = None


PRODUCTS = LayerKind("self-attention, products alone", "self-attention-layer", "", {"projections": False})
ATTENTION = LayerKind("self-attention", "self-attention-layer")
WITH_INPUT = LayerKind("recurrent, with its input matrix", "recurrent-layer", "", {"input_matrix": True})
SEPARABLE = LayerKind("convolutional, separable", "separable-layer", "k")
FEED_FORWARD = LayerKind("feed-forward (d -> 4d -> d)", "feed-forward-layer")
BOTH = LayerKind("self-attention + feed-forward", "attention-feed-forward-layer")
LAYER_KINDS = (
    ATTENTION,
    PRODUCTS,
    LayerKind("recurrent", "recurrent-layer"),
    WITH_INPUT,
    LayerKind("convolutional", "convolutional-layer", "k"),
    LayerKind("convolutional, dilated", "convolutional-layer", "k", {"dilated": True}),
    SEPARABLE,
    LayerKind("self-attention, restricted", "restricted-attention-layer", "r"),
    FEED_FORWARD,
    BOTH,
)


@dataclass(frozen=True)
class Form:
    """A possible length of the longest path for n positions and a reach of w: in letters, its big O, its value."""

    words: str
    big_o: str
    at: Callable[[int, int], float]

    @property
    def reaches(self) -> bool:
        """Whether the length of the path depends on the reach w."""
        return "{w}" in self.words


FORMS = (
    Form("1", "O(1)", lambda _n, _w: 1),
    Form("n", "O(n)", lambda n, _w: n),
    Form("(n - 1)", "O(n)", lambda n, _w: n - 1),
    Form("(n - 1)/({w} - 1)", "O(n/{w})", lambda n, w: (n - 1) / (w - 1)),
    Form("log_{w} n", "O(log_{w} n)", lambda n, w: log(n) / log(w)),
)


@dataclass(frozen=True)
class ComparedLayer:
    """A kind of layer with its laws in `over`, and the form of its longest path with its big O."""

    kind: LayerKind
    over: Sequence[str]
    macs: Law
    sequential: Law
    path: str
    path_big_o: str


@dataclass(frozen=True)
class Meeting:
    """Two kinds of layer by their MACs in n and d: the first has more where `more` > `less`.

    `first_macs` and `second_macs` are their formulas; with `at` the reach of the first is set to n.
    """

    first: LayerKind
    second: LayerKind
    at: str
    first_macs: Formula
    second_macs: Formula
    more: Formula
    less: Formula


def meetings(layers: Sequence[ComparedLayer]) -> list[Meeting]:
    """Where the costs of layers meet: attention and recurrence at n = d, a separable convolution's at k = n."""
    by_words = {layer.kind.words: layer for layer in layers}
    made = []
    for first, second in ((PRODUCTS, WITH_INPUT), (ATTENTION, WITH_INPUT), (SEPARABLE, BOTH)):
        one, other = by_words[first.words].macs.formula, by_words[second.words].macs.formula
        at = f"{first.reach} = n" if first.reach else ""
        whole: dict[tuple[int, ...], Fraction] = {}
        for (n, d, *reach), coefficient in one.items():
            powers = n + sum(reach), d
            whole[powers] = whole.get(powers, Fraction(0)) + coefficient
        made.append(Meeting(first, second, at, whole, other, *sides(whole, other, ("n", "d"))))
    return made


def layer_comparison(observer: Observer = SILENT) -> list[ComparedLayer]:
    """Every kind of layer, every figure computed."""
    return [_compared(kind, observer) for kind in LAYER_KINDS]


def _compared(kind: LayerKind, observer: Observer) -> ComparedLayer:
    setup = Setup(dict(kind.settings or {}))
    over = ["n", "d", *([kind.reach] if kind.reach else [])]
    by_figure = {law.figure: law for law in laws(kind.network, setup, over, COMPARED, observer=observer).laws}
    macs, sequential = (by_figure[figure] for figure in COMPARED)
    return ComparedLayer(kind, over, macs, sequential, *_path(kind, setup, observer))


def _path(kind: LayerKind, setup: Setup, observer: Observer) -> tuple[str, str]:
    """The form that the longest path follows on all members, and its big O; "none" if positions never meet."""
    if kind is FEED_FORWARD:
        return _apart(kind, setup)
    points = (
        [(n, w) for w in (2, 3, 5) for n in _lengths(kind, w)] if kind.reach else [(n, 2) for n in (2, 3, 5, 9, 14)]
    )
    lengths = {(n, w): _longest(kind, setup, n, w, observer) for n, w in points}
    for form in FORMS:
        ratios = {round(length / form.at(n, w), 9) for (n, w), length in lengths.items()}
        if len(ratios) == 1 and form.reaches <= bool(kind.reach):
            words = _times(ratios.pop(), form.words.format(w=kind.reach))
            return words, form.big_o.format(w=kind.reach)
    return "no form", ""


def _apart(kind: LayerKind, setup: Setup) -> tuple[str, str]:
    """The answer for a layer that works at each position by itself: two layers do not join two positions either."""
    for layers in (1, 2):
        knobs = {**setup.knobs, "n": 2, "d": WIDTH, "layers": layers}
        if path_length(engine.trace(kind.network, replace(setup, knobs=knobs))) is not None:
            raise ArchcalcError(f"{layers} layers of {kind.network} join positions.")
    return "none", ""


def _times(factor: float, words: str) -> str:
    """The form multiplied by a number.

    >>> _times(3, "1"), _times(1, "(n - 1)"), _times(3, "(n - 1)/(r - 1)")
    ('3', 'n - 1', '3·(n - 1)/(r - 1)')
    """
    if factor == 1:
        return words[1:-1] if words.startswith("(") and words.endswith(")") and words.count("(") == 1 else words
    return f"{factor:g}" if words == "1" else f"{factor:g}·{words}"


def _lengths(kind: LayerKind, w: int) -> list[int]:
    """Numbers of positions that whole layers reach."""
    if (kind.settings or {}).get("dilated"):
        return [w, w**2, w**3] if w < 5 else [w, w**2]
    return [1 + layers * (w - 1) for layers in (1, 2, 3, 5)]


def _longest(kind: LayerKind, setup: Setup, n: int, w: int, observer: Observer) -> int:
    """The longest path in the smallest stack in which every position reaches all behind it."""
    knobs = {**setup.knobs, "n": n, "d": WIDTH, **({kind.reach: w} if kind.reach else {})}
    for layers in range(1, MOST_LAYERS):
        observer.advance()
        length = path_length(engine.trace(kind.network, replace(setup, knobs={**knobs, "layers": layers})))
        if length is not None:
            return length
    raise ArchcalcError(f"{MOST_LAYERS} layers of {kind.network} do not join {n} positions.")
