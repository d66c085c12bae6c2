"""Bytes that the ops of a decode step read and write beside its weights, by layer, as `traffic` counts them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from archcalc.engine.serving import CachedRun
from archcalc.ops.names import base_name
from archcalc.ops.registry import traffic_of
from archcalc.studies.serve.curves import Point
from archcalc.tracing import Call, Trace

TAKE_ROWS = frozenset(("embedding", "index_select", "index", "gather"))
"""Ops that read some rows of a table and not all of its weights."""


@dataclass(frozen=True)
class Moves:
    """Bytes of a decode step in the layers of one kind: `once` whatever the batch, and for each sequence a line.

    The line in the context does not go above `most`, which windows set: within a token of their edge.
    """

    once: int
    slope: int
    start: int
    most: int | None = None

    def __call__(self, batch: int, context: int) -> int:
        """The bytes of a batch that sees a context.

        >>> Moves(100, 3, 10)(2, 5), Moves(100, 3, 10, 40)(2, 50)  # 100 + 2·(3·5 + 10); 100 + 2·40
        (150, 180)
        """
        each = self.slope * context + self.start
        return self.once + batch * (each if self.most is None else min(each, self.most))


def moved_by_layer(run: CachedRun, layer: Callable[[Trace, Call], tuple[str, int]]) -> Mapping[str, int]:
    """The bytes by layer, times the layers that it stands for; `layer` names both for a call."""
    found: dict[str, int] = defaultdict(int)
    for call in run.trace.calls:
        path, count = layer(run.trace, call)
        found[path] += count * _beside_weights(run.trace, call)
    return found


def moves(short: Sequence[Point], beyond: Sequence[Point], twice: Point) -> Moves | None:
    """The law of a layer's bytes by what a step sees: from steps of one sequence, and one of two; None if none is true.

    `beyond` are steps behind the shortest texts and a long one: the first two give the slope where the others are
    beyond a window already.
    """
    beyond = sorted(beyond)
    slope, start = _through(short)
    if beyond and not slope:
        slope, start = _through(beyond)
    far, top = max((*short, *beyond))
    capped = slope * far + start > top
    alone = Moves(0, slope, start, top if capped else None)
    slack = slope if capped else 0
    if any(abs(alone(1, context) - bytes_) > slack for context, bytes_ in (*short, (far, top))):
        return None
    once = 2 * alone(1, twice[0]) - twice[1]
    return replace(alone, once=once, start=start - once, most=top - once if capped else None) if once >= 0 else None


def _through(points: Sequence[Point]) -> tuple[int, int]:
    """Slope and start of the line through the first two points."""
    (first, low), (second, high) = points[:2]
    slope = (high - low) // (second - first)
    return slope, low - slope * first


def _beside_weights(trace: Trace, call: Call) -> int:
    """Bytes that a call moves, less those of whole weights: a pass reads them once for all sequences."""
    moved = traffic_of(trace, call)
    if moved is None or not moved.total:
        return 0
    if base_name(call.op) in TAKE_ROWS:
        return moved.total
    weights = {
        trace.tensors[tensor].place: trace.tensors[tensor].distinct_bytes
        for tensor in call.tensors()
        if trace.storages[trace.tensors[tensor].storage].role == "parameter"
    }
    return moved.total - min(moved.read, sum(weights.values()))
