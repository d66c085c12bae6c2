"""Every model of timm, torchvision and transformers: analysed, or the reason why not; written to docs/coverage.md.

    python -m bench.sweep                      what has no row yet; a row is kept as soon as it is there
    python -m bench.sweep timm:resnet* hf:b*   only these, where they have no row yet
    python -m bench.sweep --again hf:b*        these anew, also where they have a row
    python -m bench.sweep --unanswered         those anew that had no answer
    python -m bench.sweep --processes 1        how many run at once (2 by default)

It may be stopped at any time: the rows stay in bench/sweep.jsonl, which git ignores, and the next call goes on.
Three checks for each model: parameters against the sum over unique parameters, MACs op by op against torch's own
FlopCounterMode on meta tensors, and no op without a rule. Needs timm, torchvision and transformers.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatch
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from archcalc.analyses.flops import Contractions
from archcalc.errors import NeedsData
from bench.models import let_detectors_run, torchvision_ops
from bench.operators import BEGIN

LACKS = "its default configuration does not run by itself"
"""How the note begins that says which settings a default configuration was given."""
ROWS = Path("bench/sweep.jsonl")
PAGE = Path("docs/coverage.md")
SECONDS = 300
"""CPU time of a model: other work of the machine does not make it late."""


def references() -> Iterator[str]:
    """All of them."""
    torchvision_ops()
    import timm
    from torchvision import models
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    yield from (f"torchvision:{name}" for name in models.list_models())
    yield from (f"timm:{name}" for name in timm.list_models())
    yield from (f"hf:{name}" for name in MODEL_MAPPING_NAMES if name in CONFIG_MAPPING_NAMES)


def measured(reference: str) -> dict[str, Any]:
    """One row: ours, the sum of unique parameters, torch's count by op."""
    import os

    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    let_detectors_run()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, _late)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    row: dict[str, Any] = {"reference": reference}
    start = time.perf_counter()
    try:
        row |= _ours(reference)
        row["seconds"] = round(time.perf_counter() - start, 2)
        row |= _others(reference)
    except Exception as error:
        row["seconds"] = round(time.perf_counter() - start, 2)
        row["reason"] = f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return row


def _ours(reference: str) -> dict[str, Any]:
    import archcalc

    try:
        report, data = archcalc.analyze(reference), False
    except NeedsData:
        report, data = archcalc.analyze(reference, data=True), True
    return {
        "data": data,
        "params": report.params,
        "macs": report.macs,
        "by_op": dict(report.record(Contractions).macs_by_op),
        "uncounted": report.totals["uncounted"],
        "taken_with": next((note for note in report.notes if note.startswith(LACKS)), ""),
        "input": [list(one.shape) for one in report.trace.inputs],
    }


def _others(reference: str) -> dict[str, Any]:
    """The sum over unique parameters, and torch's own counter on the same module and inputs."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from archcalc.engine import Setup, parse
    from archcalc.engine.load.build import load
    from archcalc.engine.record.run import prepared

    loaded = load(parse(reference), Setup())
    row: dict[str, Any] = {"unique_params": sum(p.numel() for p in loaded.module.parameters())}
    module, inputs = prepared(loaded, Setup())
    counter = FlopCounterMode(display=False)
    try:
        with counter, torch.no_grad():
            module(*inputs.args, **inputs.kwargs)
        counts = counter.get_flop_counts().get("Global", {})
        row["torch_by_op"] = {str(op): count // 2 for op, count in counts.items()}
    except Exception as error:
        row["torch_reason"] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return row


def _late(*_: Any) -> None:
    raise TimeoutError(f"not done in {SECONDS} s of CPU time")


def differences(row: dict[str, Any]) -> dict[str, int]:
    """MACs of ours less torch's, by op without its overload; empty where they agree."""
    ours: Counter[str] = Counter()
    for op, macs in row["by_op"].items():
        ours[".".join(op.split(".")[:2])] += macs
    theirs: Counter[str] = Counter(row["torch_by_op"])
    return {op: ours[op] - theirs[op] for op in sorted({*ours, *theirs}) if ours[op] != theirs[op]}


def wanted(asked: argparse.Namespace, names: Iterable[str], rows: Mapping[str, dict[str, Any]]) -> list[str]:
    """The references to measure, in order: of those that the patterns name, the ones that have no row yet."""

    def is_due(name: str) -> bool:
        return name not in rows or asked.again or (asked.unanswered and "macs" not in rows[name])

    patterns = asked.patterns or ["*"]
    return [name for name in names if any(fnmatch(name, pattern) for pattern in patterns) and is_due(name)]


def sweep(asked: argparse.Namespace) -> None:
    """Measure what is wanted; each row is kept as soon as it is there."""
    names = wanted(asked, references(), {row["reference"]: row for row in _kept()})
    with get_context("spawn").Pool(asked.processes, maxtasksperchild=100) as pool:
        for row in pool.imap_unordered(measured, names):
            print(row["reference"], row.get("reason", "")[:100], file=sys.stderr)
            with ROWS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def _kept() -> Iterator[dict[str, Any]]:
    """The rows of the file, the last one of a model."""
    rows = {}
    if ROWS.exists():
        for line in ROWS.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            rows[row["reference"]] = row
    return iter(rows.values())


LIBRARIES = {"torchvision": "torchvision", "timm": "timm", "hf": "transformers"}


def page(rows: list[dict[str, Any]], before: str) -> str:
    """docs/coverage.md: for each library the sums, then every reason.

    A library that has no rows keeps its lines of the page `before`.
    """
    swept = {row["reference"].partition(":")[0] for row in rows}
    old = [library for library in LIBRARIES if library not in swept]
    import timm
    import torch
    import torchvision
    import transformers

    versions = f"torch {torch.__version__.split('+')[0]}, torchvision {torchvision.__version__.split('+')[0]}, "
    versions += f"timm {timm.__version__}, transformers {transformers.__version__}"
    lines = [
        "# Coverage",
        "",
        "Every model of timm and torchvision, and every architecture of transformers with its default configuration,",
        "analysed by its reference (`archcalc flops timm:NAME`). Repeat it with `python -m bench.sweep`; measured",
        f"on {datetime.now(UTC).date()} with {versions}.",
        "",
        "* **analysed**: a report was made; **params**: equal to the sum over unique parameters.",
        "* **same MACs**: equal, op by op, to torch's own `FlopCounterMode` on tensors without data; **torch fails**:",
        "  that counter raises, so there is nothing to compare with; **differ**: the two disagree.",
        "* **marked**: some op has no rule; it is named, and the total is printed as a lower bound (≥).",
        "",
        "| library | models | analysed | params | same MACs | torch fails | differ | marked | median s |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(
            _begun(before, f"| {LIBRARIES[library]} |")[0]
            if library in old
            else _line(library, [r for r in rows if r["reference"].startswith(f"{library}:")])
            for library in LIBRARIES
        ),
        "",
        "## Not analysed, and why",
        "",
        *_reasons(rows),
        *(line for library in old for line in _begun(before, f"* `{library}:") if "`: " in line),
        "",
        "## Analysed with settings that the default configuration lacks",
        "",
        *(f"* `{r['reference']}`: {r['taken_with'].partition('taken with ')[2]}" for r in rows if r.get("taken_with")),
        "",
        *_with_data(rows),
        "## Analysed, with ops that have no rule",
        "",
        *(f"* `{r['reference']}`: {', '.join(f'`{op}`' for op in r['uncounted'])}" for r in rows if r.get("uncounted")),
        "",
    ]
    return "\n".join(lines)


def _with_data(rows: list[dict[str, Any]]) -> list[str]:
    """The part on models that were analysed with values; nothing if there are none."""
    said = [
        "## Analysed with `--data`",
        "",
        "What runs depends on values: these are analysed on random ones. The figures of a detector depend on its",
        "proposals, those of a model that speaks on the length of its speech.",
        "",
    ]
    names = [f"* `{row['reference']}`" for row in rows if row.get("data")]
    return [*said, *names, ""] if names else []


def _begun(text: str, start: str) -> list[str]:
    """The lines that begin so."""
    return [line for line in text.splitlines() if line.startswith(start)]


def _line(library: str, rows: list[dict[str, Any]]) -> str:
    done = [row for row in rows if "macs" in row]
    compared = [row for row in done if "torch_by_op" in row]
    figures = (
        len(rows),
        len(done),
        sum(row["params"] == row["unique_params"] for row in done),
        sum(not differences(row) for row in compared),
        sum("torch_reason" in row for row in done),
        sum(bool(differences(row)) for row in compared),
        sum(bool(row["uncounted"]) for row in done),
    )
    seconds = sorted(row["seconds"] for row in done)
    cells = " | ".join(f"{figure:,}" for figure in figures)
    return f"| {LIBRARIES[library]} | {cells} | {seconds[len(seconds) // 2] if seconds else '-'} |"


def _reasons(rows: list[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        if "macs" not in row:
            reason = " ".join(row["reason"].split("\n")[0].replace(f"{row['reference']} ", "").split())
            reason = re.sub(r"<module '([\w.]+)' from '[^']*'>", r"\1", reason)  # no paths of a machine
            yield f"* `{row['reference']}`: {reason.partition(': ')[2][:160]}"


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """The command line, parsed."""
    parser = argparse.ArgumentParser(prog="python -m bench.sweep", description=__doc__.splitlines()[0])
    parser.add_argument("patterns", nargs="*", help="references, such as timm:resnet*; all by default")
    parser.add_argument("--again", action="store_true", help="also those that have a row")
    parser.add_argument("--unanswered", action="store_true", help="also those that have a row without an answer")
    parser.add_argument("--processes", type=int, default=2, help="how many run at once")
    return parser.parse_args(given)


if __name__ == "__main__":
    sweep(arguments(sys.argv[1:]))
    before = PAGE.read_text(encoding="utf-8")
    made = page(sorted(_kept(), key=lambda row: row["reference"]), before)
    _, marker, operators = before.partition(BEGIN)  # bench.operators writes that part
    PAGE.write_text(f"{made}\n{marker}{operators}" if marker else made, encoding="utf-8")
