"""Conventions of counting MACs: our own, and those of other tools.

A convention is a function from a trace to the MACs of its op calls, by their numbers; a call it leaves out is no
contraction to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from archcalc.analyses.counting_words import OURS, demand_convention
from archcalc.analyses.tool_conventions import fvcore_habit, ptflops_habit, thop_habit, torch_habit
from archcalc.ops.bands import Hidden
from archcalc.ops.causal import hidden_macs
from archcalc.ops.registry import macs_of
from archcalc.tracing import Trace


@dataclass(frozen=True)
class Convention:
    """A way of counting: its name, the words under the table, and the count of every op call."""

    name: str
    words: str
    count: Callable[[Trace], Mapping[int, int]]
    of_masks: str = ""
    """The kind of mask that it looks for, if it differs from ours by masks alone."""


def contractions(trace: Trace) -> dict[int, int]:
    """Every contraction in full."""
    counted = ((number, macs_of(trace, call)) for number, call in enumerate(trace.calls))
    return {number: count for number, count in counted if count is not None}


def half_causal(trace: Trace) -> dict[int, int]:
    """Every contraction, without the products that a causal mask hides."""
    return _without(trace, lambda share: share.causal)


def windowed(trace: Trace) -> dict[int, int]:
    """Every contraction, without the products that a causal mask or a sliding window hides."""
    return _without(trace, lambda share: share.causal + share.window)


def hidden_products(trace: Trace, exact: Mapping[int, int]) -> tuple[int, int]:
    """Of the MACs of contractions: those that causal masks hide, and those that sliding windows hide beside them."""
    shares = [(exact[number], share) for number, share in hidden_macs(trace).items() if number in exact]
    return (
        sum(int(macs * share.causal) for macs, share in shares),
        sum(int(macs * share.window) for macs, share in shares),
    )


def _without(trace: Trace, share_of: Callable[[Hidden], Fraction]) -> dict[int, int]:
    hidden = hidden_macs(trace)
    return {
        number: count - int(count * share_of(hidden[number])) if number in hidden else count
        for number, count in contractions(trace).items()
    }


def _of(name: str, words: str, habit: Callable[[Trace, Mapping[int, int]], Mapping[int, int]]) -> Convention:
    """The convention of another tool; `habit` gets our contractions and gives that tool's counts."""
    return Convention(name, words, lambda trace: habit(trace, contractions(trace)))


CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention("archcalc", OURS, contractions),
        Convention(
            "half-causal", f"{OURS}; products that a causal mask hides are left out", half_causal, "causal mask"
        ),
        Convention(
            "windowed",
            f"{OURS}; products that a causal mask or a sliding window hides are left out",
            windowed,
            "sliding window",
        ),
        _of("torch", "as torch's FlopCounterMode: contractions of the ops it has formulas for", torch_habit),
        _of(
            "fvcore",
            "as fvcore: contractions, 2 an element in batch norm, 5 in other norms, 1 in adaptive pooling",
            fvcore_habit,
        ),
        _of(
            "thop",
            "as thop: convolution and linear modules, 4 an element in batch norm, 1 in average pooling",
            thop_habit,
        ),
        _of(
            "ptflops",
            "as ptflops by modules: convolutions and linears with bias, 2 an element in norms, ReLU and pooling",
            ptflops_habit,
        ),
    )
}


def convention_named(name: str) -> Convention:
    """The convention of that name; WrongUse lists them."""
    demand_convention(name)
    return CONVENTIONS[name]
