"""archcalc: shapes, parameters, multiply-adds and memory of neural networks, from their definitions alone.

>>> import archcalc
>>> archcalc.analyze("densenet-121").params
7978856
"""

from __future__ import annotations

from importlib import import_module

from archcalc.text.faces import RENDERERS
from archcalc.version import __version__

TYPE_CHECKING = False  # typing's own would have to be imported
if TYPE_CHECKING:
    from typing import Any

    from archcalc.analyses.report import Layer, Report
    from archcalc.engine.setup import Setup, Training
    from archcalc.errors import ArchcalcError
    from archcalc.library import (
        analyze,
        check,
        compare,
        diff,
        explain,
        largest_batch,
        law,
        lint,
        params,
        plan,
        recompute,
        report,
        serve,
        snapshot,
        speed,
        sweep,
        trace,
        verify,
    )
    from archcalc.tracing import Trace

__all__ = [
    "ArchcalcError",
    "Layer",
    "Report",
    "Setup",
    "Trace",
    "Training",
    "__version__",
    "analyze",
    "check",
    "compare",
    "diff",
    "explain",
    "largest_batch",
    "law",
    "lint",
    "params",
    "plan",
    "recompute",
    "report",
    "serve",
    "snapshot",
    "speed",
    "sweep",
    "trace",
    "verify",
]
PLACES = {
    "ArchcalcError": "errors",
    "Layer": "analyses.report",
    "Report": "analyses.report",
    "Setup": "engine.setup",
    "Trace": "tracing",
    "Training": "engine.setup",
}
"""Modules of the names that library.py does not define. Each is imported on first use."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'archcalc' has no attribute '{name}'")
    return getattr(import_module(f"archcalc.{PLACES.get(name, 'library')}"), name)


def __dir__() -> list[str]:
    return __all__


def _render(result: Any, format_: str) -> Any:
    return import_module("archcalc.render.faces").shown(result, format_)


RENDERERS.append(_render)
