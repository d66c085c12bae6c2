"""Which weights tensor parallelism divides: found from a trace, or named.

A linear layer is divided by columns (its output features) where everything that its output goes through can be done on
a part of the features or heads, until a next linear layer, which is then divided by rows (its input features): queries,
keys and values before the output projection, the two or three layers of a feed-forward part. A layer whose output is
normalised, sorted or added to a whole tensor on the way stays whole. The embedding of the tokens is divided by words,
and a last layer whose output is the model's by columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from archcalc.analyses.spread.axis import COLUMNS, Axis, moved
from archcalc.analyses.spread.products import OPERANDS, operands, product
from archcalc.analyses.spread.rules import NORMS, REDUCING, VIEWS, Seen, followed, name_of, reduced_dimensions
from archcalc.tracing import Shape, Trace

COLUMN, ROW, WORDS, WHOLE = "column", "row", "words", "whole"
"""How a weight is divided: by its output features, its input features, the words of its table, or not at all."""
SPELLINGS = {"colwise": COLUMN, "rowwise": ROW, "replicate": WHOLE, COLUMN: COLUMN, ROW: ROW, WHOLE: WHOLE}
"""Styles as they are typed, by those that are meant: torch's names in parallelize_module, and ours."""
PASSES = 8
"""Rounds of taking back weights that cannot be divided; networks need two or three."""


@dataclass(frozen=True)
class Weight:
    """A parameter as a factor of a product: its position among the parameters, and whether it is transposed there."""

    parameter: int
    transposed: bool


@dataclass
class _Walk:
    """One pass over the forward calls: axes and the weights behind them by tensor, and what cannot be divided."""

    axes: dict[int, Axis] = field(default_factory=dict)
    behind: dict[int, frozenset[int]] = field(default_factory=dict)
    styles: dict[int, str] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    paired: set[int] = field(default_factory=set)


class Styles:
    """The search for the weights of one trace that are divided."""

    def __init__(self, trace: Trace, named: Mapping[str, str] | None = None) -> None:
        self.trace = trace
        step = trace.steps[-1]
        self.calls = range(step.forward, step.loss)
        self.weights = weights_of(trace, self.calls)
        self.named = {
            n: s for n, p in enumerate(trace.parameters) for g, s in (named or {}).items() if _named(p.names, g)
        }
        self.inputs = {trace.tensors[tensor].storage for tensor in trace.input_tensors}
        self.outputs = {trace.tensors[tensor].storage for tensor in trace.output_tensors}
        self.biases: dict[int, int] = {}
        self.last: set[int] = set()
        """Weights whose output is the model's: words and classes, which are padded where they do not divide."""

    def found(self) -> Mapping[int, str]:
        """The style of each divided parameter, by its position among the trace's parameters."""
        refused: set[int] = {number for number, style in self.named.items() if style == WHOLE}
        walk = _Walk()
        for _ in range(PASSES):
            walk = self._walk(refused)
            for tensor, labels in walk.behind.items():
                if tensor in walk.axes and self.trace.tensors[tensor].storage in self.outputs:
                    walk.paired |= labels
                    self.last |= labels
            columns = {number for number, style in walk.styles.items() if style == COLUMN and number not in self.named}
            columns -= self.biases.keys()
            bad = walk.refused | (columns - walk.paired)
            if bad <= refused:
                break
            refused |= bad
        return walk.styles

    def _walk(self, refused: set[int]) -> _Walk:
        walk = _Walk()
        for number in self.calls:
            call = self.trace.calls[number]
            name = name_of(call)
            if name in OPERANDS:
                self._product(number, name, walk, refused)
            elif name == "embedding":
                self._embedding(number, walk, refused)
            else:
                self._other(number, name, walk)
        return walk

    def _product(self, number: int, name: str, walk: _Walk, refused: set[int]) -> None:
        call, tensors = self.trace.calls[number], self.trace.tensors
        first, second = operands(name, call)
        a, weight = walk.axes.get(first), self.weights.get(second)
        result = call.outputs[0]
        if weight is None:
            self._of_activations(number, (first, second), walk)
            return
        shape, rank = tensors[second].shape, len(tensors[first].shape)
        labels = walk.behind.get(first, frozenset())
        if a and a.place(tensors[first].shape)[0] == rank - 1:
            walk.styles[weight.parameter] = ROW
            walk.paired |= labels
        elif a:
            walk.axes[result] = a.at(tensors[result].shape, len(tensors[result].shape) - 2)
            walk.behind[result] = labels
        elif weight.parameter not in refused and self.named.get(weight.parameter, COLUMN) == COLUMN:
            walk.styles.setdefault(weight.parameter, COLUMN)
            bias = self.weights.get(call.inputs["self"]) if name == "addmm" else None  # type: ignore[arg-type]
            if bias is not None:
                walk.styles.setdefault(bias.parameter, COLUMN)
                self.biases[bias.parameter] = weight.parameter
            rows = tensors[result].shape
            axis = Axis(1, shape[-1], packed=shape[-1] == 3 * shape[-2])
            walk.axes[result] = axis.at(rows, len(rows) - 1)
            walk.behind[result] = frozenset([weight.parameter])

    def _of_activations(self, number: int, pair: tuple[int, int], walk: _Walk) -> None:
        call, tensors = self.trace.calls[number], self.trace.tensors
        axes = walk.axes.get(pair[0]), walk.axes.get(pair[1])
        if not any(axes):
            return
        labels = walk.behind.get(pair[0], frozenset()) | walk.behind.get(pair[1], frozenset())
        shapes = tensors[pair[0]].shape, tensors[pair[1]].shape
        made = product(axes, shapes, tensors[call.outputs[0]].shape)
        if made.axis is None or made.axis.kind != COLUMNS:
            walk.refused |= labels
        else:
            walk.axes[call.outputs[0]], walk.behind[call.outputs[0]] = made.axis, labels

    def _embedding(self, number: int, walk: _Walk, refused: set[int]) -> None:
        """The table of the model's own tokens is divided by words; tables of positions and kinds stay whole."""
        call = self.trace.calls[number]
        table, indices = call.inputs.get("weight"), call.inputs.get("indices")
        weight = self.weights.get(table) if isinstance(table, int) else None
        if weight is None or not isinstance(indices, int) or weight.parameter in refused:
            return
        if self.trace.tensors[indices].storage in self.inputs:
            walk.styles[weight.parameter] = WORDS

    def _other(self, number: int, name: str, walk: _Walk) -> None:
        call, tensors = self.trace.calls[number], self.trace.tensors
        ids = list(call.tensors())
        axes = [walk.axes.get(tensor) for tensor in ids]
        if not any(axes) or not call.outputs:
            return
        labels = frozenset[int]().union(*(walk.behind.get(tensor, frozenset()) for tensor in ids))
        shapes, results = [tensors[t].shape for t in ids], [tensors[t].shape for t in call.outputs]
        seen = Seen(name, call, shapes, axes, results)
        if _looks_along(seen) or (name.startswith("add") and self._joins_whole(ids, shapes, axes)):
            walk.refused |= labels
            return
        made = followed(seen)
        if not any(made):
            walk.refused |= labels
        for tensor, axis in zip(call.outputs, made, strict=True):
            if axis:
                walk.axes[tensor], walk.behind[tensor] = axis, labels

    def _joins_whole(self, ids: Sequence[int], shapes: Sequence[Shape], axes: Sequence[Axis | None]) -> bool:
        """Whether a divided tensor is added to a whole one of its shape that is no parameter: a residual connection."""
        return any(
            axis is None and shape == shapes[1 - which] and ids[which] not in self.weights
            for which, (axis, shape) in enumerate(zip(axes[:2], shapes[:2], strict=True))
            if len(ids) > 1
        )


def _looks_along(seen: Seen) -> bool:
    """Whether a norm, a softmax or a reduction looks along the divided dimension of its first argument."""
    axis = seen.axes[0]
    if axis is None or seen.name not in NORMS | REDUCING:
        return False
    return axis.place(seen.shapes[0])[0] in reduced_dimensions(seen)


def _named(names: Iterable[str], pattern: str) -> bool:
    return any(fnmatchcase(name.rpartition(".")[0], pattern) or fnmatchcase(name, pattern) for name in names)


def weights_of(trace: Trace, calls: range) -> dict[int, Weight]:
    """Parameters, and what views, copies and transpositions make of them, by the ids of the tensors."""
    by_storage = {
        trace.tensors[p.tensor].storage: number for number, p in enumerate(trace.parameters) if p.kind == "parameter"
    }
    found = {p.tensor: Weight(number, False) for number, p in enumerate(trace.parameters) if p.kind == "parameter"}
    for number in calls:
        call = trace.calls[number]
        name = name_of(call)
        for tensor in call.tensors():
            if tensor not in found and trace.tensors[tensor].storage in by_storage:
                found[tensor] = Weight(by_storage[trace.tensors[tensor].storage], False)
        if name in VIEWS or name in ("t", "transpose"):
            first = next(call.tensors(), None)
            weight = found.get(first) if first is not None else None
            if weight is not None and call.outputs:
                turned = weight.transposed != (name in ("t", "transpose"))
                found[call.outputs[0]] = Weight(weight.parameter, turned)
    return found


def parameter_axis(shape: Shape, style: str, transposed: bool) -> Axis:
    """The divided axis of a weight in its own layout: (out, in) of a linear layer, which products transpose.

    >>> parameter_axis((3072, 768), "column", True).size, parameter_axis((768, 3072), "row", True).before
    (3072, 768)
    """
    if style == WORDS or len(shape) == 1:
        return Axis(1, shape[0], uneven=style == WORDS)
    as_factor = (*shape[:-2], shape[-1], shape[-2]) if transposed else shape
    free, summed = as_factor[-1], as_factor[-2]
    if style == COLUMN:
        axis = Axis(1, free, packed=free == 3 * summed).at(as_factor, len(shape) - 1)
    else:
        axis = Axis(1, summed).at(as_factor, len(shape) - 2)
    if not transposed:
        return axis
    order = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
    return moved(axis, as_factor, shape, order)
