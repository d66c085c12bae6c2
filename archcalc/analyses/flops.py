"""MACs of contractions by exact formulas, elementwise work by elements; what has no rule is named, never 0."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from archcalc.analyses.conventions import Convention, contractions, convention_named, hidden_products
from archcalc.analyses.report import Finding
from archcalc.analyses.weights import COMPLEX, unregistered
from archcalc.errors import WrongUse
from archcalc.ops.registry import operations_of
from archcalc.tracing import Call, Trace

CLASSES = ("contraction", "elementwise", "movement", "unknown")
"""Classes of op calls: counted by an exact formula, estimated by elements, free, or without a rule."""
KEYS = ("macs", "flops", "elementwise_flops")


@dataclass(frozen=True)
class Contractions:
    """MACs by op, the largest first; the number of contraction calls; and the convention that counted."""

    macs_by_op: Mapping[str, int]
    calls: int
    convention: Convention


@dataclass(frozen=True)
class Flops:
    """Figures of the forward pass at the module that called the op, counted as a convention does. Record: Contractions.

    Totals add `uncounted`, the names of ops without a rule (the totals are then lower bounds), `calls`, the op calls
    of each class, and parts of the MACs of our own convention: `causal_hidden_macs` that causal masks hide,
    `window_hidden_macs` that sliding windows hide beside them, `complex_macs` of complex numbers. WrongUse if the
    convention looks for masks that are not there.
    """

    convention: str = "archcalc"
    of_steps: ClassVar[bool] = False

    def __call__(self, trace: Trace) -> Finding:
        """Count each op call at its module."""
        chosen = convention_named(self.convention)
        exact = contractions(trace)
        counted = exact if chosen.count is contractions else chosen.count(trace)
        own: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(KEYS, 0))
        uncounted: Counter[tuple[str, str]] = Counter()
        by_op: Counter[str] = Counter()
        classes: Counter[str] = Counter()
        for number, call in enumerate(trace.calls):
            path = trace.path(call)
            products = counted.get(number, 0)
            elementwise = operations_of(trace, call)
            classes[_class(number in exact, elementwise)] += 1
            if products:
                own[path]["macs"] += products
                own[path]["flops"] += 2 * products
                by_op[call.op] += products
            if elementwise is None:
                uncounted[call.op, path] += 1
            else:
                own[path]["elementwise_flops"] += elementwise
        names = sorted({op for op, _ in uncounted})
        causal, window = hidden_products(trace, exact)
        complex_macs = sum(macs for number, macs in exact.items() if _is_complex(trace, trace.calls[number]))
        _demand_a_mask(chosen, trace, causal, window)
        return Finding(
            KEYS,
            own,
            totals={
                "uncounted": names,
                "calls": {name: classes[name] for name in CLASSES},
                "causal_hidden_macs": causal,
                "window_hidden_macs": window,
                "complex_macs": complex_macs,
            },
            notes=(*(_unknown(op, uncounted) for op in names), *unregistered(trace), *_complex(complex_macs)),
            record=Contractions(dict(by_op.most_common()), len(exact), chosen),
        )


def _demand_a_mask(convention: Convention, trace: Trace, causal: int, window: int) -> None:
    """WrongUse if a convention that leaves out what masks hide found no such mask."""
    found = {"": True, "causal mask": causal > 0, "sliding window": window > 0}
    if found[convention.of_masks]:
        return
    hint = "leave --convention out; masks are known if they are made of arange, tril or triu, or called causal_mask"
    if causal:
        hint = "for the causal mask alone  --convention half-causal"
    elif window:
        hint = "for the sliding window  --convention windowed"
    name = trace.model.name
    raise WrongUse(f"--convention {convention.name} found no {convention.of_masks} in {name}.", hint)


def _class(contraction: bool, elementwise: int | None) -> str:
    if contraction:
        return "contraction"
    return "unknown" if elementwise is None else "elementwise" if elementwise else "movement"


def _is_complex(trace: Trace, call: Call) -> bool:
    return any(trace.tensors[tensor].dtype.startswith(COMPLEX) for tensor in call.outputs)


def _complex(macs: int) -> list[str]:
    """The note about complex products, if there are any."""
    if not macs:
        return []
    return [f"{macs:,} MACs are complex and count once each: one is 4 real MACs, {4 * macs:,} in all"]


def _unknown(op: str, uncounted: Counter[tuple[str, str]]) -> str:
    places = [(path or "the model itself", times) for (name, path), times in uncounted.items() if name == op]
    times = sum(count for _, count in places)
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"no rule for {op}: {times} call{'s' * (times > 1)} not counted, in {places[0][0]}{more}"
