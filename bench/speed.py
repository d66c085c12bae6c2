"""Time and memory of counting multiply-adds, each tool as a whole process, side by side in one run.

    pip install -c constraints.txt -e '.[bench]' && pip install --no-deps torchvision && pip install pillow transformers
    python bench/speed.py            # writes docs/benchmarks.md
    python bench/speed.py --runs 1 --models resnet-50

Machines are noisy: every round runs every tool once, so that they meet the same noise, and what is reported are ratios
to `python -c "import torch"` in the same round (the median over rounds).
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import models  # noqa: E402
import peers  # noqa: E402

OUT = HERE.parent / "docs" / "benchmarks.md"
IMPORT, ARCHCALC = "import torch", "archcalc flops"
COLD = {**os.environ, "ARCHCALC_CACHE": "off"}
"""The environment of every tool: archcalc traces, and answers from no stored trace."""
CONFIGS = (
    ("llama3-8b", "LlamaForCausalLM"),
    ("gpt-oss-20b", "GptOssForCausalLM"),
    ("deepseek-v3", "DeepseekV3ForCausalLM"),
    ("mamba-2.8b", "MambaForCausalLM"),
)
"""Configurations of the third table, each with the class that transformers builds of it."""
STEPS = (("densenet-264", "adamw"), ("densenet-264", "sgd"), ("resnet-50", "adamw"))
"""Training steps of the second table."""


@dataclass(frozen=True)
class Run:
    """One process: seconds, seconds of CPU, peak resident bytes, and the MACs it printed (None: it failed)."""

    seconds: float
    cpu: float
    bytes: int
    macs: int | None


def command(tool: str, model: str) -> list[str]:
    """What is run."""
    if tool == IMPORT:
        return [sys.executable, "-c", "import torch"]
    if tool == ARCHCALC:
        given = ["bench/models.py:vit_h_14", "-i", "1x3x224x224"] if model == models.VIT else [model]
        return [sys.executable, "-m", "archcalc", "flops", *given, "-f", "csv", "--depth", "0"]
    return [sys.executable, str(HERE / "peers.py"), tool, model]


def measured(words: list[str]) -> Run:
    """Run a process to its end; time from outside, memory from the kernel."""
    with tempfile.TemporaryFile() as out:
        start = time.perf_counter()
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.DEVNULL, cwd=HERE.parent, env=COLD)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        cpu = usage.ru_utime + usage.ru_stime
        return Run(seconds, cpu, usage.ru_maxrss * 1024, _macs(out.read().decode()) if status == 0 else None)


def _macs(text: str) -> int | None:
    """The MACs in what a tool printed: a number, or the column of archcalc's CSV."""
    lines = text.strip().splitlines()
    if len(lines) > 1 and "macs" in lines[0]:
        import csv

        return sum(int(row["macs"]) for row in csv.DictReader(lines))
    return int(lines[-1]) if lines and lines[-1].isdigit() else None


def rounds(model: str, tools: list[str], runs: int) -> dict[str, list[Run]]:
    """Every tool once in each round, after one round that warms the disk's cache."""
    found: dict[str, list[Run]] = {tool: [] for tool in tools}
    for number in range(runs + 1):
        for tool in tools:
            run = measured(command(tool, model))
            if number:
                found[tool].append(run)
            said = f"{run.seconds:6.2f} s {run.bytes / 2**20:7.0f} MiB {run.macs}"
            print(f"{model:14} round {number} {tool:14} {said}", file=sys.stderr)
    return found


def row(model: str, tool: str, runs: list[Run], base: list[Run], ours: int | None) -> str:
    """A line of the table."""
    time_ratio = median(run.seconds / same.seconds for run, same in zip(runs, base, strict=True))
    peak = median(r.bytes for r in runs)
    macs = runs[0].macs
    counted = "–" if tool == IMPORT else "fails" if macs is None else f"{macs:,}"
    note = f" ({100 * (macs - ours) / ours:+.1f} %)" if macs and ours and macs != ours else ""
    return f"| {model} | {tool} | {time_ratio:.2f} | {peak / 2**20:,.0f} | {counted}{note} |"


def step_row(model: str, optimizer: str, runs: int) -> str:
    """A line of the table of training steps: a traced call against a bare one, and the command against the import."""
    words = [sys.executable, str(HERE / "calls.py"), model, optimizer]
    calls, *_, ratio = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    memory = [sys.executable, "-m", "archcalc", "memory", model, "--train", "--optimizer", optimizer]
    times = [measured(memory).cpu / measured(command(IMPORT, model)).cpu for _ in range(runs + 1)][1:]
    print(f"{model:14} {optimizer:8} {calls} calls, ratios {ratio} {times}", file=sys.stderr)
    return f"| {model} | {optimizer} | {int(calls):,} | {ratio} | {median(times):.2f} |"


def config_row(config: str, kind: str, runs: int) -> str:
    """A line of the table of configurations: CPU seconds of an answer, beside those of imports."""
    path = HERE.parent / "tests" / "data" / "configs" / f"{config}.json"
    answer = [sys.executable, "-m", "archcalc", "flops", f"hf:{path}", "--offline", "-f", "csv", "--depth", "0"]
    imports = (f"from transformers import {kind}", "import torch, transformers", "import transformers")
    found = []
    for _ in range(runs + 1):
        run = measured(answer)
        found.append([run.cpu / measured([sys.executable, "-c", code]).cpu for code in imports])
    ratios = [median(of) for of in zip(*found[1:], strict=True)]
    print(f"{config:14} {run.macs} MACs, ratios {ratios}", file=sys.stderr)
    if run.macs is None:
        raise SystemExit(f"{config} is not answered: {' '.join(answer)}")
    return f"| {config} | {run.macs:,} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |"


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--models", nargs="*", default=list(models.MODELS))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--only-steps", action="store_true", help="measure training steps alone, and print the table")
    parser.add_argument("--only-configs", action="store_true", help="measure configurations alone, and print the table")
    options = parser.parse_args()
    configs = "" if options.only_steps else "\n".join(config_row(*config, options.runs) for config in CONFIGS)
    if options.only_configs:
        print(configs)
        return
    trained = "\n".join(step_row(model, optimizer, options.runs) for model, optimizer in STEPS)
    if options.only_steps:
        print(trained)
        return
    tools = [IMPORT, ARCHCALC, *peers.TOOLS]
    lines = []
    for model in options.models:
        found = rounds(model, tools, options.runs)
        ours = found[ARCHCALC][0].macs
        lines += [row(model, tool, found[tool], found[IMPORT], ours) for tool in tools]
    page = PAGE.format(runs=options.runs, machine=machine(), rows="\n".join(lines), trained=trained, configs=configs)
    options.out.write_text(page, encoding="utf-8")


def machine() -> str:
    """Where it was measured."""
    import torch

    return f"Python {platform.python_version()}, torch {torch.__version__}, {os.cpu_count()} cores"


PAGE = """\
# Benchmarks

Counting the multiply-adds of a model, each tool as one process from start to printed answer. Time is the ratio to
`python -c "import torch"`, memory the peak of the process. Medians of {runs} interleaved rounds; {machine}.
Repeat it with `python bench/speed.py`; what it needs stands at its top.

| model | tool | time, ÷ import torch | peak MiB | MACs (difference from ours) |
| :-- | :-- | --: | --: | --: |
{rows}

Differences in the last column are conventions and gaps: thop, ptflops and torchinfo count normalisation, activation,
pooling or bias among the MACs; module hooks and torch on CPU miss attention products, where a fused kernel has no
formula.

## Training steps

`archcalc memory MODEL --train` traces two steps: forward, loss, backward, optimizer. Ratios of CPU seconds, each
taken in one run: a traced op call beside a call of a mode that only appends the op and its shapes (`bench/calls.py`),
and the whole command beside `python -c "import torch"`. The bare mode pays for torch's own kernels without data, many
of them in Python; a trace has shape rules for the usual ones.

| model | optimizer | op calls | a call, ÷ bare mode | command, ÷ import torch |
| :-- | :-- | --: | --: | --: |
{trained}

## Configurations

`archcalc flops hf:config.json --offline`, the whole command in CPU seconds, beside three imports in the same round: the
class that the configuration names, which brings torch and all that the model's file needs; torch and transformers;
and `import transformers` alone, which imports no torch and no model.

| configuration | MACs | ÷ its class | ÷ torch, transformers | ÷ transformers |
| :-- | --: | --: | --: | --: |
{configs}
"""

if __name__ == "__main__":
    main()
