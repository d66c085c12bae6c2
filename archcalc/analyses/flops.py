"""MACs of contractions by exact formulas, elementwise work by elements; what has no rule is named, never 0."""

from __future__ import annotations

from collections import Counter, defaultdict

from archcalc.analyses.elementwise import beside_contraction, operations
from archcalc.analyses.formulas import FORMULAS, macs
from archcalc.analyses.report import Analysis
from archcalc.trace import Call, Trace

KEYS = ("macs", "flops", "elementwise_flops")


def flops(trace: Trace) -> Analysis:
    """Figures of the forward pass at the module that called the op.

    Totals add `uncounted`, the names of ops without a rule (the totals are then lower bounds), and details give the
    MACs by op and the number of contractions.
    """
    own: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(KEYS, 0))
    uncounted: Counter[tuple[str, str]] = Counter()
    by_op: Counter[str] = Counter()
    contractions = 0
    for call in trace.calls:
        path = trace.path(call)
        products = contraction(trace, call)
        elementwise = operations(trace, call) if products is None else beside_contraction(trace, call)
        if products is not None:
            own[path]["macs"] += products
            own[path]["flops"] += 2 * products
            by_op[call.op] += products
            contractions += 1
        if elementwise is None:
            uncounted[call.op, path] += 1
        else:
            own[path]["elementwise_flops"] += elementwise
    names = sorted({op for op, _ in uncounted})
    return Analysis(
        KEYS,
        own,
        totals={"uncounted": names},
        notes=tuple(_unknown(op, uncounted) for op in names),
        details={"macs_by_op": dict(by_op.most_common()), "contraction_calls": contractions},
    )


def formula_of(op: str) -> str | None:
    """The name under which an op has a formula: its own, or that of all its overloads.

    >>> formula_of("aten.lstm.input"), formula_of("aten.addmm_"), formula_of("aten.relu")
    ('aten.lstm', 'aten.addmm', None)
    """
    namespace, _, rest = op.partition(".")
    packet = f"{namespace}.{rest.partition('.')[0]}"
    return next((name for name in (op, packet, packet.removesuffix("_")) if name in FORMULAS), None)


def contraction(trace: Trace, call: Call) -> int | None:
    """MACs of one op call; None where it is no contraction, or one whose count shapes do not tell."""
    name = formula_of(call.op)
    return None if name is None else macs(FORMULAS[name], trace, call)


def _unknown(op: str, uncounted: Counter[tuple[str, str]]) -> str:
    places = [(path or "the model itself", times) for (name, path), times in uncounted.items() if name == op]
    times = sum(count for _, count in places)
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"no rule for {op}: {times} call{'s' * (times > 1)} not counted, in {places[0][0]}{more}"
