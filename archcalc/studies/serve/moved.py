"""Bytes that the ops of a decode step read and write beside its weights, by layer, as `traffic` counts them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from archcalc.engine.serving import CachedRun
from archcalc.ops.names import base_name
from archcalc.ops.registry import traffic_of
from archcalc.studies.serve.curves import Line, Point
from archcalc.tracing import Call, Trace

TAKE_ROWS = frozenset(("embedding", "index_select", "index", "gather"))
"""Ops that read some rows of a table and not all of its weights."""


@dataclass(frozen=True)
class Moves:
    """Bytes of a decode step in the layers of one kind: `once` whatever the batch, and for each sequence a line.

    Beyond a window the line is `later`, in a few tokens round its edge within those of a token.
    """

    once: int
    first: Line
    later: Line | None = None

    def __call__(self, batch: int, context: int) -> int:
        """The bytes of a batch that sees a context.

        >>> Moves(100, Line(3, 10))(2, 5), Moves(100, Line(3, 10), Line(0, 40))(2, 50)  # 100 + 2·(3·5 + 10); 100 + 2·40
        (150, 180)
        """
        each = self.first(context)
        return self.once + batch * (each if self.later is None else min(each, self.later(context)))


def moved_by_layer(run: CachedRun, layer: Callable[[Trace, Call], tuple[str, int]]) -> Mapping[str, int]:
    """The bytes by layer, times the layers that it stands for; `layer` names both for a call."""
    found: dict[str, int] = defaultdict(int)
    for call in run.trace.calls:
        path, count = layer(run.trace, call)
        found[path] += count * _beside_weights(run.trace, call)
    return found


def moves(short: Sequence[Point], beyond: Sequence[Point], twice: Point) -> Moves | None:
    """The law of a layer's bytes by what a step sees: from steps of one sequence, and one of two; None if none is true.

    `beyond` are steps behind the shortest texts, and two long ones if the model takes them; they tell of windows.
    """
    near, far = [point for point in sorted(beyond) if point < short[0]], sorted((*short, *beyond))[-2:]
    tried: list[tuple[Line, Line | None]] = [(_through(*short[:2]), None)]
    if len(near) > 1:
        tried += [(_through(*pair), _through(*far)) for pair in (short[:2], near[-2:], near[:2])]
    for first, later in tried:
        alone, slack = Moves(0, first, later), first.slope if later else 0
        if all(abs(alone(1, context) - bytes_) <= slack for context, bytes_ in (*short, *far)):
            return _of_batch(alone, twice)
    return None


def _of_batch(alone: Moves, twice: Point) -> Moves | None:
    """The law of a batch, from that of one sequence and a step of two; None if two take more than twice as much."""
    once = 2 * alone(1, twice[0]) - twice[1]
    if once < 0:
        return None
    first, later = (line and replace(line, start=line.start - once) for line in (alone.first, alone.later))
    return Moves(once, first or alone.first, later)


def _through(before: Point, behind: Point) -> Line:
    """The line through two points."""
    slope = (behind[1] - before[1]) // (behind[0] - before[0])
    return Line(slope, before[1] - slope * before[0])


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
