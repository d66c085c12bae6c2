"""What a change of the settings would free: each by itself, and those that free memory together, by traces."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

from archcalc import engine
from archcalc.analyses import Memory, Params, analyze
from archcalc.analyses.report import Report
from archcalc.engine import Setup, Training
from archcalc.engine.subject import Subject
from archcalc.errors import ArchcalcError
from archcalc.studies.gc_pauses import gc_paused
from archcalc.studies.observer import SILENT, Observer

ANALYSES = (Params(), Memory())
PARTS = 8
"""The most parts that a batch is split into: one of 293 samples has no fewer than 293 equal parts."""
LOWEST = "pure-bf16"
"""The recipe that needs the fewest bytes."""
TOGETHER = "all of these"
ATTENDS = re.compile("softmax|attention")
"""Ops without which a model does not call scaled_dot_product_attention, whatever kernel computes it."""


@dataclass(frozen=True)
class Change:
    """A change of the settings, as the options to type, and what it does to them."""

    words: str
    applied: Callable[[Setup], Setup]
    note: str = ""
    instead_of: str = ""
    """Words of a change that this one makes pointless: both are not made together."""


@dataclass(frozen=True)
class Peak:
    """The peak that a change leads to. `options` are what to type, `change` the same in short for all of them."""

    change: str
    bytes: int
    options: str = ""
    note: str = ""


def changes(reference: str | Subject, setup: Setup, report: Report, watch: Observer = SILENT) -> list[Peak]:
    """The peak after each change, and after all together that lower it; `report` is of the same setup.

    A change that the model cannot run with (a precision, an attention kernel, a batch) is left out.
    """
    possible = list(_possible(setup, report))
    watch.expect(len(possible) + (len(possible) > 1))
    peaks: dict[str, int] = {}
    with gc_paused() as ran:

        def measure(words: str, changed: Setup) -> None:
            with suppress(ArchcalcError):
                made = measured(reference, changed)
                ran(len(made.trace.calls))
                peaks[words] = made.peak_bytes
            watch.advance()

        for change in possible:
            measure(change.words, change.applied(setup))
        made = [change for change in possible if peaks.get(change.words, report.peak_bytes) < report.peak_bytes]
        dropped = {change.instead_of for change in made}
        together = [change for change in made if change.words not in dropped]
        if len(together) > 1:
            measure(TOGETHER, reduce(lambda changed, change: change.applied(changed), together, setup))
    rows = [
        Peak(change.words, peaks[change.words], change.words, change.note)
        for change in possible
        if change.words in peaks
    ]
    if TOGETHER in peaks:
        rest = [row.change for row in rows if row.change not in [change.words for change in together]]
        name = f"{TOGETHER}{' but ' if rest else ''}{' and '.join(rest)}"
        rows.append(Peak(name, peaks[TOGETHER], " ".join(change.words for change in together)))
    return rows


def measured(reference: str | Subject, setup: Setup) -> Report:
    """The report of memory and parameters of a run."""
    return analyze(engine.trace(reference, setup), ANALYSES)


def _possible(setup: Setup, report: Report) -> Iterator[Change]:
    """Changes that may save memory, from what costs nothing to what costs time."""
    training, pattern = setup.training, _repeated(report)
    yield from _of_precision(setup, report)
    if setup.attention != "efficient" and any(ATTENDS.search(call.op) for call in report.trace.calls):
        yield Change("--attention efficient", lambda before: replace(before, attention="efficient"))
    if training and pattern and not training.checkpoint:
        yield Change(f"--checkpoint '{pattern}'", lambda before: _trained(before, checkpoint=(pattern,)))
    if training and training.optimizer != "adafactor" and training.weight_decay != 0:
        yield Change("--optimizer adafactor", lambda before: _trained(before, optimizer="adafactor"))
    yield from _accumulated(setup, report)


def _of_precision(setup: Setup, report: Report) -> Iterator[Change]:
    """Lower precision: another recipe in place of one, else bfloat16 or autocast in place of float32."""
    training, mixed = setup.training, "--amp bf16"
    if training and training.recipe:
        if training.recipe != LOWEST:
            note = f"in place of --recipe {training.recipe}"
            yield Change(f"--recipe {LOWEST}", lambda before: _trained(before, recipe=LOWEST), note)
    elif report.trace.assumptions["dtype"] == "float32":
        note = f"in place of --amp {setup.amp}" if setup.amp else ""
        yield Change("--dtype bfloat16", lambda before: replace(before, dtype="bfloat16", amp=""), note, mixed)
        if training and not setup.amp:
            yield Change(mixed, lambda before: replace(before, amp="bf16"))


def _accumulated(setup: Setup, report: Report) -> Iterator[Change]:
    """The same batch in the fewest equal parts, up to PARTS, one after the other before the update."""
    batch, training = report.trace.assumptions["batch"], setup.training
    if not training or not isinstance(batch, int) or not batch:
        return
    parts = next((number for number in range(2, PARTS + 1) if batch % number == 0), 0)
    if not parts:
        return
    size, times = batch // parts, training.accumulation * parts
    yield Change(
        f"--batch {size} --grad-accumulation {times}",
        lambda before: _trained(replace(before, batch=size), accumulation=times),
        note=f"the same {batch} samples in {parts} batches of {size}",
    )


def _trained(setup: Setup, **changes: Any) -> Setup:
    return replace(setup, training=replace(setup.training or Training(), **changes))


def _repeated(report: Report) -> str:
    """The pattern of numbered layers, such as layers.*, that keep the most for backward; '' without such."""
    kept: dict[str, int] = {}
    for layer in report.root.walk():
        if re.search(r"\d+$", layer.path) and layer.children:
            pattern = re.sub(r"\d+(?=$|\.)", "*", layer.path)
            kept[pattern] = kept.get(pattern, 0) + layer.total["kept_bytes"]
    return max(kept, key=lambda pattern: (kept[pattern], -len(pattern)), default="")
