"""The members of a grid measured one by one, by processes of this machine, or by a cluster."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields
from multiprocessing import active_children, get_context
from typing import Any

from archcalc.analyses.metrics import OF_SERVING, metric_named
from archcalc.engine import Setup, Training
from archcalc.engine.subject import Subject
from archcalc.errors import ArchcalcError, MissingExtra, WorkerDied, WrongUse, one_line
from archcalc.studies.law.members import at_point, member_report
from archcalc.studies.observer import SILENT, Observer
from archcalc.studies.serve.serve import FIGURES, bare
from archcalc.studies.sweep.grid import Member
from archcalc.studies.sweep.store import Row, Store, key_of

DASK = "dask://"


def measured(reference: str | Subject, setup: Setup, member: Member, figures: Sequence[str]) -> Row:
    """The figures of one member, or the sentence of its error; a worker runs this."""
    wanted = [metric_named(name) for name in figures if name not in OF_SERVING]
    try:
        at = at_point(setup, member)
        served = bare(reference, at) if any(name in OF_SERVING for name in figures) else None
        cache = {name: FIGURES[name](served, at) for name in figures if served and name in OF_SERVING}
        trains = any(metric.trains for metric in wanted)
        report = member_report(reference, setup, member, trains) if wanted else None
    except ArchcalcError as error:
        return {"error": error.message}
    of_run = {metric.name: metric.of(report) for metric in wanted} if report else {}
    return of_run | cache | {"error": ""}


@dataclass(frozen=True)
class Grid:
    """The members of a sweep, the figures to measure, and the setup."""

    reference: str | Subject
    setup: Setup
    members: Sequence[Member]
    figures: Sequence[str]

    @property
    def knobs(self) -> list[str]:
        """The knobs whose values differ between members."""
        return list(self.members[0])

    @property
    def title(self) -> str:
        """The model with every setting that is not a default: what makes rows of two sweeps the same."""
        plain = Setup(training=Training())
        settings = (
            f"{setting.name}={getattr(self.setup, setting.name)}"
            for setting in fields(Setup)
            if self._differs(setting.name, plain)
        )
        return " ".join([str(self.reference), *settings])

    def _differs(self, name: str, plain: Setup) -> bool:
        return bool(getattr(self.setup, name) != getattr(plain, name))


def run(grid: Grid, executor: Executor | None, store: Store, observer: Observer = SILENT) -> list[Row]:
    """Measure the members that the store lacks. Returns the row of every member in the order of the grid."""
    observer.expect(len(grid.members))
    rows = {
        key_of(member): {**member, **store.known[key_of(member)]}
        for member in grid.members
        if key_of(member) in store.known
    }
    for _ in rows:
        observer.advance()
    missing = [member for member in grid.members if key_of(member) not in rows]
    for member, figures in _measured(grid, missing, executor):
        rows[key_of(member)] = {**member, **figures}
        store.add(rows[key_of(member)])
        observer.advance()
    return [rows[key_of(member)] for member in grid.members]


def _measured(grid: Grid, members: Sequence[Member], executor: Executor | None) -> Iterator[tuple[Member, Row]]:
    if executor is None:
        yield from ((m, measured(grid.reference, grid.setup, m, grid.figures)) for m in members)
        return
    with _workers_start_uninterrupted():
        tasks = {executor.submit(measured, grid.reference, grid.setup, m, grid.figures): m for m in members}
    try:
        for done in as_completed(tasks):
            yield tasks[done], _result(done, tasks[done])
    except BaseException:
        for task in tasks if not isinstance(executor, ProcessPoolExecutor) else ():  # its workers are ended instead
            task.cancel()
        raise


def _result(done: Future[Row], member: Member) -> Row:
    """The row that a worker returned; WorkerDied if its process ended."""
    try:
        return done.result()
    except (BrokenExecutor, CancelledError, OSError, RuntimeError) as error:
        settings = " ".join(f"{knob}={value}" for knob, value in member.items())
        hint = "run it with  --jobs 1  to see which member does it; what was measured stays in the file of  -o"
        raise WorkerDied(f"a worker died while {settings} was measured: {one_line(error)}.", hint) from None


# ---- who measures --------------------------------------------------------------------------------


def executor_named(name: str, jobs: int | None, tasks: int) -> AbstractContextManager[Executor | None]:
    """An executor of processes on this machine, or of a dask cluster at dask://HOST:PORT."""
    if name.startswith(DASK):
        return _on_dask(name.removeprefix(DASK))
    if name:
        raise WrongUse(f"there is no executor '{name}'.", "write  --executor dask://HOST:PORT, or leave it out")
    workers = min(jobs or os.cpu_count() or 1, tasks)
    return _here(workers)


@contextmanager
def _here(workers: int) -> Iterator[Executor | None]:
    if workers < 2:
        yield None
        return
    others = set(active_children())
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_not_interrupted) as executor:
        try:
            yield executor
        except BaseException:
            for worker in set(active_children()) - others:  # a member may take minutes
                worker.terminate()
            raise


@contextmanager
def _workers_start_uninterrupted() -> Iterator[None]:
    """Start workers in this block: Ctrl-C comes after it, and never to a worker that is still importing."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _not_interrupted() -> None:
    """Ignore Ctrl-C in a worker: the main process receives it and stops its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _on_dask(address: str) -> Iterator[Executor]:
    try:
        from distributed import Client as AnyClient
    except ImportError as error:
        raise MissingExtra("distributed", f"--executor {DASK}...", one_line(error)) from None
    client_of: Any = AnyClient
    try:
        client = client_of(f"tcp://{address}", timeout="10s", set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        hint = "start one with  dask scheduler  and  dask worker, and give its HOST:PORT"
        raise WrongUse(f"no cluster answers at {DASK}{address}: {one_line(error)}.", hint) from None
    try:
        yield client.get_executor(pure=False)
    finally:
        client.close()
