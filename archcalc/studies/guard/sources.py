"""Snapshots of what is named: a model is traced, a stored trace or snapshot is read, without torch."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from archcalc import engine
from archcalc.analyses import Flops, Memory, Params, Traffic, analyze
from archcalc.engine import Setup
from archcalc.engine.subject import Subject
from archcalc.errors import BadReference, unreadable
from archcalc.studies.guard.snapshot import Snapshot, from_json, is_snapshot, snapshot
from archcalc.tracing import Trace

ANALYSES = (Params(), Flops(), Memory(), Traffic())


class Runs:
    """The forward pass and the training step of a model, or of a stored trace, each traced once and when asked for."""

    def __init__(self, reference: str | Subject, setup: Setup) -> None:
        self._reference, self._setup = reference, setup

    @cached_property
    def forward(self) -> Trace:
        """The trace of a forward pass; raises the errors of engine.trace."""
        return engine.trace(self._reference, replace(self._setup, training=None))

    @cached_property
    def step(self) -> Trace | None:
        """The trace of the setup's training step; None without one."""
        return engine.trace(self._reference, replace(self._setup, mode="eval")) if self._setup.training else None


def taken(reference: str | Subject, setup: Setup) -> Snapshot:
    """The snapshot of a model, or of a stored trace; if the setup has a training step, also its peak."""
    return snapshot_of(Runs(reference, setup))


def snapshot_of(runs: Runs) -> Snapshot:
    """The snapshot of a forward pass, and of the training step if there is one."""
    step = runs.step
    return snapshot(analyze(runs.forward, ANALYSES), None if step is None else analyze(step, (Params(), Memory())))


def defined(reference: str, setup: Setup) -> Snapshot:
    """The snapshot of a definition, without a run: its parameters and buffers."""
    return snapshot(analyze(engine.definition(reference, setup), ANALYSES))


def read(path: str) -> tuple[Snapshot, ...]:
    """The snapshots of a file."""
    try:
        return from_json(Path(path).read_text(encoding="utf-8"), path)
    except (OSError, ValueError) as error:
        raise BadReference(path, f"the file cannot be read ({unreadable(error)})") from None


def is_file(reference: str) -> bool:
    """Whether a reference is the path of a snapshot or of a stored trace."""
    return reference.endswith(".json") and ":" not in reference


def stored(path: str) -> tuple[Snapshot, ...]:
    """The snapshots of a file, or that of a stored trace."""
    return (taken(path, Setup()),) if _is_trace(path) else read(path)


def _is_trace(path: str) -> bool:
    """Whether a file holds a stored trace; False if it cannot be read."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and "trace" in document and not is_snapshot(document)
