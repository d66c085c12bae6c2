"""The answer of `lint`: a line a finding, with its number, the bound and what to change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from archcalc.analyses import analyze
from archcalc.analyses.lint.lint import RULES, Linted
from archcalc.render.around import document
from archcalc.render.document import LAYER, TEXT, Column, Document, Table
from archcalc.render.promise import MODEL, Promise
from archcalc.render.typed import next_commands
from archcalc.text import units

SOURCE = "source: G1 to G4 are the guidelines of Ma et al. 2018"
RATIOS, SHARES = ("G1", "G2"), ("G4", "C1")
"""Rules whose number is a ratio, and those whose number is a share."""


def lint(linted: Linted) -> Document:
    """Findings in the order of the rules, and what each rule looks for."""
    report = analyze(linted.trace, ())
    rows = [asdict(finding) for finding in linted.findings]
    columns = [
        Column("guideline", "rule", TEXT),
        Column("path", "layer", LAYER),
        Column("number", "number", "number"),
        Column("most", "at most", "number"),
        Column("advice", "what to change", TEXT),
    ]
    shown = [{**row, "number": _number(row, "value"), "most": _number(row, "bound")} for row in rows]
    tables = [Table(columns, shown)] if rows else []
    foot = [*_asked(linted, found=True), *next_commands(report, "traffic", "explain")]
    totals = {"findings": len(rows), "by_guideline": dict(Counter(row["guideline"] for row in rows))}
    others = _asked(linted, found=False)
    return replace(document("lint", report, tables, foot, totals, verdict(linted), others), records=rows)


def verdict(linted: Linted) -> str:
    """How many findings there are, by rule."""
    count = Counter(finding.guideline for finding in linted.findings)
    unasked = [rule.code for rule in linted.strictness.rules if rule.code not in linted.looked_at]
    if not linted.looked_at:
        return f"nothing was looked at: {', '.join(unasked)} is of a training step (--train)"
    if not count:
        return f"no finding by {', '.join(linted.looked_at)}"
    by_rule = ", ".join(f"{number} of {code}" for code, number in count.items())
    return f"{units.plural(count.total(), 'finding')}: {by_rule}"


def _number(row: Mapping[str, Any], key: str) -> str:
    """The number of a finding in the form of its rule: a ratio, a share or a count."""
    value = row[key]
    if row["guideline"] in RATIOS:
        return f"{value:.2f}x"
    if row["guideline"] in SHARES:
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}"


def _asked(linted: Linted, found: bool) -> list[str]:
    """Each rule that found something, or each other one, with its bound and what its number is."""
    lines, finding = [], {each.guideline for each in linted.findings}
    for code in (code for code in linted.looked_at if (code in finding) == found):
        rule = RULES[code]
        most = _number({"guideline": code, "most": linted.strictness.bound(rule)}, "most")
        lines.append(f"{code}: {rule.words}, at most {most} {rule.unit}")
    return [*lines, "another bound: --threshold G1=1.5; leave out: --ignore GLOB"] if found else [*lines, SOURCE]


PROMISE = Promise("lint", ("findings",), ("guideline", "path", "value", "bound", "advice"), MODEL)
"""The keys that its JSON always has."""
