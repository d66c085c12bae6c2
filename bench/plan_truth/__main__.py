"""Print each rank's measured peak beside the plan's."""

from __future__ import annotations

import torch

import archcalc
from archcalc import Training
from bench.plan_truth.ranks import MODELS, WAYS, peaks

OPTIONS = {"ddp": {"dp": 2, "zero": 0}, "fsdp": {"dp": 2, "zero": 3}, "tp": {"tp": 2}}
"""The layout of each way on two devices."""


def cases() -> list[tuple[str, str]]:
    """The ways and the models that they apply to."""
    return [(way, model) for way in WAYS for model in MODELS if way != "tp" or model == "former"]


def planned(way: str, model: str) -> int:
    """The plan's bytes for a rank."""
    make, shape = MODELS[model]
    degrees = {"tp": 1, "pp": 1, "dp": 1, **OPTIONS[way]}
    x = torch.zeros(shape, device="meta")
    batch = shape[0] * degrees["dp"]
    made = archcalc.plan(make(), 2, x, layout=degrees, global_batch=batch, train=Training("adamw"), device="cpu")
    assert made.best
    assert made.best.bill
    return made.best.bill.peak


if __name__ == "__main__":
    for case, measured in peaks(cases()).items():
        ours = planned(*case)
        worst = max(measured)
        print(f"{case[0]:5s} {case[1]:11s} measured {worst:12,} plan {ours:12,} {100 * (ours - worst) / worst:+.2f} %")
