"""Snapshots of what is named: a model is traced, a stored trace or snapshot is read, without torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from archcalc import engine
from archcalc.analyses import Flops, Memory, Params, analyze
from archcalc.engine import Setup, Training
from archcalc.engine.subject import Subject
from archcalc.errors import BadReference, WrongUse, unreadable
from archcalc.studies.guard.snapshot import Snapshot, from_json, is_snapshot, snapshot

ANALYSES = (Params(), Flops(), Memory())


def taken(reference: str | Subject, setup: Setup, trains: bool = False) -> Snapshot:
    """The snapshot of a model, or of a stored trace; with `trains` also the peak of a training step."""
    plain = analyze(engine.trace(reference, replace(setup, training=None)), ANALYSES)
    if not trains:
        return snapshot(plain)
    step = replace(setup, training=setup.training or Training(), mode="eval")
    return snapshot(plain, analyze(engine.trace(reference, step), (Params(), Memory())))


def read(path: str) -> tuple[Snapshot, ...]:
    """The snapshots of a file."""
    try:
        return from_json(Path(path).read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise BadReference(path, f"the file cannot be read ({unreadable(error)})") from None


def named(reference: str, setup: Setup) -> tuple[Snapshot, ...]:
    """The snapshots of one side of a diff: those of a file, or that of a model or a stored trace."""
    if reference.endswith(".json") and ":" not in reference and not _is_trace(reference):
        if setup != Setup():
            hint = "leave the options out, or name the model instead of its file"
            raise WrongUse(f"{reference} is a snapshot: its inputs and knobs cannot be changed.", hint)
        return read(reference)
    return (taken(reference, setup),)


def _is_trace(path: str) -> bool:
    """Whether a file holds a stored trace; False if it cannot be read."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and "trace" in document and not is_snapshot(document)
