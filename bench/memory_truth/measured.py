"""The same step for real on a CPU, followed through the events of torch's allocator."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile, record_function

from archcalc.engine.devices.autocast import AMP
from archcalc.engine.load.inputs import Inputs
from archcalc.engine.meta.call_arguments import tensors_in
from archcalc.engine.record.training_loop import OPTIMIZERS, Loss, prepare, steps
from bench.memory_truth.case import Case
from bench.memory_truth.events import MARK, Recording, recording_of
from bench.memory_truth.sources import Built, build, seed, training_of

READY = "ready"
"""The mark at which the model, its inputs and targets are there and nothing has run yet."""
END = "end"


@dataclass(frozen=True)
class Measured:
    """Peaks of the two steps in bytes, when the second was reached, and the recording.

    `span` is the time of the steady step; `beside` are bytes of weights and inputs that torch's allocator did not
    give, such as those of NumPy arrays; they are in the peaks.
    """

    first: int
    steady: int
    moment: int
    span: tuple[int, int]
    recording: Recording
    beside: int


def measured(case: Case) -> Measured:
    """Run a case for real: two training steps, or two forward passes of which the second counts."""
    attention = sdpa_kernel(SDPBackend.MATH) if case.attention == "math" else nullcontext()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler, attention:
        storages = _run(case)
    recording = recording_of(profiler)
    marks = recording.marks
    ready = next(time for name, time in marks if name == READY)
    ends = [time for name, time in marks if name == END]
    there = {block.address for block in recording.live(ready)}
    beside = sum(size for address, size in storages.items() if address not in there)
    first, _ = recording.peak(ready, ends[0], beside)
    steady, moment = recording.peak(ends[0], ends[1], beside)
    return Measured(first, steady, moment, (ends[0], ends[1]), recording, beside)


def mark(name: str) -> None:
    """Leave a mark in the profile."""
    with record_function(f"{MARK}{name}"):
        pass


def _run(case: Case) -> dict[int, int]:
    """Build the case and run it. Returns the bytes of the storages that are there before, by their addresses."""
    built = build(case)
    run = (loop_of if case.training is not None else passes_of)(case, built, "cpu", mark)
    storages = _storages(built)
    gc.collect()
    gc.disable()
    seed()
    mark(READY)
    try:
        run()
    finally:
        gc.enable()
    return storages


def _storages(built: Built) -> dict[int, int]:
    """Bytes of the storages of weights, buffers and inputs, by their addresses; none of the tensors is held."""
    tensors = (*built.module.parameters(), *built.module.buffers(), *built.inputs)
    storages = [t.untyped_storage() for t in tensors if t.layout is torch.strided]
    return {storage.data_ptr(): storage.nbytes() for storage in storages}


def region_of(case: Case, device: str) -> Callable[[], AbstractContextManager[None]]:
    """Where autocast acts, if the case asks for it."""

    @contextmanager
    def region() -> Iterator[None]:
        with torch.autocast(device, AMP[case.amp]) if case.amp else nullcontext():
            yield

    return region


def loop_of(case: Case, built: Built, device: str, mark: Callable[[str], None]) -> Callable[[], Any]:
    """Two training steps, with everything that is there before them: optimizer, loss and its targets."""
    training = training_of(case, built.module)
    assert training is not None
    module, region = built.module.train(), region_of(case, device)
    prepare(module, training, region)
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer = OPTIMIZERS[training.optimizer](trained, device == "cuda")
    loss = Loss(training.loss)
    if training.loss in ("cross-entropy", "mse"):  # the targets are there before the first step
        _make_targets(loss, built, region)
    inputs = Inputs(built.args, built.kwargs, ())
    return lambda: steps(module, inputs, loss, optimizer, mark, region, training.accumulation)


def _make_targets(loss: Loss, built: Built, region: Callable[[], Any]) -> None:
    with torch.no_grad(), region():
        out = built.module(*built.args, **built.kwargs)
    leaves: list[Tensor] = [t.detach() for t in tensors_in(out) if t.is_floating_point()]
    with region():
        loss([t.requires_grad_() for t in leaves])


def passes_of(case: Case, built: Built, device: str, mark: Callable[[str], None]) -> Callable[[], Any]:
    """Two forward passes in eval mode without gradients; the outputs of each are gone when it ends."""
    module, region = built.module.eval(), region_of(case, device)

    def one_pass() -> None:
        with torch.no_grad(), region():
            module(*built.args, **built.kwargs)

    def run() -> None:
        for _ in range(2):
            one_pass()
            mark(END)

    return run
