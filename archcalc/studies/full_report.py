"""Everything that a report page shows of one model, or of two with what changed between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from archcalc import engine
from archcalc.analyses import Report, analyze
from archcalc.engine.setup import Setup
from archcalc.engine.subject import Subject
from archcalc.errors import WrongUse, writing
from archcalc.studies.guard.comparison import Comparison
from archcalc.studies.guard.diff import diff
from archcalc.studies.guard.snapshot import Snapshot, snapshot
from archcalc.studies.guard.sources import taken
from archcalc.studies.observer import SILENT, Observer
from archcalc.studies.published import published_lines
from archcalc.studies.speed.speed import OnDevice, on_device
from archcalc.studies.speed.target import target
from archcalc.text.faces import Shown
from archcalc.text.files import replace_file

if TYPE_CHECKING:
    from archcalc.engine.subject import AnyModel

MOST = 2
"""Models that one page holds."""


@dataclass(frozen=True, repr=False)
class FullReport(Shown):
    """Reports with every figure of one or two models, the papers' figures beside them, and the changes between two.

    `published` has sentences for each report, `on` its bound on a device if one was named. `command` is what was
    typed, '' from Python.
    """

    reports: tuple[Report, ...]
    published: tuple[tuple[str, ...], ...]
    comparison: Comparison | None = None
    command: str = ""
    on: tuple[OnDevice, ...] = ()

    def __repr__(self) -> str:
        """The names of the models."""
        return f"<FullReport of {' and '.join(report.trace.model.name for report in self.reports)}>"

    def to_page(self) -> str:
        """One self-contained HTML page; MissingExtra without jinja2."""
        return str(self._as("page"))

    def save(self, file: str | Path) -> None:
        """Write the page to a file; CannotWrite says why it cannot be written, MissingExtra without jinja2."""
        made = self.to_page().encode("utf-8")
        with writing(str(file)):
            replace_file(str(file), made)


def full_report(
    models: Sequence[AnyModel | Subject],
    setup: Setup,
    command: str = "",
    on: str = "",
    observer: Observer = SILENT,
) -> FullReport:
    """Trace and analyse one or two models; `observer` hears of each op that is computed on values.

    Papers count no adapters, so `published` is empty with them. `command` is what was typed, `on` a device whose least
    time is bounded. WrongUse for another number of models, NoPeak and NoBandwidth of the device, else what tracing one
    raises.
    """
    if not 1 <= len(models) <= MOST:
        hint = "archcalc report OLD NEW -o report.html  shows what changed;  archcalc compare  takes any number"
        raise WrongUse(f"a report is of one model, or of two and their difference; here are {len(models)}.", hint)
    engine.demand_known(*models)
    device = target(on) if on else None
    setups = [device.setup(setup) if device and not _is_stored(model) else setup for model in models]
    traces = [engine.trace(model, own, watch=observer.advance) for model, own in zip(models, setups, strict=True)]
    reports = tuple(map(analyze, traces))
    published = tuple(() if setup.lora else _published(*pair) for pair in zip(models, reports, strict=True))
    comparison = _compared(models, reports, setups[0]) if len(models) == MOST else None
    bounds = tuple(on_device(device.typed, device.hardware, trace) for trace in traces) if device else ()
    return FullReport(reports, published, comparison, command, bounds)


def _is_stored(model: AnyModel | Subject) -> bool:
    return isinstance(model, str) and isinstance(engine.parse(model), engine.StoredTrace)


def _published(model: AnyModel | Subject, report: Report) -> tuple[str, ...]:
    """The papers' figures beside ours; none for a stored trace, which is read without torch."""
    if _is_stored(model):
        return ()
    return tuple(line for figure in ("params", "macs") for line in published_lines(report, figure))


def _compared(models: Sequence[AnyModel | Subject], reports: Sequence[Report], setup: Setup) -> Comparison:
    """The changes between two models; of training steps the forward pass is traced again, for its own peak."""
    old, new = (_snapshot(model, report, setup) for model, report in zip(models, reports, strict=True))
    return Comparison(old, new, diff(old, new))


def _snapshot(model: AnyModel | Subject, report: Report, setup: Setup) -> Snapshot:
    if setup.training is None:
        return snapshot(report)
    return taken(model if isinstance(model, Subject) else Subject(model, None), setup)
