"""Models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from archcalc import engine
from archcalc.analyses import Flops, Memory, Params, Report, analyze
from archcalc.engine.setup import Setup
from archcalc.engine.subject import Subject
from archcalc.text.faces import Shown

if TYPE_CHECKING:
    from archcalc.engine.subject import AnyModel

ANALYSES = (Params(), Flops(), Memory())


@dataclass(frozen=True, repr=False)
class SideBySide(Shown):
    """The reports of several models under one setup."""

    reports: Sequence[Report]

    def __repr__(self) -> str:
        """The names of the models."""
        return f"<{' beside '.join(report.trace.model.name for report in self.reports)}>"


def side_by_side(models: Sequence[AnyModel | Subject], setup: Setup) -> SideBySide:
    """Trace and analyse each model; raises what tracing one raises."""
    engine.demand_known(*models)
    return SideBySide([analyze(engine.trace(model, setup), ANALYSES) for model in models])
