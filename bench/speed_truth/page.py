"""The page docs/speed.md from the kept rows: agreement, networks that beat their bound, and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from archcalc.hardware import device
from bench.speed_truth.cases import TABLES, PublishedTable, all_cases
from bench.speed_truth.comparison import Agreement, Row, agreement

BEGIN, END = "<!-- published speeds: begin -->", "<!-- published speeds: end -->"
RAN = {"eager": "eager, autocast to float16", "compiled": "torch.compile, autocast to float16",
       "training": "training step, autocast to float16, SGD"}  # fmt: skip
GROUP_NORMS = ("_gn", "_g8_gn", "_bit")
"""Ends of names of networks that normalise groups."""
REASONS: tuple[tuple[str, Callable[[Row], bool]], ...] = (
    (
        "Group norm: autocast computes it in float32, and at that precision its bytes alone take longer than the whole "
        "run took. The run must have stayed in float16, as timm's option --fast-norm makes it",
        lambda row: row.table == "eager" and row.model.endswith(GROUP_NORMS),
    ),
    (
        "Attention of five dimensions, which runs as products and softmax: traced with torch 2.13, which computes "
        "these in float32; torch 2.4, which ran, computes them in float16",
        lambda row: row.model.startswith("nest_"),
    ),
    (
        "LSTM: the trace runs its steps op by op, and cuDNN a whole sequence as one kernel",
        lambda row: row.model.startswith("sequencer"),
    ),
    (
        "Likely the cache: at batch 256 many tensors are smaller than its 72 MB and need not be read from memory",
        lambda row: row.table == "compiled" and row.memory_share > MOSTLY and row.ratio > SMALL,
    ),
    (
        "Likely layer norm in float16, as for group norm, or a clock above the nominal 2.52 GHz",
        lambda row: row.table == "eager" and row.ratio > SMALL,
    ),
    (
        "Likely a clock above the nominal 2.52 GHz: bound by arithmetic",
        lambda row: row.memory_share <= MOSTLY and row.ratio > SMALL,
    ),
)
"""Why a network can run faster than its bound, the first that holds; nothing but the first three is sure."""
MOSTLY, SMALL = 0.5, 0.88
UNEXPLAINED = "Not explained"


def section(rows: Sequence[Row]) -> str:
    """The part of the page that is made from the rows, between its marks."""
    lines = [BEGIN, "", *_agreements(rows), ""]
    for table in TABLES:
        lines += _beaten(table, [row for row in rows if row.table == table.name])
    return "\n".join([*lines, END])


def _agreements(rows: Sequence[Row]) -> list[str]:
    lines = [
        "| table | networks | Spearman | median factor | 90 % within | faster than the bound | measured / bound |",
        "|---|---|---|---|---|---|---|",
    ]
    for table in TABLES:
        own = [row for row in rows if row.table == table.name]
        if own:
            lines.append(_line(f"{table.device}, {RAN[table.name]}", agreement(own, lambda row: row.bound), True))
            lines.append(_line("the same by products alone", agreement(own, lambda row: row.products), False))
    return lines


def _line(name: str, found: Agreement, bound: bool) -> str:
    beaten = f"{len(found.beaten)} ({100 * len(found.beaten) / found.networks:.1f} %)" if bound else ""
    scale = f"{found.scale:.2f}" if bound else ""
    factors = f"{found.median_factor:.2f} | {found.factor_90:.2f}"
    return f"| {name} | {found.networks} | {found.spearman:.3f} | {factors} | {beaten} | {scale} |"


def _beaten(table: PublishedTable, rows: Sequence[Row]) -> list[str]:
    """The networks of a table that ran faster than their bound, by reason."""
    if not rows:
        return []
    drawn = sum(case.table == table.name for case in all_cases())
    beaten = agreement(rows, lambda row: row.bound).beaten
    name = device(table.device).name
    lines = [f"**{table.name}** ({name}; `{table.source}`): {len(rows)} of {drawn} drawn rows were compared."]
    by_reason: dict[str, list[Row]] = {}
    for row in beaten:
        reason = next((words for words, holds in REASONS if holds(row)), UNEXPLAINED)
        by_reason.setdefault(reason, []).append(row)
    if not beaten:
        lines[0] += " None ran faster than its bound."
    for reason, some in by_reason.items():
        named = ", ".join(f"{row.model} at {row.size} ({row.ratio:.2f})" for row in some)
        lines += ["", f"* {reason}: {named}"]
    return [*lines, ""]
