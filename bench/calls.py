"""CPU seconds of a traced op call beside those of a bare recording mode, on the same training step in one process.

    python bench/calls.py densenet-264 adamw      # prints calls, microseconds a call of both, and their ratio

The bare mode appends each op and the shapes that it returns; beside it, saved tensors pass through hooks that do
nothing. Both run twice in turn on tensors without data, after a step of a small network that loads what they need; the
quicker time of each counts.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch
from torch import Tensor

import archcalc
from archcalc.engine.load.build import load
from archcalc.engine.load.references import parse
from archcalc.engine.record.run import prepared, run_loaded
from archcalc.engine.record.training_loop import OPTIMIZERS, Loss, steps
from archcalc.engine.torch_private import DispatchMode

SMALL = "densenet-bc-cifar"


class Bare(DispatchMode):
    """Appends each op and the shapes of its results."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[Any, list[torch.Size]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        results = out if isinstance(out, list | tuple) else (out,)
        self.rows.append((func, [result.shape for result in results if isinstance(result, Tensor)]))
        return out


def bare(model: str, optimizer: str) -> tuple[float, int]:
    """CPU seconds of two training steps under the bare mode, and its op calls."""
    setup = archcalc.Setup(training=archcalc.Training(optimizer))
    module, inputs = prepared(load(parse(model), setup), setup)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    start = time.process_time()
    with Bare() as mode, torch.autograd.graph.saved_tensors_hooks(_same, _same):
        steps(module, inputs, Loss("sum"), OPTIMIZERS[optimizer](trained, False), lambda phase: None)
    return time.process_time() - start, len(mode.rows)


def _same(tensor: Tensor) -> Tensor:
    return tensor


def traced(model: str, optimizer: str) -> tuple[float, int]:
    """CPU seconds of the trace of the same steps, the model being built, and its op calls."""
    setup = archcalc.Setup(training=archcalc.Training(optimizer))
    loaded = load(parse(model), setup)
    start = time.process_time()
    trace = run_loaded(loaded, setup)
    return time.process_time() - start, len(trace.calls)


def compared(model: str, optimizer: str) -> tuple[int, float, float]:
    """Calls of the trace, and CPU seconds a call of the bare mode and of the trace."""
    for measure in (bare, traced):
        measure(SMALL, optimizer)
    runs = [(bare(model, optimizer), traced(model, optimizer)) for _ in range(2)]
    seconds = [min(run[tool][0] / run[tool][1] for run in runs) for tool in (0, 1)]
    return runs[0][1][1], seconds[0], seconds[1]


if __name__ == "__main__":
    calls, plain, ours = compared(*sys.argv[1:3])
    print(calls, f"{plain * 1e6:.1f} {ours * 1e6:.1f} {ours / plain:.2f}")
