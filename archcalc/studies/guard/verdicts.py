"""Budgets against figures: what holds, what fails and by how much. No model is traced here."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from archcalc.analyses.lint.finding import LintFinding
from archcalc.analyses.lint.lint import RULES
from archcalc.analyses.metrics import BUDGETS, BYTES, CACHE, OF_SERVING
from archcalc.studies.guard.config import LIMITS, Budget, Check
from archcalc.studies.guard.snapshot import Snapshot
from archcalc.text import units
from archcalc.text.durations import duration

OK, WARN, FAIL, ERROR = "ok", "WARN", "FAIL", "ERROR"


@dataclass(frozen=True)
class Verdict:
    """One budget's outcome: the value, the limit in words, the value as a share of it, and by how much it is over."""

    check: str
    status: str
    key: str
    what: str
    value: str
    limit: str
    share: float | None
    over: str
    line: int
    number: int | None = None

    @property
    def fails(self) -> bool:
        """Whether this verdict fails the check."""
        return self.status in (FAIL, ERROR)


Letters = MutableMapping[str, tuple[int, str]]
"""The size that each letter of a shape stands for, and the line where it was first used."""


@dataclass(frozen=True)
class Beside:
    """Figures that no snapshot holds: the worst finding of each rule of lint, the seconds of each budget of time.

    Rules are those that a check names; budgets of time are known by their lines. `token_bytes` are bytes of cache a
    token, where a budget is of them.
    """

    worst: Mapping[str, LintFinding | None] = field(default_factory=dict)
    times: Mapping[int, float] = field(default_factory=dict)
    token_bytes: int = 0


def judged(
    check: Check, now: Snapshot, baseline: Snapshot | None, letters: Letters, beside: Beside = Beside()
) -> list[Verdict]:
    """The verdict on every budget of a check; `beside` are figures that snapshots do not hold."""
    return [
        _of_rule(check, budget, beside.worst[budget.figure])
        if budget.kind == "lint"
        else _timed(check, budget, beside.times[budget.line])
        if budget.kind == "time"
        else _cached(check, budget, beside.token_bytes)
        if budget.kind == "cache"
        else _judged(check, budget, now, baseline, letters)
        for budget in check.budgets
    ]


def _timed(check: Check, budget: Budget, seconds: float) -> Verdict:
    """A bound above the limit fails: no run can be as fast. One below it is no promise that a run will be."""
    limit, metric = budget.limit
    status = OK if seconds <= limit else WARN if check.level == "warn" else FAIL
    over = "" if status == OK else f"over by {duration(seconds - limit)}"
    return Verdict(
        check.name, status, budget.key, metric.words, duration(seconds), f"≤ {duration(limit)}", seconds / limit, over,
        budget.line,
    )  # fmt: skip


def _cached(check: Check, budget: Budget, bytes_: int) -> Verdict:
    """Bytes of cache a token against their limit."""
    limit = int(budget.limit)
    status = OK if bytes_ <= limit else WARN if check.level == "warn" else FAIL
    over = "" if status == OK else f"over by {units.size(bytes_ - limit)}"
    share = bytes_ / limit if limit else None
    shown, most = units.size(bytes_), f"≤ {units.size(limit)}"
    short = OF_SERVING[CACHE].short
    return Verdict(check.name, status, budget.key, short, shown, most, share, over, budget.line, bytes_)


def _of_rule(check: Check, budget: Budget, worst: LintFinding | None) -> Verdict:
    """The verdict on a rule of lint: its largest number in the network, at the layer that has it."""
    value = worst.value if worst is not None else 0.0
    holds = value <= budget.limit
    status = OK if holds else WARN if check.level == "warn" else FAIL
    over = "" if holds or worst is None else f"{worst.path or 'the model'}: {worst.advice}"
    what = f"{budget.figure} {RULES[budget.figure].words}"
    share = value / budget.limit if budget.limit else None
    shown, limit = f"{value:.4g}", f"≤ {budget.limit:.4g}"
    return Verdict(check.name, status, budget.key, what, shown, limit, share, over, budget.line)


def error(check: Check, message: str) -> Verdict:
    """The verdict on a model that could not be analysed."""
    return Verdict(check.name, ERROR, "model", "model", "not analysed", "", None, message, check.line)


def _judged(check: Check, budget: Budget, now: Snapshot, baseline: Snapshot | None, letters: Letters) -> Verdict:
    kind = {"output": _output, "shape": _shape, "uncounted": _uncounted, "growth": _growth}.get(budget.kind, _limit)
    holds, what, rest = kind(budget, now, baseline, letters)
    status = OK if holds else WARN if check.level == "warn" else FAIL
    return Verdict(check.name, status, budget.key, what, line=budget.line, **rest)


Outcome = tuple[bool, str, dict[str, Any]]


def _limit(budget: Budget, now: Snapshot, baseline: Snapshot | None, letters: Letters) -> Outcome:
    value, limit = int(now.totals[BUDGETS[budget.figure].key]), int(budget.limit)
    holds = {"max": value <= limit, "min": value >= limit, "exact": value == limit}[budget.kind]
    difference = value - limit
    over = "" if holds else f"{'over' if difference > 0 else 'under'} by {_number(budget.figure, abs(difference))}"
    rest = {
        "value": _number(budget.figure, value),
        "limit": f"{LIMITS[budget.kind]} {_number(budget.figure, limit)}",
        "share": value / limit if limit else None,
        "over": over,
        "number": value,
    }
    return holds, BUDGETS[budget.figure].short, rest


def _growth(budget: Budget, now: Snapshot, baseline: Snapshot | None, letters: Letters) -> Outcome:
    key = BUDGETS[budget.figure].key
    what = f"{BUDGETS[budget.figure].short} growth"
    limit = f"≤ {100 * budget.limit:+g} %"
    if baseline is None or key not in baseline.totals:
        missing = "no baseline" if baseline is None else "not in the baseline"
        make = "make it: archcalc check --update-baseline"
        return False, what, {"value": missing, "limit": limit, "share": None, "over": make}
    before, value = int(baseline.totals[key]), int(now.totals[key])
    grown = (value - before) / before if before else float(value > before)
    holds = value <= before * (1 + budget.limit)
    over = "" if holds else f"{_number(budget.figure, before)} before, {_number(budget.figure, value - before)} more"
    return holds, what, {"value": f"{100 * grown:+.1f} %", "limit": limit, "share": None, "over": over, "number": value}


def _uncounted(budget: Budget, now: Snapshot, baseline: Snapshot | None, letters: Letters) -> Outcome:
    names = list(now.totals["uncounted"])
    rest = {"value": str(len(names)), "limit": "= 0", "share": None, "over": ", ".join(names), "number": len(names)}
    return not names, "ops without a rule", rest


def _output(budget: Budget, now: Snapshot, baseline: Snapshot | None, letters: Letters) -> Outcome:
    shapes = now.layers[0].output
    return _agrees(budget, "output", shapes[0] if shapes else None, letters)


def _shape(budget: Budget, now: Snapshot, baseline: Snapshot | None, letters: Letters) -> Outcome:
    layers = [layer for layer in now.layers if layer.path == budget.figure]
    layers = layers or [layer for layer in now.layers if fnmatchcase(layer.path, budget.figure)]
    if not layers:
        return False, f"shape of {budget.figure}", _rest("no such layer", budget.typed, "")
    outcomes = [
        _agrees(budget, f"shape of {layer.path}", layer.output[0] if layer.output else None, letters)
        for layer in layers
    ]
    return next((outcome for outcome in outcomes if not outcome[0]), outcomes[0])


def _agrees(budget: Budget, what: str, shape: tuple[int, ...] | None, letters: Letters) -> Outcome:
    """A shape against numbers and letters; a letter keeps its first value through the whole file."""
    if shape is None:
        return False, what, _rest("never called", budget.typed, "")
    value = units.shape(shape)
    if len(shape) != len(budget.limit):
        return False, what, _rest(value, budget.typed, f"{len(shape)} dimensions, not {len(budget.limit)}")
    for size, wanted in zip(shape, budget.limit, strict=True):
        if isinstance(wanted, int):
            if size != wanted:
                return False, what, _rest(value, budget.typed, f"{size} where {wanted} is wanted")
        elif wanted != "*":
            known, where = letters.setdefault(wanted, (size, f"line {budget.line}"))
            if known != size:
                return False, what, _rest(value, budget.typed, f"{wanted} is {size} here and {known} in {where}")
    return True, what, _rest(value, budget.typed, "")


def _rest(value: str, typed: str, over: str) -> dict[str, Any]:
    return {"value": value, "limit": f"= {typed}", "share": None, "over": over}


def _number(figure: str, value: int) -> str:
    """Parameters in every digit, counts of work in SI, bytes in binary units, all exact where they fit."""
    if BUDGETS[figure].unit == BYTES:
        return units.size(value)
    return units.exact(value) if figure == "params" else units.si(value)


def counts(verdicts: list[Verdict]) -> Mapping[str, int]:
    """How many verdicts there are of each status."""
    return {status: sum(verdict.status == status for verdict in verdicts) for status in (FAIL, ERROR, WARN, OK)}
