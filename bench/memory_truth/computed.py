"""What archcalc computes for a case, without data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from archcalc import engine
from archcalc.analyses import Flops, Memory, analyze
from archcalc.analyses.memory import LiveBytes
from archcalc.engine.setup import Setup
from archcalc.errors import NeedsData
from archcalc.tracing import Trace
from bench.memory_models import MODELS
from bench.memory_truth.case import KNOWN, TIMM, Case
from bench.memory_truth.sources import build, seed, training_of


@dataclass(frozen=True)
class Computed:
    """The trace of a case, the peaks of its steady step and of the first one, where the peak is, and forward's MACs."""

    trace: Trace
    peak: int
    first: int
    moment: int
    timeline: tuple[int, ...]
    macs: int
    with_data: bool = False


def computed(case: Case, device: str = "cpu") -> Computed:
    """The trace of a case and its peaks in bytes. Raises LeftOut, and the errors of archcalc.

    Networks of the catalogue and of timm are analysed by their references, all others as modules. A model that asks for
    values is analysed once more `with_data`, as the error's hint says.
    """
    with_data = False
    try:
        trace = _trace(case, device)
    except NeedsData:
        with_data, trace = True, _trace(case, device, with_data=True)
    report = analyze(trace, (Memory(), Flops()))
    live = report.record(LiveBytes)
    moment = live.peak.call if live.peak else -1
    first = report.totals.get("first_step_peak_bytes", report.totals["peak_bytes"])
    return Computed(trace, report.totals["peak_bytes"], first, moment, tuple(live.timeline), report.macs, with_data)


def _trace(case: Case, device: str, with_data: bool = False) -> Trace:
    kernels: dict[str, Any] = {"device": device, "attention": case.attention, "amp": case.amp, "dtype": case.dtype}
    kernels["data"] = with_data
    if case.source == KNOWN and case.name not in MODELS:
        setup = Setup(dict(case.knobs), batch=case.batch, training=case.training, **kernels)
        return engine.trace(case.name, setup)
    built = build(case)
    training = training_of(case, built.module)
    seed()
    if case.source == TIMM and not case.channels_last:
        setup = Setup(dict(case.knobs), batch=case.batch, training=training, **kernels)
        return engine.trace(f"timm:{case.name}", setup)
    inputs = dict(built.kwargs) if built.kwargs else built.args
    return engine.trace(built.module, Setup(training=training, **kernels), inputs)
