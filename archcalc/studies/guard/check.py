"""A project's budgets against its models: every check is run, and judged in one report at the end."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

from archcalc.analyses import analyze
from archcalc.analyses.lint.finding import LintFinding
from archcalc.analyses.lint.lint import RULES, worst
from archcalc.engine.setup import BUILDING, INPUT, Setup, settings, setup_of
from archcalc.errors import ArchcalcError, BadConfig, WrongUse, unreadable, writing
from archcalc.studies.guard.config import Check, parse
from archcalc.studies.guard.diff import diff
from archcalc.studies.guard.snapshot import LayerRecord, Snapshot, to_json
from archcalc.studies.guard.sources import Runs, defined, read, snapshot_of, taken
from archcalc.studies.guard.verdicts import ERROR, FAIL, OK, WARN, Beside, Letters, Verdict, counts, error, judged
from archcalc.studies.observer import SILENT, Observer
from archcalc.studies.serve.serve import bare
from archcalc.studies.speed.target import with_kernels
from archcalc.text.faces import Shown
from archcalc.text.files import replace_file, writable
from archcalc.text.spelling import setting
from archcalc.text.units import exact, plural

FILES = ("archcalc.toml", "pyproject.toml")
LARGEST = 3
"""Layers that are named as what grew."""


@dataclass(frozen=True)
class Judged:
    """One check with its verdicts, the layers that grew most, and the model as it is typed."""

    check: Check
    verdicts: Sequence[Verdict]
    grew: str = ""
    typed: str = ""

    @property
    def bad(self) -> list[Verdict]:
        """The verdicts other than OK."""
        return [verdict for verdict in self.verdicts if verdict.status != OK]


@dataclass(frozen=True, repr=False)
class CheckRun(Shown):
    """All checks of one file."""

    path: str
    judged: Sequence[Judged]

    def __repr__(self) -> str:
        """One line."""
        return f"<CheckRun of {self.path}: {self.summary}>"

    @property
    def verdicts(self) -> list[Verdict]:
        """All of them, in the order of the file."""
        return [verdict for judged in self.judged for verdict in judged.verdicts]

    @property
    def summary(self) -> str:
        """How many failed, warned and passed."""
        count = counts(self.verdicts)
        parts = [
            f"{count[FAIL]} failed",
            *([f"{count[ERROR]} could not be analysed"] if count[ERROR] else []),
            *([plural(count[WARN], "warning")] if count[WARN] else []),
            f"{count[OK]} passed",
        ]
        return ", ".join(parts)


def found_file(file: str) -> str:
    """The file of checks: the one named, or archcalc.toml, or pyproject.toml, of this folder."""
    if file:
        return file
    for name in FILES:
        if Path(name).is_file() and (name != "pyproject.toml" or "tool.archcalc" in _text(name)):
            return name
    hint = "let  archcalc init MODEL  propose a section for pyproject.toml"
    raise WrongUse(
        "there are no checks here: no archcalc.toml, and no [[tool.archcalc.check]] in pyproject.toml.", hint
    )


def checks_of(file: str, only: Sequence[str] = ()) -> list[Check]:
    """The checks of a file, or only those with the given names."""
    checks = parse(_text(file), file)
    if not checks:
        raise BadConfig(file, "it has no checks", "let  archcalc init MODEL  propose a section")
    unknown = [name for name in only if name not in {check.name for check in checks}]
    if unknown:
        raise WrongUse(f"there is no check '{unknown[0]}'.", f"checks  {', '.join(check.name for check in checks)}")
    return [check for check in checks if not only or check.name in only]


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, ValueError) as error_:
        raise BadConfig(file, f"it cannot be read ({unreadable(error_)})") from None


def run(file: str, checks: Sequence[Check], observer: Observer = SILENT) -> CheckRun:
    """Run every check of a file; a model that cannot be analysed gives a verdict, not an error."""
    letters: Letters = {}
    observer.expect(len(checks))
    done = []
    with chdir(Path(file).parent):  # references and baselines are relative to the file
        for check in checks:
            done.append(judge(check, letters))
            observer.advance()
    return CheckRun(file, done)


def judge(check: Check, letters: Letters) -> Judged:
    """Run one check in the folder of its file: trace the model, read the baseline, judge the budgets."""
    typed = _typed(check)
    try:
        setup = with_kernels(setup_of(check.settings, check.trains), check.on)
        runs = Runs(check.model, setup)
        now = snapshot_of(runs) if check.runs else defined(check.model, setup)
        baseline = _baseline(check)
        beside = Beside(_largest_of_rules(check, runs), _times(check, runs), _token_bytes(check, setup))
    except ArchcalcError as error_:
        if isinstance(error_, BadConfig):
            raise
        return Judged(check, [error(check, " ".join(error_.message.split()))], "", typed)
    verdicts = judged(check, now, baseline, letters, beside)
    bad = any(verdict.status != "ok" for verdict in verdicts)
    return Judged(check, verdicts, _grew(now, baseline) if bad else "", typed)


def _times(check: Check, runs: Runs) -> dict[int, float]:
    """The least seconds of a forward pass for each budget of time, by its line."""
    budgets = [budget for budget in check.budgets if budget.kind == "time"]
    if not budgets:
        return {}
    report = analyze(runs.forward, ())
    return {budget.line: budget.limit[1].of(report) for budget in budgets}


def _token_bytes(check: Check, setup: Setup) -> int:
    """Bytes of cache a token, if a budget is of them."""
    asked = any(budget.kind == "cache" for budget in check.budgets)
    return bare(check.model, setup).kv_bytes_per_token if asked else 0


def _largest_of_rules(check: Check, runs: Runs) -> dict[str, LintFinding | None]:
    """The largest number of each rule of lint that a check names, from a forward pass or from its training step."""
    found: dict[str, LintFinding | None] = {}
    for code in {budget.figure for budget in check.budgets if budget.kind == "lint"}:
        trace = runs.step if RULES[code].of_step else runs.forward
        found[code] = None if trace is None else worst(trace, code)
    return found


def exit_code(done: CheckRun) -> int:
    """1 for a failed budget, 3 for a model that could not be analysed."""
    statuses = {verdict.status for verdict in done.verdicts}
    return 3 if ERROR in statuses else 1 if FAIL in statuses else 0


def update_baselines(file: str, checks: Sequence[Check]) -> list[str]:
    """Write today's snapshots to the files that checks name as baselines. Returns the files written."""
    with chdir(Path(file).parent):
        return [str(Path(file).parent / path) for path in _update_here(file, checks)]


def _update_here(file: str, checks: Sequence[Check]) -> list[str]:
    by_file: dict[str, list[Snapshot]] = {}
    for path in {check.baseline for check in checks if check.baseline}:
        with writing(path):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            writable(path, [Path(file).name])
    for check in checks:
        if check.baseline:
            now = taken(check.model, setup_of(check.settings, check.trains))
            by_file.setdefault(check.baseline, []).append(now)
    if not by_file:
        raise WrongUse(f"no check of {file} has a baseline.", 'add  baseline = ".archcalc/net.json"')
    for path, snapshots in by_file.items():
        before = {snapshot.reference: snapshot for snapshot in (read(path) if os.path.exists(path) else ())}
        after = before | {snapshot.reference: snapshot for snapshot in snapshots}
        with writing(path):
            replace_file(path, to_json(list(after.values())).encode())
    return list(by_file)


def _baseline(check: Check) -> Snapshot | None:
    """The baseline's snapshot of this model; None if the file does not exist yet."""
    if not check.baseline or not os.path.exists(check.baseline):
        return None
    snapshots = read(check.baseline)
    return next(
        (snapshot for snapshot in snapshots if snapshot.reference == check.model),
        snapshots[0] if len(snapshots) == 1 else None,
    )


def _grew(now: Snapshot, baseline: Snapshot | None) -> str:
    """The layers that grew most, or the largest ones if there is no baseline."""
    if baseline is not None:
        changes = [change for change in diff(baseline, now) if change.by("params") or change.by("macs")]
        changes.sort(key=lambda change: (-abs(change.by("params")), -abs(change.by("macs"))))
        words = [f"{change.path or 'the model'} {change.by('params'):+,}" for change in changes[:LARGEST]]
        more = f" and {len(changes) - LARGEST} others" if len(changes) > LARGEST else ""
        return f"params of {' · '.join(words)}{more}" if words else ""
    largest = sorted(now.layers, key=lambda layer: -layer.params)[:LARGEST]
    return f"largest: {' · '.join(map(_largest, largest))}"


def _largest(layer: LayerRecord) -> str:
    return f"{layer.path or 'the model'} {exact(layer.params)}"


def _typed(check: Check) -> str:
    """The model with its settings as they are typed behind a command; without those of a training step or a device."""
    words = [shlex.quote(check.model)]
    for key, typed in check.settings.items():
        row = settings()[key]
        if row.typed.group not in (BUILDING, INPUT):
            continue
        if isinstance(typed, Mapping):
            words += [f"{row.option} {shlex.quote(f'{knob}={setting(value)}')}" for knob, value in typed.items()]
        else:
            values = typed if isinstance(typed, list) else [typed]
            words += [f"{row.option} {shlex.quote(str(value))}" for value in values]
    return " ".join(words)
