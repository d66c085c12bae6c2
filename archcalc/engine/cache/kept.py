"""A trace from the folder of kept ones, or made and kept. Nothing is kept outside `caching`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING

from archcalc.engine.load.references import Code, Reference
from archcalc.engine.setup import Setup

if TYPE_CHECKING:
    from archcalc.engine.cache.folder import Folder
    from archcalc.tracing import Trace


@dataclass
class State:
    """The folder of a block, and what became of the last trace: "kept", "made", or why it was not kept.

    `programs` is a digest of what this process has loaded; `refused` says why models of the user's are not kept.
    """

    folder: Folder
    last: str = ""
    programs: str = ""
    refused: dict[str, str] = field(default_factory=dict)


STATE: ContextVar[State | None] = ContextVar("STATE", default=None)


@contextmanager
def caching(on: bool = True) -> Iterator[Folder | None]:
    """In this block traces are kept and found again, where `on` and the environment allow it."""
    from archcalc.engine.cache.folder import Folder, chosen_folder

    path = chosen_folder() if on else None
    state = State(Folder(path)) if path is not None else None
    token = STATE.set(state)
    try:
        yield state.folder if state else None
    finally:
        STATE.reset(token)


def last_hit() -> bool:
    """Whether the last trace of this block was a kept one."""
    state = STATE.get()
    return state is not None and state.last == "kept"


def why_not_kept() -> str:
    """Why the last trace of this block was made and not kept, in words; '' if it was kept or found."""
    state = STATE.get()
    return state.last if state is not None and state.last not in ("kept", "made") else ""


def kept(kind: str, reference: Reference, text: str, setup: Setup, make: Callable[[], Trace]) -> Trace:
    """The trace of a reference, by `make` if it is not kept; it is then, unless its code reads what is not known."""
    state = STATE.get()
    if state is None:
        return make()
    from archcalc.engine.cache.conditions import key_of, programs

    state.programs = state.programs or programs()
    key = key_of(kind, reference, text, setup, state.programs)
    if not key or state.refused.get(text):
        state.last = state.refused.get(text, "a model of this kind is not kept")
        return make()
    found = _found(state.folder, key)
    if found is not None:
        state.last = "kept"
        return found
    return _made(state, key, make) if not isinstance(reference, Code) else _watched(state, key, text, make)


def _found(folder: Folder, key: str) -> Trace | None:
    entry = folder.read(key)
    if entry is None:
        return None
    head, value = entry
    if head:
        from archcalc.engine.cache.watcher import unchanged

        if not unchanged(head):
            return None
    from archcalc.tracing.columns import records
    from archcalc.tracing.trace import Trace

    try:
        return Trace(**records(value()))
    except Exception as error:  # whole, and yet not what this version writes
        folder.drop(key, f"it cannot be read ({error})")
        return None


def _made(state: State, key: str, make: Callable[[], Trace]) -> Trace:
    from archcalc.tracing.columns import columns

    trace = make()
    state.folder.write(key, {}, columns(trace))
    state.last = "made"
    return trace


def _watched(state: State, key: str, text: str, make: Callable[[], Trace]) -> Trace:
    """The trace of the user's own code, kept with all that building and running it read."""
    from archcalc.engine.cache.watcher import watched
    from archcalc.tracing.columns import columns

    for module in ("run", "definition"):  # and torch with it, whose own import reads what is in the key already
        import_module(f"archcalc.engine.record.{module}")
    with watched() as watcher:
        trace = make()
    read = watcher.dependencies()
    if read is None:
        state.last = state.refused[text] = watcher.reason
    else:
        state.folder.write(key, read, columns(trace))
        state.last = "made"
    return trace
