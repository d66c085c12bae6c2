"""CPU seconds of the bound of a pass or step (`archcalc speed`) beside those of its trace, in one process.

    python bench/bounding.py gpt2           # prints op calls, milliseconds of the bound and of the trace, their ratio
    python bench/bounding.py gpt2 adamw     # of a training step

Both run in turn, after those of a small network that load what they need; the quickest time of each counts.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import archcalc
from archcalc import hardware
from archcalc.analyses import analyze
from archcalc.analyses.bound import Bound
from archcalc.engine.cache.kept import caching

SMALL, DEVICE, ROUNDS = "densenet-bc-cifar", "rtx4090", 5


def once(model: str, optimizer: str) -> tuple[int, float, float]:
    """Op calls of a model's trace, CPU seconds of its bound, and of the trace itself."""
    training = archcalc.Training(optimizer) if optimizer else None
    start = time.process_time()
    trace = archcalc.trace(model, setup=archcalc.Setup(device="cuda", training=training))
    traced = time.process_time()
    analyze(trace, [Bound(hardware.device(DEVICE))])
    return len(trace.calls), time.process_time() - traced, traced - start


def compared(model: str, optimizer: str = "") -> tuple[int, float, float]:
    """The same with the quickest times of several rounds."""
    with caching(on=False):
        once(SMALL, optimizer)
        rounds = [once(model, optimizer) for _ in range(ROUNDS)]
    return rounds[0][0], min(bound for _, bound, _ in rounds), min(trace for *_, trace in rounds)


if __name__ == "__main__":
    calls, bound, trace = compared(*sys.argv[1:3])
    print(calls, f"{bound * 1e3:.1f} {trace * 1e3:.1f} {bound / trace:.2f}")
