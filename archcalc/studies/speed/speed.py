"""The least time of a pass or a step of one model on several devices, and at several batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from archcalc import engine
from archcalc.analyses import analyze
from archcalc.analyses.bound import Bound, Bounds
from archcalc.analyses.op_work import Works, works_of
from archcalc.analyses.report import Report
from archcalc.engine.setup import Setup
from archcalc.engine.subject import Subject
from archcalc.errors import BadInput, WrongUse
from archcalc.hardware import Hardware
from archcalc.studies.observer import SILENT, Observer
from archcalc.studies.speed.target import Target, assumed_kernels, targets
from archcalc.text.faces import Shown
from archcalc.tracing import Trace


@dataclass(frozen=True, repr=False)
class OnDevice:
    """The bound of one run on one device: seconds of a pass or step, and the report by layer."""

    typed: str
    report: Report
    batch: int | None

    @property
    def bounds(self) -> Bounds:
        """Seconds, bytes and FLOPs in sum."""
        return self.report.record(Bounds)

    @property
    def samples_at_most(self) -> float | None:
        """Samples a second at most, each op a kernel; None for a model without a batch, or one that takes no time."""
        return self.batch / self.bounds.seconds if self.batch and self.bounds.seconds else None

    @property
    def fused_samples_at_most(self) -> float | None:
        """Samples a second at most, compiled; None for a model without a batch, or one that takes no time."""
        return self.batch / self.bounds.fused_seconds if self.batch and self.bounds.fused_seconds else None

    def __repr__(self) -> str:
        """One line."""
        cause = f", bound by {self.bounds.bound_by}" if self.bounds.seconds else ""
        return f"<on {self.typed}: at least {self.bounds.seconds:.3g} s{cause}>"


@dataclass(frozen=True, repr=False)
class Speeds(Shown):
    """The bounds of a model on each device, `by_batch` those at other batches, and notes for the reader."""

    devices: Sequence[OnDevice]
    notes: Sequence[str]
    by_batch: Sequence[OnDevice] = ()

    @property
    def report(self) -> Report:
        """The report on the first device."""
        return self.devices[0].report

    @property
    def trains(self) -> bool:
        """Whether the time is that of a training step."""
        return bool(self.report.trace.steps)

    def __repr__(self) -> str:
        """One line."""
        return f"<Speeds of {self.report.trace.model.name}: {', '.join(map(repr, self.devices))}>"


def speed(
    model: str | Subject, setup: Setup, on: Sequence[str], batches: Sequence[int] = (), observer: Observer = SILENT
) -> Speeds:
    """Trace a model once for each set of kernels and bound its time on every device; also at each of `batches`.

    WrongUse without a device; what `device_typed` and tracing raise; NoPeak and NoBandwidth.
    """
    found = targets(on)
    _demand_batches(batches)
    if batches and setup.inputs_from:
        raise BadInput("--sweep-batch sets the batch, and --inputs makes the inputs itself.", "leave one of them out")
    setups = [target.setup(setup) for target in found]  # a wrong --device is told before anything is traced
    first = _on_each(model, found, setups, observer)
    notes = [note for target in found for note in (target.note, assumed_kernels(target, target.setup(setup))) if note]
    notes += [sentence for one in first for sentence in _doubts(one)]
    return Speeds(first, list(dict.fromkeys(notes)), _at_batches(model, found, setups, batches, observer))


def _demand_batches(batches: object) -> None:
    """WrongUse if they are no whole numbers above 0, or if one is there twice."""
    form = "write  batches=[1, 8, 64]"
    if not isinstance(batches, Sequence) or isinstance(batches, str):
        raise WrongUse(f"batches={batches!r} is no list of batches.", form)
    for number, batch in enumerate(batches):
        if type(batch) is not int or batch < 1:
            raise WrongUse(f"{batch!r} is no batch.", form)
        if batch in batches[:number]:
            raise WrongUse(f"batch {batch:,} is named a second time.", "name each batch once")


def _at_batches(
    model: str | Subject, found: Sequence[Target], setups: Sequence[Setup], batches: Sequence[int], observer: Observer
) -> list[OnDevice]:
    swept = []
    for batch in batches:
        rows = _on_each(model, found, [replace(setup, batch=batch) for setup in setups], observer)
        if rows[0].batch is None:
            raise BadInput("--sweep-batch needs an input with a batch.", "leave --sweep-batch out")
        swept += rows
    return swept


def _on_each(
    model: str | Subject, found: Sequence[Target], setups: Sequence[Setup], observer: Observer
) -> list[OnDevice]:
    """The bound on each device; devices with the same kernels share a trace."""
    traces: dict[str, tuple[Trace, Works]] = {}
    for setup in setups:
        if setup.device not in traces:
            trace = engine.trace(model, setup)
            traces[setup.device] = trace, works_of(trace)
            observer.advance()
    return [
        on_device(target.typed, target.hardware, *traces[setup.device])
        for target, setup in zip(found, setups, strict=True)
    ]


def on_device(typed: str, hardware: Hardware, trace: Trace, works: Works | None = None) -> OnDevice:
    """The bound of a trace on a device; NoPeak and NoBandwidth."""
    report = analyze(trace, [Bound(hardware, works)])
    batch = trace.assumptions.get("batch")
    return OnDevice(typed, report, batch if isinstance(batch, int) else None)


def _doubts(one: OnDevice) -> list[str]:
    """What of the device's figures was not seen in a source, or is not known."""
    hardware = one.bounds.hardware
    recalled = [fact for fact in hardware.recalled if fact != "memory"]
    return [f"{one.typed}: not seen in a source: {', '.join(recalled)}"] if recalled else []
