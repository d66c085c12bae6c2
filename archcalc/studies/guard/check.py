"""`check`, `init`: a project's budgets against its models; all run, one report at the end."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

from archcalc.cli.options import KERNELS, STEP
from archcalc.cli.output import progress, write_file
from archcalc.engine import Setup
from archcalc.errors import ArchcalcError, BadConfig, CannotWrite, WrongUse, one_line, unreadable
from archcalc.render.formats.ci import job_summary
from archcalc.render.pages.check import CheckRun, Judged
from archcalc.render.pages.views import setting
from archcalc.studies.guard.config import Check, parse
from archcalc.studies.guard.diff import diff
from archcalc.studies.guard.snapshot import LayerRecord, Snapshot, to_json
from archcalc.studies.guard.take import read, setup_of, taken
from archcalc.studies.guard.verdicts import ERROR, FAIL, Letters, error, judged
from archcalc.text.units import exact, shape

FILES = ("archcalc.toml", "pyproject.toml")
LARGEST = 3
"""Layers that are named as what grew."""


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
    """The checks of a file, or those of some names."""
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
    except (OSError, UnicodeDecodeError) as error_:
        raise BadConfig(file, f"it cannot be read ({unreadable(error_)})") from None


def run(file: str, checks: Sequence[Check], quiet: bool = True) -> CheckRun:
    """Every check of a file, those that cannot be analysed told as such."""
    letters: Letters = {}
    by_name = {check.name: check for check in checks}
    with chdir(Path(file).parent):
        return CheckRun(file, [judge(by_name[name], letters) for name in progress(list(by_name), quiet)])


def judge(check: Check, letters: Letters) -> Judged:
    """One check: its model traced, its baseline read, its budgets judged; in the folder of its file."""
    typed = _typed(check)
    try:
        now = taken(check.model, setup_of(check.settings, check.trains), check.trains)
        baseline = _baseline(check)
    except ArchcalcError as error_:
        if isinstance(error_, BadConfig):
            raise
        return Judged(check, [error(check, " ".join(error_.message.split()))], "", typed)
    verdicts = judged(check, now, baseline, letters)
    bad = any(verdict.status != "ok" for verdict in verdicts)
    return Judged(check, verdicts, _grew(now, baseline) if bad else "", typed)


def exit_code(done: CheckRun) -> int:
    """1 for a failed budget, 3 for a model that could not be analysed."""
    statuses = {verdict.status for verdict in done.verdicts}
    return 3 if ERROR in statuses else 1 if FAIL in statuses else 0


def update_baselines(file: str, checks: Sequence[Check]) -> list[str]:
    """Write today's snapshots to the files that checks name as baselines; the files written."""
    with chdir(Path(file).parent):
        return [str(Path(file).parent / path) for path in _update_here(file, checks)]


def _update_here(file: str, checks: Sequence[Check]) -> list[str]:
    by_file: dict[str, list[Snapshot]] = {}
    for check in checks:
        if check.baseline:
            now = taken(check.model, setup_of(check.settings, check.trains), check.trains)
            by_file.setdefault(check.baseline, []).append(now)
    if not by_file:
        raise WrongUse(f"no check of {file} has a baseline.", 'add  baseline = ".archcalc/net.json"')
    for path, snapshots in by_file.items():
        before = {one.reference: one for one in (read(path) if Path(path).exists() else ())}
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error_:
            raise CannotWrite(path, one_line(error_)) from None
        write_file(path, to_json(list((before | {one.reference: one for one in snapshots}).values())))
    return list(by_file)


def write_job_summary(done: CheckRun) -> None:
    """Append to GitHub's job summary, where there is one."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if path:
        try:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(job_summary(done))
        except OSError as error_:
            raise CannotWrite(path, one_line(error_)) from None


def _baseline(check: Check) -> Snapshot | None:
    """The baseline's snapshot of this model; None where there is no such file yet."""
    if not check.baseline or not Path(check.baseline).exists():
        return None
    snapshots = read(check.baseline)
    return next(
        (one for one in snapshots if one.reference == check.model), snapshots[0] if len(snapshots) == 1 else None
    )


def _grew(now: Snapshot, baseline: Snapshot | None) -> str:
    """The layers that grew most, or the largest ones where nobody knows what was before."""
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
    """The model with its settings as they are typed behind a command."""
    words = [shlex.quote(check.model)]
    for key, value in check.settings.items():
        option = f"--{key.replace('_', '-')}"
        if key == "set":
            words += [f"--set {shlex.quote(f'{knob}={setting(one)}')}" for knob, one in value.items()]
        elif key not in (*STEP, *KERNELS):
            words += [f"{option} {shlex.quote(str(one))}" for one in (value if isinstance(value, list) else [value])]
    return " ".join(words)


# ---- init ----------------------------------------------------------------------------------------


def proposal(references: Sequence[str], setup: Setup, settings: Mapping[str, object], heading: str) -> str:
    """A section for each model: today's shape and figures, with a little room."""
    parts = []
    for reference in references:
        now = taken(reference, replace(setup, training=None))
        lines = [f"[[{heading}]]", f"model = {_quoted(reference)}"]
        lines += [f"{key} = {_toml(value)}" for key, value in settings.items() if value]
        totals = now.totals
        lines += [
            f"exact_params = {totals['params']}",
            f"max_macs = {_room(totals['macs'])}  # today {exact(totals['macs'])}",
            f"max_peak_memory = {_room(totals['peak_bytes'])}  # today {exact(totals['peak_bytes'])} bytes",
        ]
        output = now.layers[0].output
        lines += [f"output = {_quoted(shape(output[0]))}"] if len(output) == 1 and output[0] else []
        lines += ["no_uncounted_ops = true"] if not totals["uncounted"] else []
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _room(figure: int) -> int:
    """A twentieth more, in three digits."""
    more = figure + figure // 20
    unit: int = 10 ** max(0, len(str(more)) - 3)
    return -(-more // unit) * unit


def _toml(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {_toml(one)}' for key, one in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else _quoted(str(value))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
