"""The verdicts of a check run as a table: by how much, what grew, what to type next, and the place in the file."""

from __future__ import annotations

import shlex
from dataclasses import asdict

from archcalc.render.assumed import device_warnings
from archcalc.render.document import GROUP, TEXT, Column, Document, Table
from archcalc.render.promise import Promise
from archcalc.studies.guard.check import CheckRun, Judged
from archcalc.studies.guard.verdicts import ERROR, FAIL, OK, WARN, counts
from archcalc.text import units


def checks(run: CheckRun) -> Document:
    """The table of all budgets, with reasons and next steps below it for those that fail."""
    columns = [
        Column("check", "check", GROUP),
        Column("status", "", TEXT),
        Column("what", "budget", TEXT),
        Column("value", "value", "number"),
        Column("limit", "limit", TEXT),
        Column("of_limit", "of it", "number", gives_way=1),
        Column("over", "", TEXT),
        Column("place", "where", TEXT, gives_way=2),
    ]
    rows = [{**asdict(verdict), "place": f"{run.path}:{verdict.line}"} for verdict in run.verdicts]
    shown = [
        {
            **row,
            "of_limit": "" if row["share"] is None else f"{100 * row['share']:.1f} %",
            "place": "" if row["status"] == OK else row["place"],
        }
        for row in rows
    ]
    head = [run.summary, f"{run.path} · {units.plural(len(run.judged), 'check')}, {units.plural(len(rows), 'budget')}"]
    foot = [*(line for judged in run.judged if judged.bad for line in _said(judged))]
    foot += device_warnings([str(judged.check.settings.get("device", "")) for judged in run.judged])
    count = counts(run.verdicts)
    totals = {"failed": count[FAIL], "errors": count[ERROR], "warnings": count[WARN], "passed": count[OK]}
    around = {"totals": totals, "file": run.path, "notes": []}
    return Document("check", head, [Table(columns, shown)], foot, around, rows)


def _said(judged: Judged) -> list[str]:
    """Why the budget is there, what grew, and what to type."""
    lines = [f"{judged.check.name}: {judged.check.message}"] if judged.check.message else []
    if any(verdict.status == ERROR for verdict in judged.verdicts):
        return lines
    lines += [f"{judged.check.name}: {judged.grew}"] if judged.grew else []
    if judged.check.baseline:
        lines.append(f"what changed: archcalc diff {shlex.quote(judged.check.baseline)} {judged.typed}")
        lines.append("accept it: raise the budget, or archcalc check --update-baseline")
    else:
        lines.append(f"the layers: archcalc summary {judged.typed}")
    return lines


PROMISE = Promise(
    "check",
    ("failed", "errors", "warnings", "passed"),
    ("check", "status", "key", "what", "value", "limit", "over", "line"),
    ("file",),
)
"""The keys that its JSON always has."""
