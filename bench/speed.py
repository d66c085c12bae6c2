"""The speed of archcalc in one run: counting beside its peers, training steps, configurations, laws, sweeps, answers.

    pip install -c constraints.txt -e '.[bench,dask]' && pip install --no-deps torchvision
    pip install pillow transformers
    python bench/speed.py            # writes docs/benchmarks.md, in about half an hour
    python bench/speed.py --runs 1 --models resnet-50 --tables peers answers
    python bench/speed.py --tables sweeps   # by 1 and 2 processes, by as many as pay, by dask's local cluster of two
    python bench/speed.py --tables laws     # every law of docs/laws.md
    python bench/speed.py --configs-python PATH   # configurations by an environment such as bench/configs.py names

Machines are noisy: every round runs each process once beside `python -c "import torch"`, so that they meet the same
noise, and what is reported are ratios to it in the same round (the median over rounds). What takes more than a minute a
round is run twice at most. `--tables` measures some of the tables, and prints them in place of the page.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import models  # noqa: E402
import peers  # noqa: E402
from answers import FAMILY, MEMBERS, SMALL, answer_rows, law_rows, memory_rows, sweep_rows  # noqa: E402
from configs import config_rows  # noqa: E402
from processes import Run, macs_of, measured  # noqa: E402

OUT = HERE.parent / "docs" / "benchmarks.md"
IMPORT, ARCHCALC = "import torch", "archcalc flops"
STEPS = (("densenet-264", "adamw"), ("densenet-264", "sgd"), ("resnet-50", "adamw"))
"""Training steps of the second table."""
BOUNDED = ("resnet-50", "densenet-121", "gpt2", "transformer", "lstm", "resnet-50 adamw", "gpt2 adamw")
"""Networks of the table of bounds; with an optimizer, a training step."""


BUSY = 0.5
"""Processes of others, in the last minute's mean, beside which two cores do not show what two workers do."""
LONG = 60.0
"""Seconds of rounds after which two rounds are enough."""


def command(tool: str, model: str) -> list[str]:
    """What is run."""
    if tool == IMPORT:
        return [sys.executable, "-c", "import torch"]
    if tool == ARCHCALC:
        given = ["bench/models.py:vit_h_14", "-i", "1x3x224x224"] if model == models.VIT else [model]
        return [sys.executable, "-m", "archcalc", "flops", *given, "-f", "csv", "--depth", "0"]
    return [sys.executable, str(HERE / "peers.py"), tool, model]


def rounds(model: str, tools: list[str], runs: int) -> dict[str, list[Run]]:
    """Every tool once in each round."""
    found: dict[str, list[Run]] = {tool: [] for tool in tools}
    began = time.perf_counter()
    for number in range(runs):
        if number > 1 and time.perf_counter() - began > LONG:
            break
        for tool in tools:
            run = measured(command(tool, model))
            found[tool].append(run)
            said = f"{run.seconds:6.2f} s {run.bytes / 2**20:7.0f} MiB {macs_of(run.out)}"
            print(f"{model:14} round {number} {tool:14} {said}", file=sys.stderr)
    return found


def row(model: str, tool: str, runs: list[Run], base: list[Run], ours: int | None) -> str:
    """A line of the table."""
    time_ratio = median(run.seconds / same.seconds for run, same in zip(runs, base, strict=True))
    peak = median(r.bytes for r in runs)
    macs = macs_of(runs[0].out)
    counted = "–" if tool == IMPORT else "fails" if macs is None else f"{macs:,}"
    note = f" ({100 * (macs - ours) / ours:+.1f} %)" if macs and ours and macs != ours else ""
    return f"| {model} | {tool} | {time_ratio:.2f} | {peak / 2**20:,.0f} | {counted}{note} |"


def peer_rows(names: list[str], runs: int) -> list[str]:
    """The table of all tools on each model."""
    tools = [IMPORT, ARCHCALC, *peers.TOOLS]
    for tool in tools:
        measured(command(tool, names[0]))  # warms the disk's cache
    lines = []
    for model in names:
        found = rounds(model, tools, runs)
        ours = macs_of(found[ARCHCALC][0].out)
        lines += [row(model, tool, found[tool], found[IMPORT], ours) for tool in tools]
    return lines


def step_row(model: str, optimizer: str, runs: int) -> str:
    """A line of the table of training steps: a traced call against a bare one, and the command against the import."""
    words = [sys.executable, str(HERE / "calls.py"), model, optimizer]
    calls, *_, ratio = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    memory = [sys.executable, "-m", "archcalc", "memory", model, "--train", "--optimizer", optimizer, "--no-changes"]
    times = [measured(memory).cpu / measured(command(IMPORT, model)).cpu for _ in range(runs)]
    print(f"{model:14} {optimizer:8} {calls} calls, ratios {ratio} {times}", file=sys.stderr)
    return f"| {model} | {optimizer} | {int(calls):,} | {ratio} | {median(times):.2f} |"


def bound_row(case: str) -> str:
    """A line of the table of bounds: CPU milliseconds of the bound of `archcalc speed`, and of the trace."""
    words = [sys.executable, str(HERE / "bounding.py"), *case.split()]
    calls, *figures = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    model, _, optimizer = case.partition(" ")
    return f"| {model} | {f'step, {optimizer}' if optimizer else 'pass'} | {int(calls):,} | {' | '.join(figures)} |"


def tables(models: list[str], runs: int, python: str = sys.executable) -> dict[str, Callable[[], list[str]]]:
    """What measures the lines of each table, by its name."""
    return {
        "peers": lambda: peer_rows(models, runs),
        "steps": lambda: [step_row(*step, runs) for step in STEPS],
        "bounds": lambda: list(map(bound_row, BOUNDED)),
        "configs": lambda: config_rows(python),
        "answers": lambda: answer_rows(runs),
        "laws": law_rows,
        "sweeps": sweep_rows,
        "members": memory_rows,
    }


def main() -> None:
    """Measure and write the page, or print some of its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--models", nargs="*", default=list(models.MODELS))
    parser.add_argument("--tables", nargs="*", choices=list(tables([], 0)), help="measure and print these alone")
    parser.add_argument("--configs-python", default=sys.executable, metavar="PATH", help="Python of bench/configs.py")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    measures = tables(options.models, options.runs, options.configs_python)
    chosen = options.tables or list(measures)
    if (busy := os.getloadavg()[0]) > BUSY:
        print(f"other work runs here (load {busy:.1f}): sweeps by several processes cannot be judged", file=sys.stderr)
    lines = {name: "\n".join(measures[name]()) for name in chosen}
    if options.tables:
        print("\n\n".join(lines.values()))
        return
    lines["answers"] += "\n" + lines.pop("laws")
    lines["sizes"], sweep = lines.pop("members"), {"family": FAMILY, "members": MEMBERS, "small": SMALL}
    page = PAGE.format(runs=options.runs, machine=machine(), **lines, **sweep)
    options.out.write_text(page, encoding="utf-8")


def machine() -> str:
    """Where it was measured."""
    import torch

    return f"Python {platform.python_version()}, torch {torch.__version__}, {os.cpu_count()} cores"


PAGE = """\
# Benchmarks

Counting the multiply-adds of a model, each tool as one process from start to printed answer. Time is the ratio to
`python -c "import torch"`, memory the peak of the process. Medians of {runs} interleaved rounds, of two
where a round takes minutes; {machine}. Repeat it with `python bench/speed.py`; what it needs stands at its top.

| model | tool | time, ÷ import torch | peak MiB | MACs (difference from ours) |
| :-- | :-- | --: | --: | --: |
{peers}

Differences in the last column are conventions and gaps: thop, ptflops and torchinfo count normalisation, activation,
pooling or bias among the MACs; module hooks and torch on CPU miss attention products, where a fused kernel has no
formula.

## Training steps

`archcalc memory MODEL --train --no-changes` traces two steps: forward, loss, backward, optimizer. Ratios of CPU
seconds, each taken in one run: a traced op call beside a call of a mode that only appends the op and its shapes
(`bench/calls.py`), and the whole command beside `python -c "import torch"`. The bare mode pays for torch's own kernels
without data, many of them in Python; a trace has shape rules for the usual ones.

| model | optimizer | op calls | a call, ÷ bare mode | command, ÷ import torch |
| :-- | :-- | --: | --: | --: |
{steps}

## Bounds of time

What `archcalc speed` adds to a trace: CPU milliseconds of the analysis beside those of the trace, in one process behind
a small network that loads what both need, the quickest of five (`python bench/bounding.py gpt2`). The trace of `lstm`
is short because steps that are alike run once.

| model | | op calls | bound, ms | trace, ms | bound ÷ trace |
| :-- | :-- | --: | --: | --: | --: |
{bounds}

## Configurations

`archcalc flops hf:config.json --offline`, the whole command in CPU seconds, beside three imports in the same round: the
class that the configuration names, which brings torch and all that the model's file needs; torch and transformers;
and `import transformers` alone, which since its version 5 imports no torch and no model, so that no trace can be as
short. Some answers are shorter than the import of the class: archcalc imports it while Python's garbage collector
rests. One round of each configuration of `tests/data/configs`, without torchvision (`python bench/configs.py`); DETR's
needs it, and is left out.

| configuration | MACs | ÷ its class | ÷ torch, transformers | ÷ transformers |
| :-- | --: | --: | --: | --: |
{configs}

## Answers

Whole commands beside `python -c "import torch"` in the same round. Without stored traces first; what is answered from
them does not import torch. A law traces a family's members, the table of `--table` some six hundred.

| command | CPU seconds, ÷ import torch | time, ÷ import torch | peak MiB |
| :-- | --: | --: | --: |
{answers}

## Sweeps

A family of small networks (`{family}`, {members} members of four depths), measured by different workers. The rate of
the whole command counts the start of its workers, which import torch; the steady one is that of the members behind the
first fifth. Without `--jobs`, other processes start once what they save is twice what they cost.

| workers | members a second, with their start | steady | ÷ one process |
| :-- | --: | --: | --: |
{sweeps}

Rows that a condition leaves out are not held, so that memory does not grow with the members of a sweep, apart from
about two KiB each that torch and the grid keep (`{small}`, one process):

| members | peak MiB | ms a member |
| --: | --: | --: |
{sizes}
"""

if __name__ == "__main__":
    main()
