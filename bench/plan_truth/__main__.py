"""Print each rank's measured peak beside the plan's; with words, only the cases that have all of them."""

from __future__ import annotations

import sys

import torch

import archcalc
from archcalc import Training
from bench.plan_truth.models import MODELS
from bench.plan_truth.ranks import CASES, WAYS, WORLD, Case, peaks


def planned(case: Case) -> int:
    """The plan's bytes for a rank."""
    example = MODELS[case.model]
    layout = {"tp": 1, "pp": 1, "dp": 1, **WAYS[case.way]}
    training = Training(
        case.optimizer,
        checkpoint=("blocks.*",) if case.again else (),
        frozen=(case.frozen,) if case.frozen else (),
    )
    x = example.batch("meta")
    batch = example.shape[0] * layout["dp"]
    made = archcalc.plan(example.make(), WORLD, x, layout=layout, global_batch=batch, train=training, device="cpu")
    assert made.best
    assert made.best.bill
    return made.best.bill.peak


def main(words: list[str]) -> None:
    """Run the cases and print a row for each."""
    torch.set_num_threads(1)  # as each rank: kernels' own memory depends on it
    cases = [case for case in CASES if all(word in case.words.replace(",", "").split() for word in words)]
    for case, measured in peaks(cases).items():
        ours, most = planned(case), max(measured)
        steady = "" if len(set(measured)) == 1 else f"  ranks and steps from {min(measured):,}"
        print(f"{case.words:45s} {most:12,} plan {ours:12,} {100 * (ours - most) / most:+.2f} %{steady}")


if __name__ == "__main__":
    main(sys.argv[1:])
