"""Why a computed peak differs from a real one: both are taken apart by op, at the same moment and call by call.

The real ops are aligned with the calls of the trace. At the moment of the real peak every live byte belongs to the op
that made it, in the trace as in the allocator's events, so that the differences name the ops and add up to the error.
Beside that each pair of calls is compared alone: the most that it takes while it runs, and what it leaves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from archcalc.text.units import shape
from archcalc.tracing import Trace
from bench.memory_truth.alignment import aligned
from bench.memory_truth.computed import Computed
from bench.memory_truth.events import Block, Recording, Span
from bench.memory_truth.measured import Measured

THERE = "model and inputs"
BETWEEN, LACKS = "between ops", "not in the trace:"
OF_PYTHON = {8: "numbers", 5_056: "states of the random generator"}
"""What blocks of these sizes are that no op made: a number beside a tensor, and what checkpoints restore."""
FIXED = ("parameter", "buffer", "constant", "input", "workspace")
VIEWS = frozenset(
    """view _unsafe_view t transpose permute expand slice select split split_with_sizes chunk unsqueeze squeeze detach
    alias as_strided unbind lift_fresh _reshape_alias narrow movedim reshape""".split()
)
"""Ops that take no memory, and which torch leaves out or adds here and there."""
MOST = 12
"""Entries of a table that are kept."""


@dataclass(frozen=True)
class Pair:
    """A call of the trace and the real one: the most bytes each takes while it runs, and what each leaves."""

    number: int
    ours: tuple[int, int]
    real: tuple[int, int]


def explained(ours: Computed, real: Measured) -> dict[str, Any]:
    """Where both peaks are, the difference at the moment of the real one by op, and calls that differ."""
    trace, recording = ours.trace, real.recording
    names = {_name(call.op) for call in trace.calls} - VIEWS
    begin = next(time for name, time in recording.marks if name == "ready")
    spans = recording.calls(names, begin, real.span[1])
    first, last = (trace.steps[-1].start, trace.steps[-1].end) if trace.steps else (0, len(trace.calls))
    numbers = [n for n in range(first, last) if _name(trace.calls[n].op) not in VIEWS]
    steady = [span for span in spans if span.start >= real.span[0]]
    pairs = aligned([_name(trace.calls[n].op) for n in numbers], [span.op for span in steady])
    partner = {j: numbers[i] for i, j in pairs}
    at = _running(steady, real.moment)
    same = _call_at(at, partner, first)
    described: dict[str, Any] = {
        "our_peak": _place(trace, ours.moment),
        "real_peak": _span_in_words(steady, at, real.moment),
        "aligned": [len(pairs), len(numbers), len(steady)],
    }
    theirs = _real_holders(recording, spans, real, begin, kept=real.span[0] if not trace.steps else begin)
    mine = _our_holders(trace, same, runs=partner.get(at) == same and real.moment <= steady[at].end)
    described["there"] = _place(trace, same)
    described["elsewhere"] = ours.peak - sum(size for size, _ in mine.values())
    described["strangers"] = recording.strangers
    described["drew"] = any("a draw at random" in note for note in trace.notes)
    described["at_real_peak"] = _differences(mine, theirs)
    described["calls"] = _unequal(trace, _compared(trace, recording, steady, partner))
    return described


def _name(op: str) -> str:
    return op.removeprefix("aten.").split(".")[0]


def _running(spans: Sequence[Span], moment: int) -> int:
    """The number of the last call that began by a moment; -1 if none did."""
    return max((n for n, span in enumerate(spans) if span.start <= moment), default=-1)


def _call_at(at: int, partner: dict[int, int], first: int) -> int:
    """The call of the trace for the real call `at`, or for the nearest one before it that has a partner."""
    return next((partner[n] for n in range(at, -1, -1) if n in partner), first)


def _place(trace: Trace, number: int) -> str:
    if not 0 <= number < len(trace.calls):
        return "no op"
    call = trace.calls[number]
    path = trace.path(call)
    return f"{_name(call.op)} ({call.phase}{f', {path}' if path else ''}, call {number})"


def _span_in_words(spans: Sequence[Span], at: int, moment: int) -> str:
    if at < 0:
        return "no op"
    return spans[at].op if moment <= spans[at].end else f"after {spans[at].op}"


# ---- who holds what at one moment ----------------------------------------------------------------

Holders = dict[str, tuple[int, int]]
"""Bytes and blocks by who holds them."""


def _our_holders(trace: Trace, moment: int, runs: bool) -> Holders:
    """What is live in the trace during a call; if it `runs`, what it makes and needs is inside it."""
    sizes: Counter[str] = Counter()
    blocks: Counter[str] = Counter()
    inside = f"inside {_name(trace.calls[moment].op)}" if trace.calls else ""
    for storage in trace.storages:
        if storage.live_at(moment) and storage.bytes:
            fixed = storage.role in FIXED and (storage.birth < 0 or storage.role == "input")
            made = inside if runs and storage.birth == moment else _name(trace.calls[storage.birth].op)
            key = THERE if fixed else made
            sizes[key] += storage.bytes
            blocks[key] += 1
    if runs and trace.calls[moment].scratch:
        sizes[inside] += trace.calls[moment].scratch
        blocks[inside] += 1
    return {key: (sizes[key], blocks[key]) for key in sizes}


def _real_holders(recording: Recording, spans: Sequence[Span], real: Measured, begin: int, kept: int) -> Holders:
    """What is live at the real peak; what was made before `kept` was kept by the model from its first pass."""
    sizes: Counter[str] = Counter({THERE: real.beside} if real.beside else {})
    blocks: Counter[str] = Counter()
    for block in recording.live(real.moment):
        key = THERE if block.birth < begin else _maker(spans, block, real.moment)
        key += ", kept from the first pass" if begin <= block.birth < kept else ""
        sizes[key] += block.bytes
        blocks[key] += 1
    return {key: (sizes[key], blocks[key]) for key in sizes}


def _maker(spans: Sequence[Span], block: Block, moment: int) -> str:
    """The op whose call made a block; "inside" it, if that call still runs."""
    at = _before(spans, block.birth)
    if at < 0 or block.birth > spans[at].end:
        return f"{LACKS} {block.op}" if block.op else f"{BETWEEN}: {OF_PYTHON.get(block.bytes, 'Python')}"
    return f"inside {spans[at].op}" if spans[at].start <= moment <= spans[at].end else spans[at].op


def _before(spans: Sequence[Span], time: int) -> int:
    low, high = 0, len(spans)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if spans[middle].start <= time else (low, middle)
    return low - 1


def _differences(ours: Holders, real: Holders) -> list[dict[str, Any]]:
    """Ours less the real bytes by holder, the largest first; what is equal is left out."""
    rows = []
    for key in sorted({*ours, *real}):
        mine, theirs = ours.get(key, (0, 0)), real.get(key, (0, 0))
        if mine[0] != theirs[0]:
            rows.append({"op": key, "ours": mine[0], "real": theirs[0], "blocks": [mine[1], theirs[1]]})
    for other in [row for row in rows if row["op"].startswith(BETWEEN)]:  # tensors that Python makes, such as counters
        same = next((row for row in rows if row["ours"] - row["real"] == other["real"] - other["ours"]), None)
        rows = rows if same is None else [row for row in rows if row is not other and row is not same]
    return sorted(rows, key=lambda row: -abs(row["ours"] - row["real"]))[:MOST]


# ---- call by call --------------------------------------------------------------------------------


def _compared(trace: Trace, recording: Recording, spans: Sequence[Span], partner: dict[int, int]) -> list[Pair]:
    made: Counter[int] = Counter()
    for storage in trace.storages:
        made[storage.birth] += storage.bytes
    inside = _inside(recording, spans)
    return [
        Pair(number, (made[number] + trace.calls[number].scratch, made[number]), inside(at))
        for at, number in partner.items()
    ]


def _inside(recording: Recording, spans: Sequence[Span]) -> Callable[[int], tuple[int, int]]:
    """For a real call the most bytes that it takes while it runs, and the bytes of blocks that outlive it."""
    by_call: dict[int, list[Block]] = {}
    for block in recording.blocks:
        at = _before(spans, block.birth)
        if at >= 0 and block.birth <= spans[at].end:
            by_call.setdefault(at, []).append(block)

    def measure(at: int) -> tuple[int, int]:
        end = spans[at].end
        blocks = by_call.get(at, [])
        changes = [(b.birth, b.bytes) for b in blocks]
        changes += [(b.death, -b.bytes) for b in blocks if b.death is not None and b.death <= end]
        live = most = 0
        for _, change in sorted(changes):
            live += change
            most = max(most, live)
        return most, live

    return measure


def _unequal(trace: Trace, pairs: Sequence[Pair]) -> list[dict[str, Any]]:
    """Calls that take or leave other bytes than the real ones, alike ones together; the largest first."""
    groups: dict[tuple[Any, ...], list[Pair]] = {}
    for pair in _not_swapped(trace, pairs):
        if pair.ours != pair.real:
            groups.setdefault((_signature(trace, pair.number), pair.ours, pair.real), []).append(pair)
    rows = [
        {
            "op": signature[0],
            "call": signature[1],
            "where": _place(trace, alike[0].number),
            "times": len(alike),
            "takes": [ours[0], real[0]],
            "leaves": [ours[1], real[1]],
        }
        for (signature, ours, real), alike in groups.items()
    ]
    return sorted(rows, key=lambda row: -abs(row["takes"][0] - row["takes"][1]))[:MOST]


def _not_swapped(trace: Trace, pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs without those that only stand in another order: the same op takes ours in one pair, the real's in another.

    The gradients of a weight and its bias are cast in either order, for example.
    """
    unequal = [pair for pair in pairs if pair.ours != pair.real]
    real = Counter((_name(trace.calls[pair.number].op), pair.real) for pair in unequal)
    ours = Counter((_name(trace.calls[pair.number].op), pair.ours) for pair in unequal)
    kept = []
    for pair in unequal:
        op = _name(trace.calls[pair.number].op)
        if real[op, pair.ours] and ours[op, pair.real]:
            real[op, pair.ours] -= 1
            ours[op, pair.real] -= 1
        else:
            kept.append(pair)
    return kept


def _signature(trace: Trace, number: int) -> tuple[str, str]:
    """The name of an op, and its call in words: dtypes and shapes, and the other arguments."""
    call = trace.calls[number]
    tensors = [trace.tensors[t] for t in call.tensors()]
    given = ", ".join(f"{t.dtype}:{shape(t.shape)}" for t in tensors[:8])
    others = ", ".join(f"{k}={v}" for k, v in list(call.attributes.items())[:9])
    return _name(call.op), f"{given}; {others}"
