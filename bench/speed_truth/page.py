"""The page docs/speed.md from the kept rows: agreement, and the networks that beat their bound."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.hardware import device
from bench.speed_truth.cases import TABLES, PublishedTable, all_cases
from bench.speed_truth.comparison import Agreement, Row, agreement

BEGIN, END = "<!-- published speeds: begin -->", "<!-- published speeds: end -->"
RAN = {"eager": "eager, autocast to float16", "compiled": "torch.compile, autocast to float16",
       "training": "training step, autocast to float16, SGD"}  # fmt: skip


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
    """The networks of a table that ran faster than their bound."""
    if not rows:
        return []
    drawn = sum(case.table == table.name for case in all_cases())
    beaten = agreement(rows, lambda row: row.bound).beaten
    name = device(table.device).name
    lines = [f"**{table.name}** ({name}; `{table.source}`): {len(rows)} of {drawn} drawn rows were compared."]
    if beaten:
        named = ", ".join(f"{row.model} at {row.size} ({row.ratio:.2f})" for row in beaten)
        return [*lines, "", f"Faster than their bound, not explained: {named}", ""]
    lines[0] += " None ran faster than its bound."
    return [*lines, ""]
