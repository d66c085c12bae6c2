"""The answer of `flops`: multiply-accumulates by layer, with the convention that they are counted by."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.analyses.backward import KEYS as OF_BACKWARD
from archcalc.analyses.flops import KEYS, Contractions
from archcalc.analyses.report import Report
from archcalc.render.around import at_least, complete, completeness, document, macs_and_flops, whole
from archcalc.render.columns import (
    FLOPS_COLUMN,
    LAYER_COLUMN,
    MACS_COLUMN,
    OUTPUT_COLUMN,
    SHARE_COLUMN,
    with_share_of_all,
    with_shares,
)
from archcalc.render.document import SI, Column, Document, Table
from archcalc.render.equal_blocks import times_each
from archcalc.render.layers import Selection, layer_rows
from archcalc.render.promise import LAYER, MODEL, Promise
from archcalc.render.typed import deeper, next_commands
from archcalc.text import units


def flops(report: Report, selection: Selection, published: Sequence[str] = ()) -> Document:
    """Multiply-accumulates and FLOPs by layer, in the order of the network."""
    backward = "backward_macs" in report.totals
    figures = (*KEYS, *OF_BACKWARD) if backward else KEYS
    rows, total = layer_rows(report, selection, figures, "macs")
    columns = [
        LAYER_COLUMN,
        OUTPUT_COLUMN,
        MACS_COLUMN,
        FLOPS_COLUMN,
        *([Column("backward_macs", "MACs of backward", SI)] if backward else []),
        Column("elementwise_flops", "elementwise", SI, gives_way=2),
        *([Column("backward_elementwise_flops", "elementwise of backward", SI, gives_way=2)] if backward else []),
        SHARE_COLUMN,
    ]
    totals = report.totals
    foot = [
        *times_each(rows),
        whole(selection) + macs_and_flops(report),
        *_masks(report),
        *(_backward(report) if backward else []),
        *completeness(report),
        *published,
    ]
    keys = (
        "macs",
        "flops",
        "elementwise_flops",
        "uncounted",
        "calls",
        "causal_hidden_macs",
        "window_hidden_macs",
        *figures[3:],
    )
    marked = at_least(report) | frozenset(OF_BACKWARD if backward and totals["backward_uncounted"] else ())
    table = Table(columns, with_shares(rows, "macs", total), with_share_of_all(total, "macs", report), marked)
    convention = report.record(Contractions).convention
    asked = "flops" if convention.name == "archcalc" else f"flops --convention {convention.name}"
    foot += next_commands(report, *deeper(asked, selection, table), "memory", "show")
    recurring = [
        f"convention: {convention.words}",
        "elementwise: bias, normalisation, activation, pooling, softmax, adds; never part of MACs",
        *complete(report),
    ]
    shown = {key: totals[key] for key in keys}
    return document("flops", report, [table], foot, shown, _verdict(report, selection), recurring)


def _verdict(report: Report, selection: Selection) -> str:
    """MACs and FLOPs of the whole network, and MACs of its backward pass."""
    sign = "≥ " if report.totals["uncounted"] else ""
    backward = report.totals.get("backward_macs")
    parts = [f"{sign}{units.si(report.macs)} MACs", f"{sign}{units.si(report.flops)} FLOPs"]
    parts += [f"backward {units.si(backward)} MACs"] if backward is not None else []
    return whole(selection) + " · ".join(parts)


def _masks(report: Report) -> list[str]:
    """How masked attention was counted, and what the other ways would give."""
    causal, window = report.totals["causal_hidden_macs"], report.totals["window_hidden_macs"]
    convention = report.record(Contractions).convention.name
    left_out = {"archcalc": (0, 0), "half-causal": (causal, 0), "windowed": (causal, window)}.get(convention)
    if left_out is None or not causal + window:
        return []
    full = report.macs + sum(left_out)
    lines = []
    if any(left_out):
        gone = units.exact(sum(left_out))
        lines.append(f"masked attention: {gone} MACs of hidden keys left out; in full {units.exact(full)}")
    offers = []
    if causal and convention != "half-causal":
        offers.append(f"without the keys a causal mask hides {units.exact(full - causal)} (--convention half-causal)")
    if window and convention != "windowed":
        rest = units.exact(full - causal - window)
        offers.append(f"by a kernel that computes the sliding window alone {rest} (--convention windowed)")
    if not any(left_out):
        return [f"masked attention: counted in full, as it runs; {offer}" for offer in offers]
    return lines + [f"masked attention: {offer}" for offer in offers]


def _backward(report: Report) -> list[str]:
    """The work of backward beside forward's."""
    totals = report.totals
    macs, elementwise = totals["backward_macs"], totals["backward_elementwise_flops"]
    again, elementwise_again = totals["recomputed_macs"], totals["recomputed_elementwise_flops"]
    times = f", {macs / report.macs:.3f} times the forward pass's" if report.macs else ""
    lines = [f"backward: {units.exact(macs)} MACs{times}; only what trained parameters need"]
    if again or elementwise_again:
        lines.append(
            f"recomputed in backward: {units.exact(again)} MACs and {units.exact(elementwise_again)} of its "
            f"{units.exact(elementwise)} elementwise operations compute forward's results again"
        )
    if unknown := totals["backward_uncounted"]:
        lines.append(f"≥: lower bounds: backward runs {', '.join(unknown)}, which have no rule")
    return lines


PROMISE = Promise("flops", (*KEYS, "uncounted", "calls"), (*LAYER, *KEYS), MODEL)
"""The keys that its JSON always has."""
