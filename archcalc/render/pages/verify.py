"""Report and checks -> Document: our figures beside those of others, with the reason of every difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from archcalc.analyses.counting_words import OURS
from archcalc.analyses.metrics import METRICS
from archcalc.analyses.report import Report
from archcalc.render.around import envelope, head
from archcalc.render.document import EXACT, GROUP, NAME, NUMBER, SI, TEXT, Column, Document, Table
from archcalc.render.promise import Promise
from archcalc.render.typed import next_commands
from archcalc.studies.verify.reasons import Counterpart
from archcalc.studies.verify.verify import Verification
from archcalc.text import units

COMPARED = {name: METRICS[name].words for name in ("params", "macs")}
VERDICTS = ("equal", "explained", "unexplained", "not run")


def verification(verified: Verification) -> Document:
    """One network: a row for each figure of another source."""
    report, checks = verified.report, verified.checks
    ordered = sorted(checks, key=lambda check: list(COMPARED).index(check.figure))
    columns = [
        Column("named", "figure", GROUP),
        Column("by", "by", TEXT),
        Column("shown", "value", NUMBER),
        Column("difference", "difference", TEXT),
        Column("reason", "reason", TEXT),
    ]
    counts = Counter(check.verdict for check in checks)
    foot = next_commands(report, "explain", "show")
    rows = [row for figure in COMPARED for row in _rows(report, figure, ordered)]
    records = [_record(report, check) for check in ordered]
    table = Table(columns, rows)
    recurring = [
        f"convention: {OURS}",
        "difference: theirs against ours, = where ours rounds to the printed digits",
    ]
    lines, around = [_said(counts), *head(report)], envelope(report, _totals(counts))
    return Document("verify", lines, [table], foot, around, records, recurring=recurring)


def catalogue_verification(verified: Sequence[Verification]) -> Document:
    """The whole catalogue: a row for each network, and every difference without a reason."""
    rows = [_network_row(each.report, each.checks) for each in verified]
    columns = [
        Column("model", "network", NAME),
        Column("params", "parameters", EXACT),
        Column("macs", "MACs", SI),
        *(Column(verdict, verdict, EXACT) for verdict in VERDICTS),
    ]
    counts = Counter(check.verdict for each in verified for check in each.checks)
    records = [_record(each.report, check) for each in verified for check in each.checks]
    open_ = [record for record in records if record["verdict"] == "unexplained"]
    named = [Column("model", "network", NAME), Column("by", "by", TEXT), Column("printed", "value", NUMBER)]
    unexplained = Table([*named, Column("reason", "reason", TEXT)], open_, title="unexplained")
    total = {"model": "total", **{verdict: counts[verdict] for verdict in VERDICTS}}
    foot = [
        "compared with published figures, other implementations where installed, torch's FlopCounterMode and fvcore",
        "next: archcalc verify NAME",
    ]
    around = {"totals": _totals(counts), "notes": []}
    verdict = f"{len(rows)} networks: {_said(counts)}"
    return Document("verify", [verdict], [unexplained, Table(columns, rows, total)], foot, around, records)


def _rows(report: Report, figure: str, checks: Sequence[Counterpart]) -> list[dict[str, Any]]:
    """Ours, then the others' of the same figure."""
    named = COMPARED[figure]
    own = {"named": named, "by": "archcalc", "shown": units.exact(int(report.totals[figure]))}
    same = [check for check in checks if check.figure == figure]
    return [own, *({"named": named, "shown": _value(check), **_record(report, check)} for check in same)]


def _record(report: Report, check: Counterpart) -> dict[str, Any]:
    value = check.value
    return {
        "model": report.trace.model.name,
        "figure": check.figure,
        "by": check.by,
        "ours": check.ours,
        "value": value,
        "printed": _value(check),
        "difference": "" if value is None else "=" if check.agrees else units.difference(value, check.ours),
        "verdict": check.verdict,
        "reason": "; ".join(check.reasons) or ("no reason found" if check.verdict == "unexplained" else ""),
    }


def _value(check: Counterpart) -> str:
    return check.printed or ("–" if check.value is None else units.exact(check.value))


def _network_row(report: Report, checks: Sequence[Counterpart]) -> dict[str, Any]:
    counts = Counter(check.verdict for check in checks)
    figures = {"params": report.params, "macs": report.macs}
    return {"model": report.trace.model.name, **figures, **{verdict: counts[verdict] for verdict in VERDICTS}}


def _totals(counts: Counter[str]) -> dict[str, int]:
    return {"checks": counts.total(), **{verdict.replace(" ", "_"): counts[verdict] for verdict in VERDICTS}}


def _said(counts: Counter[str]) -> str:
    parts = [f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict]]
    return f"{counts.total()} checks: {', '.join(parts)}"


PROMISE = Promise(
    "verify",
    ("checks", *(verdict.replace(" ", "_") for verdict in VERDICTS)),
    ("model", "figure", "by", "ours", "value", "difference", "verdict", "reason"),
)
"""The keys that its JSON always has."""
