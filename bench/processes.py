"""A process from start to end: its time, its CPU seconds, its memory, and the multiply-adds that it printed."""

from __future__ import annotations

import csv
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
COLD = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"} | {"ARCHCALC_CACHE": "off"}
"""The environment of every process, unless another is given: archcalc traces, and answers from no stored trace.

Python keeps the bytecode of archcalc, as it does of an installed package: compiling it anew takes a third of a second.
"""


@dataclass(frozen=True)
class Run:
    """One process: seconds, seconds of CPU with those of its children, peak resident bytes, output (None: failed)."""

    seconds: float
    cpu: float
    bytes: int
    out: str | None


def measured(words: Sequence[str], environment: Mapping[str, str] = COLD) -> Run:
    """Run a process to its end; time from outside, memory from the kernel."""
    with tempfile.TemporaryFile() as out:
        start = time.perf_counter()
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.DEVNULL, cwd=ROOT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode() if status == 0 else None
        return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, text)


def macs_of(text: str | None) -> int | None:
    """The MACs in what a tool printed: a number, or the column of archcalc's CSV; None if it failed."""
    lines = (text or "").strip().splitlines()
    if len(lines) > 1 and "macs" in lines[0]:
        return sum(int(row["macs"]) for row in csv.DictReader(lines))
    return int(lines[-1]) if lines and lines[-1].isdigit() else None
