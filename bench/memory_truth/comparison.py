"""One case: what archcalc computes beside what the machine did, and why they differ."""

from __future__ import annotations

import platform
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from archcalc.errors import ArchcalcError
from bench.memory_truth.attribution import explained
from bench.memory_truth.case import KNOWN, Case
from bench.memory_truth.computed import Computed, computed
from bench.memory_truth.cuda import measured_on_cuda
from bench.memory_truth.limits import LeftOut, demand_short
from bench.memory_truth.measured import measured

MEASURES: dict[str, Callable[[Case], Any]] = {"cpu": measured, "cuda": measured_on_cuda}
"""By device: how a case is run for real."""
ROWS = {"cpu": Path("bench/memory_truth.jsonl"), "cuda": Path("bench/memory_truth_cuda.jsonl")}
"""The files of rows."""
COMPARED, LEFT_OUT, NOT_RUN, REFUSED = "compared", "left out", "not run", "refused"


def row(case: Case, device: str = "cpu") -> dict[str, Any]:
    """One case: ours, the truth, the error in percent, and the difference in the first step."""
    return _beside(case, computed(case, device), device)


def _beside(case: Case, ours: Computed, device: str) -> dict[str, Any]:
    truth: Any = MEASURES[device](case)
    made = {
        "case": case,
        "ours": ours.peak,
        "truth": truth.steady,
        "error": 100 * (ours.peak - truth.steady) / truth.steady,
        "first": ours.first - truth.first,
        "with_data": ours.with_data,
    }
    return made | ({"reserved": truth.reserved} if device == "cuda" else {"why": explained(ours, truth)})


def judged(case: Case, device: str = "cpu") -> dict[str, Any]:
    """The row of a case as plain data, with a verdict: compared, or left out, refused or not run, and the reason."""
    plain = case.described() | {"machine": machine(device), "day": day()}
    start = time.perf_counter()
    try:
        ours = computed(case, device)
        if case.source != KNOWN:
            demand_short(ours.peak, ours.macs)
    except LeftOut as reason:
        return plain | {"verdict": LEFT_OUT, "reason": str(reason)}
    except Exception as error:  # archcalc refuses it, or it cannot be built, or archcalc has an error of its own
        return plain | _refused(case, device, _in_short(error))
    try:
        made = _beside(case, ours, device)
    except Exception as error:
        return plain | {"verdict": NOT_RUN, "reason": _in_short(error)}
    made.pop("case")
    return plain | {"verdict": COMPARED, **made, "seconds": round(time.perf_counter() - start, 1)}


def day() -> str:
    """Today, as 2026-11-28."""
    return datetime.now(UTC).date().isoformat()


def judged_again(case: Case, row: dict[str, Any], device: str) -> dict[str, Any]:
    """A row with what archcalc computes now beside the real bytes that it has; both are run if it has none."""
    row = case.described() | {"machine": machine(device), "day": day()} | row
    if row["verdict"] != COMPARED or row["machine"] != machine(device):
        return judged(case, device)
    try:
        ours = computed(case, device)
    except Exception as error:
        return {**row, "verdict": REFUSED, "reason": _in_short(error)}
    if ours.peak == row["ours"]:
        return row
    changed = {"ours": ours.peak, "error": 100 * (ours.peak - row["truth"]) / row["truth"]}
    return {key: value for key, value in row.items() if key not in ("why", "first")} | changed


def machine(device: str) -> str:
    """The version of torch, and what runs its kernels: a GPU, or a processor with its threads and instruction set."""
    if device == "cuda":
        return f"torch {torch.__version__}, {torch.cuda.get_device_name()}"
    threads, instructions = torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__}, {_processor()}, {threads} threads, {instructions}"


def _processor() -> str:
    """The name of the processor as Linux has it; its architecture elsewhere."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _refused(case: Case, device: str, ours: str) -> dict[str, Any]:
    """The verdict on a case that archcalc refuses: it is right to, if the machine refuses it as well."""
    try:
        MEASURES[device](case)
    except Exception as error:
        return {"verdict": NOT_RUN, "reason": _in_short(error), "ours_says": ours}
    return {"verdict": REFUSED, "reason": ours}


def _in_short(error: BaseException) -> str:
    """An error without paths of this machine: archcalc's by its message, another with the function that raised it."""
    if isinstance(error, ArchcalcError):
        return f"{type(error).__name__}: {error.message}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text} ({frame.name}, {frame.filename.rpartition('/')[2]}:{frame.lineno})"
