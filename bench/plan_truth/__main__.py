"""Each rank's measured peak beside the plan's, of all cases for docs/planning.md, or of those with some words."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

import archcalc
from archcalc import Training
from bench.plan_truth.models import MODELS
from bench.plan_truth.ranks import CASES, WAYS, WORLD, Case, peaks

PAGE = Path(__file__).parents[2] / "docs" / "planning.md"
BEGIN, END = "<!-- real ranks: begin -->\n", "<!-- real ranks: end -->"
NAMES = {"ddp": "DDP", "zero1": "DDP, ZeroRedundancyOptimizer", "fsdp": "FSDP2", "tp": "tensor parallel"}
Row = tuple[Case, int, int]


def planned(case: Case, world: int = WORLD) -> int:
    """The plan's bytes for one of some ranks."""
    example, (degree, zero) = MODELS[case.model], WAYS[case.way]
    layout = {"tp": 1, "pp": 1, "dp": 1, "zero": zero, degree: world}
    training = Training(
        case.optimizer,
        checkpoint=("blocks.*",) if case.again else (),
        frozen=(case.frozen,) if case.frozen else (),
    )
    x = example.batch("meta")
    batch = example.shape[0] * layout["dp"]
    made = archcalc.plan(example.make(), world, x, layout=layout, global_batch=batch, train=training, device="cpu")
    assert made.best
    assert made.best.bill
    return made.best.bill.peak


def rows_of(cases: Sequence[Case]) -> list[Row]:
    """Each case with the highest peak of its ranks and steps, and the plan's."""
    torch.set_num_threads(1)  # as each rank: kernels' own memory depends on it
    return [(case, max(measured), planned(case)) for case, measured in peaks(cases).items()]


def difference(measured: int, ours: int) -> str:
    """The difference in percent.

    >>> difference(1000, 999), difference(1_000_000, 999_999)
    ('−0.10 %', '0.00 %')
    """
    percent = round(100 * (ours - measured) / measured, 2)
    return f"{percent:+.2f} %".replace("-", "−") if percent else "0.00 %"


def table(rows: Sequence[Row]) -> str:
    """The table in Markdown."""
    lines = ["| ranks | model | optimizer | | measured, bytes | plan | |", f"|{' :-- |' * 4}{' --: |' * 3}"]
    for case, measured, ours in rows:
        more = case.words.partition(", ")[2]
        known = f"{NAMES[case.way]} | {case.model} | {case.optimizer} | {more}"
        lines.append(f"| {known} | {measured:,} | {ours:,} | {difference(measured, ours)} |")
    return "\n".join(lines) + "\n"


def main(words: Sequence[str]) -> None:
    """Run the cases; print those with some words, or write the page's table from all."""
    rows = rows_of([case for case in CASES if set(words) <= set(case.words.replace(",", "").split())])
    for case, measured, ours in rows:
        print(f"{case.words:45s} {measured:12,} plan {ours:12,} {difference(measured, ours)}")
    if not words:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(before + BEGIN + table(rows) + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
