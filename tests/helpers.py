"""What tests share: reports that were checked, the command line run in this process or in a fresh one."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import archcalc
from archcalc.analyses.memory import LiveBytes
from archcalc.analyses.report import Layer, Report
from archcalc.cli import main
from archcalc.render.formats import Screen, render
from archcalc.render.layers import ALL, Selection
from archcalc.render.pages import flops, memory, params

ROOT = Path(__file__).parent.parent


def report(model: Any, inputs: Any = None, **setup: Any) -> Report:
    """A report that has passed `check_report`; the way every test makes one."""
    made = archcalc.analyze(model, inputs, **setup)
    check_report(made)
    return made


def in_rows(trace: archcalc.Trace) -> str:
    """A trace as JSON with one object a record, as files were before they had columns; tests edit it."""
    return json.dumps({"schema_version": 2, "trace": asdict(trace)})


def check_report(made: Report) -> None:
    """What must hold for every report: own and children add up, paths are unique, all formats tell the same totals."""
    for layer in made.root.walk():
        for key, total in layer.total.items():
            assert layer.own[key] + sum(child.total[key] for child in layer.children) == total, (layer.path, key)
    paths = [layer.path for layer in made.root.walk()]
    assert len(paths) == len(set(paths)) == len(made.trace.modules)
    for key, total in made.root.total.items():
        assert made.totals[key] == total, key
    assert sum(made.record(LiveBytes).bill.values()) == made.totals["peak_bytes"]
    assert made.totals["at_peak_bytes"] == made.totals["peak_bytes"]
    for view, key in ((params.params, "params"), (flops.flops, "macs"), (memory.memory, "at_peak_bytes")):
        document = view(made, Selection(depth=ALL, zeros=True))
        as_json = json.loads(render([document], "json", Screen()))
        rows = list(csv.DictReader(io.StringIO(render([document], "csv", Screen()))))
        total = made.totals[key]
        if view is memory.memory and made.trace.calls:
            for form in ("holders", "holders_by_module"):
                assert sum(row["bytes"] for row in as_json[form]) == made.totals["peak_bytes"], form
        assert sum(int(row[key]) for row in rows) == total == sum(row[key] for row in as_json["rows"])
        assert len({(row["path"], row["itself"]) for row in rows}) == len(rows)
        assert as_json["totals"].get(key, total) == total


def leaves(layer: Layer) -> list[Layer]:
    """The layers without children."""
    return [one for one in layer.walk() if not one.children]


@dataclass(frozen=True)
class Ran:
    """What a command printed and returned."""

    code: int
    out: str
    err: str


class Screenless(io.StringIO):
    """A stream that takes any character, as a UTF-8 pipe does."""

    encoding = "utf-8"


def run(*arguments: str) -> Ran:
    """The command line in this process."""
    out, err = Screenless(), Screenless()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(arguments))
    return Ran(code, out.getvalue(), err.getvalue())


def run_fresh(*arguments: str, code: str = "", cwd: Path | None = None, **environment: str) -> Ran:
    """The command line in an interpreter of its own; or, with `code`, a piece of Python."""
    command = [sys.executable, *(["-c", code] if code else ["-m", "archcalc"]), *arguments]
    kept = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
    kept |= {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **environment}
    done = subprocess.run(command, capture_output=True, env=kept, cwd=cwd or ROOT, check=False, timeout=120)
    encoding = kept["PYTHONIOENCODING"]
    return Ran(done.returncode, done.stdout.decode(encoding), done.stderr.decode(encoding))


def totals(*arguments: str) -> dict[str, Any]:
    """The totals that a command gives under --json; `memory` without its table of changes, which is a trace a row."""
    brief = ["--no-changes"] if arguments[0] == "memory" and "--train" in arguments else []
    ran = run(*arguments, *brief, "--json")
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)["totals"]
    return found
