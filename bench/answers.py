"""The tables of docs/benchmarks.md on archcalc alone: answers beside `import torch`, and sweeps by their workers."""

from __future__ import annotations

import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from processes import COLD, ROOT, measured

from archcalc.engine import Setup
from archcalc.studies.observer import Observer
from archcalc.studies.sweep.sweep import Workers, sweep

ARCHCALC = [sys.executable, "-m", "archcalc"]
TORCH = [sys.executable, "-c", "import torch"]
ANSWERS = (
    "--help", "list", "flops resnet-50", "params resnet-50", "memory resnet-50 --train --no-changes",
    "law densenet-bc-cifar --over depth", "law resnet-20 --over batch", "law resnet-20 --over size --figure macs",
    "law dense-block --over layers,growth_rate=in_channels,size --figure weights", "law --table self-attention",
)  # fmt: skip
"""Commands whose answers are timed cold."""
STORED = (
    "flops resnet-50",
    "flops hf:vit",
    "memory resnet-50 --train --no-changes",
    "law densenet-bc-cifar --over depth",
)
"""Commands that are asked again, so that their traces are stored ones."""
FAMILY, DEPTHS, MEMBERS = "wrn", "depth=10:28:6", 400
"""The family of the sweep of many processes: four depths, each with as many numbers of classes as it takes."""
SMALL = "conv --set in_channels=1:100"
"""The family of the sweep of many members."""


def answer_rows(runs: int) -> list[str]:
    """A line for each command: CPU seconds and time beside those of `import torch` in the same round."""
    rows = [_row(command, "", runs, COLD) for command in ANSWERS]
    with tempfile.TemporaryDirectory() as folder:
        for command in STORED:
            environment = {**COLD, "ARCHCALC_CACHE": folder}
            measured([*ARCHCALC, *command.split()], environment)
            rows.append(_row(command, ", from stored traces", runs, environment))
    return rows


def laws_of(page: Path) -> list[str]:
    """The commands of a page of the documentation that find laws, without `archcalc`."""
    lines = page.read_text(encoding="utf-8").splitlines()
    commands = [line.removeprefix("$ archcalc ") for line in lines if line.startswith("$ archcalc law ")]
    if not commands:
        raise SystemExit(f"{page} shows no law")
    return commands


def law_rows() -> list[str]:
    """A line for every law of docs/laws.md, each a process of its own, two at a time; beside one `import torch`."""
    commands = laws_of(ROOT / "docs" / "laws.md")
    torch, began = measured(TORCH), time.perf_counter()
    with ThreadPoolExecutor(2) as two:
        runs = list(two.map(lambda command: measured([*ARCHCALC, *shlex.split(command)]), commands))
    seconds = time.perf_counter() - began
    for command, run in zip(commands, runs, strict=True):
        if run.out is None:
            raise SystemExit(f"archcalc {command} is not answered")
        print(f"{run.cpu:6.1f} s  {command}", file=sys.stderr)
    cpu = sum(run.cpu for run in runs)
    print(f"{len(runs)} laws: {cpu:.1f} s of CPU, {seconds:.1f} s, import torch {torch.cpu:.1f} s", file=sys.stderr)
    peak = max(run.bytes for run in runs) / 2**20
    words = f"the {len(runs)} laws of [laws](laws.md), two processes at a time"
    return [f"| {words} | {cpu / torch.cpu:.1f} | {seconds / torch.seconds:.1f} | {peak:,.0f} |"]


def _row(command: str, note: str, runs: int, environment: dict[str, str]) -> str:
    pairs = [(measured(TORCH), measured([*ARCHCALC, *command.split()], environment)) for _ in range(runs)]
    failed = [ours for _, ours in pairs if ours.out is None]
    if failed:
        raise SystemExit(f"archcalc {command} is not answered")
    cpu = median(ours.cpu / torch.cpu for torch, ours in pairs)
    seconds = median(ours.seconds / torch.seconds for torch, ours in pairs)
    peak = median(ours.bytes for _, ours in pairs)
    print(f"{command:60} {cpu:5.2f} {seconds:5.2f}{note}", file=sys.stderr)
    return f"| `{command}`{note} | {cpu:.2f} | {seconds:.2f} | {peak / 2**20:,.0f} |"


class Clock(Observer):
    """Notes when a fifth of the members were measured."""

    def __init__(self, members: int) -> None:
        self.members, self.done, self.fifth = members, 0, 0.0

    def advance(self) -> None:
        """One more member is measured."""
        self.done += 1
        if self.done == self.members // 5:
            self.fifth = time.perf_counter()


def swept(members: int, jobs: int | None, executor: str) -> None:
    """Sweep the family in this process and print seconds: of all, and of the members behind the first fifth."""
    began, clock = time.perf_counter(), Clock(members)
    values = [DEPTHS, f"num_classes=1:{members // 4}"]
    sweep(FAMILY, Setup(), values, workers=Workers(jobs, executor), observer=clock)
    end = time.perf_counter()
    print(end - began, end - clock.fifth)


def sweep_rows() -> list[str]:
    """A line for each kind of workers: members a second of a whole sweep, and of the part behind the workers' start."""
    rows = []
    with _cluster() as address:
        kinds = {"1 process": ["1", ""], "2 processes": ["2", ""], "as many as pay": ["0", ""]}
        if address:
            kinds["dask, 2 workers"] = ["0", f"dask://{address}"]
        base = 0.0
        for kind, given in kinds.items():
            out = measured([sys.executable, str(Path(__file__)), str(MEMBERS), *given]).out
            if out is None:
                raise SystemExit(f"the sweep by {kind} failed")
            whole, behind = map(float, out.split())
            steady = (MEMBERS - MEMBERS // 5) / behind
            base = base or steady
            print(f"sweep, {kind:16} {whole:6.1f} s, {steady:6.1f} members a second", file=sys.stderr)
            rows.append(f"| {kind} | {MEMBERS / whole:.1f} | {steady:.1f} | {steady / base:.2f} |")
    return rows


def memory_rows() -> list[str]:
    """A line for each size of a sweep of small members in one process: its peak."""
    rows = []
    for members in (1_000, 10_000):
        words = f"{SMALL} --set out_channels=1:{members // 100} --jobs 1 --where".split()
        run = measured([*ARCHCALC, "sweep", *words, "macs < 100000", "-f", "csv"])
        print(f"sweep of {members:,}: {run.bytes / 2**20:.0f} MiB, {run.cpu:.1f} s", file=sys.stderr)
        rows.append(f"| {members:,} | {run.bytes / 2**20:,.0f} | {1000 * run.seconds / members:.1f} |")
    return rows


@contextmanager
def _cluster() -> Iterator[str]:
    """The address of a local cluster of dask's with two workers; '' where dask is not installed."""
    try:
        from distributed import LocalCluster
    except ImportError:
        yield ""
        return
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, protocol="tcp")
    with cluster:
        yield cluster.scheduler_address.removeprefix("tcp://")


if __name__ == "__main__":
    swept(int(sys.argv[1]), int(sys.argv[2]) or None, sys.argv[3])
