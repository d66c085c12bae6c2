"""The members of a grid measured one by one, by processes of this machine, or by a cluster."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import islice
from multiprocessing import active_children, get_context
from time import perf_counter
from typing import Any

from archcalc.analyses.metrics import Metric, metric_named
from archcalc.analyses.report import Report
from archcalc.engine import Setup, Training
from archcalc.engine.subject import Subject
from archcalc.errors import ArchcalcError, MissingExtra, WorkerDied, WrongUse, one_line
from archcalc.studies.law.members import Figures, at_point, member_report
from archcalc.studies.observer import SILENT, Observer
from archcalc.studies.sweep.grid import Member
from archcalc.studies.sweep.store import Row, Store, key_of

DASK = "dask://"
AHEAD = 2
"""Pieces of work that each worker has been handed before one of them is done."""
PIECE_SECONDS = 0.2
"""Seconds that a piece of work is to take: handing out a member takes about a millisecond, as long as a small one."""
LARGEST = 256
"""Members of a piece at most."""
START_SECONDS = 2.0
"""Seconds that a worker takes at least until it measures: it imports torch."""


def measured(read: Figures, setup: Setup, member: Member, figures: Sequence[str]) -> Row:
    """The figures of one member, or the sentence of its error; a worker runs this."""

    def run(metrics: Sequence[Metric]) -> Report:
        return member_report(read.reference, setup, member, metrics, any(metric.trains for metric in metrics))

    try:
        found = read.of([metric_named(name) for name in figures], at_point(setup, member), run)
    except ArchcalcError as error:
        return {"error": error.message}
    return {**found, "error": ""}


def measured_in_turn(
    reference: str | Subject, setup: Setup, members: Sequence[Member], figures: Sequence[str]
) -> tuple[list[Row], float]:
    """The figures of some members, and the seconds that they took; a worker runs this."""
    began, read = perf_counter(), Figures(reference)
    return [measured(read, setup, member, figures) for member in members], perf_counter() - began


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


@dataclass(frozen=True)
class Team:
    """The workers of a sweep: those of an executor; if it is None, this process, and others once they are worth it."""

    executor: Executor | None
    workers: int = 1


def run(grid: Grid, team: Team, store: Store, observer: Observer = SILENT) -> Generator[tuple[int, Row], None, None]:
    """Measure the members that the store lacks. Yields each member's number in the grid and its row, in any order."""
    observer.expect(len(grid.members))
    missing: list[int] = []
    for number, member in enumerate(grid.members):
        known = store.known.get(key_of(member)) if store.known else None
        if known is None:
            missing.append(number)
        else:
            observer.advance()
            yield number, {**member, **known}
    for number, figures in _measured(grid, missing, team):
        row = {**grid.members[number], **figures}
        store.add(row)
        observer.advance()
        yield number, row


def _measured(grid: Grid, numbers: Sequence[int], team: Team) -> Iterator[tuple[int, Row]]:
    if team.executor is not None:
        yield from _by_workers(grid, numbers, team.executor, team.workers)
        return
    done = yield from _here_first(grid, numbers, team.workers)
    if done < len(numbers):
        with _processes(team.workers) as executor:
            yield from _by_workers(grid, numbers[done:], executor, team.workers)


def _here_first(grid: Grid, numbers: Sequence[int], workers: int) -> Generator[tuple[int, Row], None, int]:
    """Measure in this process until other processes are worth their start. Returns how many members were measured.

    They are once the time that they would save is twice that of their start, which the first member's here is like.
    """
    start, seconds, read = 0.0, 0.0, Figures(grid.reference)
    for done, number in enumerate(numbers):
        saved = (1 - 1 / workers) * (len(numbers) - done) * seconds / max(1, done - 1)
        if done > 1 and saved > 2 * start:
            return done
        began = perf_counter()
        yield number, measured(read, grid.setup, grid.members[number], grid.figures)
        seconds += perf_counter() - began if done else 0
        start = start or max(START_SECONDS, perf_counter() - began)
    return len(numbers)


def _by_workers(grid: Grid, numbers: Sequence[int], executor: Executor, workers: int) -> Iterator[tuple[int, Row]]:
    """Hand out pieces of work, a few at a time; small members many at once. Yields rows as they are there."""
    left, waiting, size = len(numbers), iter(numbers), 1
    running: dict[Future[tuple[list[Row], float]], list[int]] = {}
    try:
        while left or running:
            while left and len(running) < AHEAD * workers:
                piece = list(islice(waiting, max(1, min(size, left // (AHEAD * workers)))))
                left -= len(piece)
                members = [grid.members[number] for number in piece]
                with _workers_start_uninterrupted():
                    task = executor.submit(measured_in_turn, grid.reference, grid.setup, members, grid.figures)
                running[task] = piece
            for task in wait(running, return_when=FIRST_COMPLETED).done:
                piece = running.pop(task)
                rows, seconds = _result(task, [grid.members[number] for number in piece])
                size = min(LARGEST, max(1, int(PIECE_SECONDS * len(piece) / max(seconds, 1e-6))))
                yield from zip(piece, rows, strict=True)
    except BaseException:
        for task in running if not isinstance(executor, ProcessPoolExecutor) else ():  # its workers are ended instead
            task.cancel()
        raise


def _result(done: Future[tuple[list[Row], float]], members: Sequence[Member]) -> tuple[list[Row], float]:
    """The rows that a worker returned, and its seconds; WorkerDied if its process ended."""
    try:
        return done.result()
    except (BrokenExecutor, CancelledError, OSError, RuntimeError) as error:
        first, *others = [" ".join(f"{knob}={value}" for knob, value in member.items()) for member in members]
        settings = f"one of {first} to {others[-1]}" if others else first
        hint = "run it with  --jobs 1  to see which member does it; what was measured stays in the file of  -o"
        raise WorkerDied(f"a worker died while {settings} was measured: {one_line(error)}.", hint) from None


# ---- who measures --------------------------------------------------------------------------------


@contextmanager
def team_named(name: str, jobs: int | None, tasks: int) -> Iterator[Team]:
    """The processes of this machine, or the workers of a dask cluster at dask://HOST:PORT.

    With `jobs`, as many processes start at once; without, one for each core when they are worth it.
    """
    if name.startswith(DASK):
        with _on_dask(name.removeprefix(DASK)) as team:
            yield team
        return
    if name:
        raise WrongUse(f"there is no executor '{name}'.", "write  --executor dask://HOST:PORT, or leave it out")
    workers = min(jobs or os.cpu_count() or 1, tasks)
    if jobs is None or workers < 2:
        yield Team(None, workers)
        return
    with _processes(workers) as executor:
        yield Team(executor, workers)


@contextmanager
def _processes(workers: int) -> Iterator[Executor]:
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
def _on_dask(address: str) -> Iterator[Team]:
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
        yield Team(client.get_executor(pure=False), max(1, sum(client.nthreads().values())))
    finally:
        client.close()
