"""Models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from archcalc import engine
from archcalc.analyses import Flops, Memory, Params, Report, Traffic, analyze
from archcalc.analyses.bound import least_seconds
from archcalc.engine.setup import Setup
from archcalc.engine.subject import Subject
from archcalc.studies.speed.target import targets, with_kernels
from archcalc.text.faces import Shown
from archcalc.text.spelling import setting
from archcalc.tracing import Model

if TYPE_CHECKING:
    from archcalc.engine.subject import AnyModel

ANALYSES = (Params(), Flops(), Memory(), Traffic())


@dataclass(frozen=True, repr=False)
class SideBySide(Shown):
    """The reports of several models under one setup."""

    reports: Sequence[Report]
    times: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Least seconds of each model by the device, as it was typed."""

    @property
    def names(self) -> list[str]:
        """A name for each model that no other has.

        That of the network or class. Where two have the same: with its settings, else as it was typed, else numbered.
        """
        models = [report.trace.model for report in self.reports]
        names = [model.name for model in models]
        for longer in (_with_settings, _as_typed):
            for name in {name for name in names if names.count(name) > 1}:
                places = [place for place, other in enumerate(names) if other == name]
                others = [longer(models[place]) for place in places]
                if len(set(others)) > 1:
                    for place, other in zip(places, others, strict=True):
                        names[place] = other
        return [
            f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
            for place, name in enumerate(names)
        ]

    def __repr__(self) -> str:
        """The names of the models."""
        return f"<{' beside '.join(self.names)}>"


def _with_settings(model: Model) -> str:
    """conv[groups=4]; for code what stands behind the file or module: Net(depth=8)."""
    if model.source == "python":
        return model.reference.partition(".py:" if ".py:" in model.reference else ":")[2]
    inside = ",".join(f"{knob}={setting(value)}" for knob, value in model.settings.items())
    return f"{model.name}[{inside}]" if inside else model.name


def _as_typed(model: Model) -> str:
    return model.reference


def side_by_side(models: Sequence[AnyModel | Subject], setup: Setup, on: Sequence[str] = ()) -> SideBySide:
    """Trace and analyse each model, its least time on some devices too; raises what tracing one raises."""
    devices = targets(on) if on else []
    setup = with_kernels(setup, [found.hardware for found in devices])
    engine.demand_known(*models)
    reports = [analyze(engine.trace(model, setup), ANALYSES) for model in models]
    times = {found.typed: [least_seconds(report.trace, found.hardware) for report in reports] for found in devices}
    return SideBySide(reports, times)
