"""`memory --fit`: the largest batch within a budget; where not even the smallest fits, what each change would save."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import reduce
from typing import Any

from archcalc import engine
from archcalc.analyses import analyze
from archcalc.analyses.report import Report
from archcalc.engine import Setup, Training
from archcalc.errors import ArchcalcError, BadInput, ForwardFailed, WrongUse
from archcalc.render.pages.memory import Peak
from archcalc.studies.batch_search import Fit, largest
from archcalc.studies.gc_pauses import many_runs
from archcalc.text.units import parse_size

ANALYSES = ("params", "memory")


def parse_budget(text: str) -> int:
    """'24GiB' as bytes; BadInput shows the form."""
    try:
        budget = parse_size(text)
    except ValueError:
        budget = 0
    if budget < 1:
        raise BadInput(f"'--fit {text}' is not a size of memory.", "write  --fit 24GiB")
    return budget


def fitted(reference: str, setup: Setup, budget: int) -> tuple[Report, Fit, list[Peak]]:
    """The report at the largest batch that fits, how it was found, and changes to make where none fits."""
    if setup.batch is not None:
        raise WrongUse("--fit finds the batch, and --batch gives it.", "leave one of them out")
    with many_runs() as ran:
        return _fitted(reference, setup, budget, ran)


def _fitted(reference: str, setup: Setup, budget: int, ran: Callable[[int], None]) -> tuple[Report, Fit, list[Peak]]:
    seen: dict[str, Report] = {}

    def peak_at(batch: int) -> int:
        report = _report(reference, replace(setup, batch=batch))
        if report.trace.assumptions["batch"] is None:
            raise BadInput("--fit needs an input with a batch.", "leave --fit out")
        ran(len(report.trace.calls))
        if report.peak_bytes <= budget or "smallest" not in seen:
            seen["fits" if report.peak_bytes <= budget else "smallest"] = report
        return report.peak_bytes

    smallest = 1
    try:
        found = largest(peak_at, budget)
    except ForwardFailed as error:  # batch norm in training wants two values a channel
        if "more than 1 value per channel" not in error.message:
            raise
        smallest = 2
        found = largest(peak_at, budget, smallest)
    if found.batch:
        return seen["fits"], found, []
    return seen["smallest"], found, _changes(reference, replace(setup, batch=smallest), seen["smallest"])


def further(reference: str, report: Report, setup: Setup) -> Report:
    """The report with one sample more: what each sample costs."""
    batch = report.trace.assumptions["batch"]
    if not isinstance(batch, int):
        raise BadInput("--per-sample needs an input with a batch.", "leave --per-sample out")
    return _report(reference, replace(setup, batch=batch + 1))


def _report(reference: str, setup: Setup) -> Report:
    return analyze(engine.trace(reference, setup), ANALYSES)


def _changes(reference: str, setup: Setup, report: Report) -> list[Peak]:
    """Each change by itself, and all of them together, with the peak that the same batch then has."""
    possible = list(_possible(setup, report))
    setups = [(words, change(setup)) for words, change in possible]
    found = []
    for words, changed in setups:
        with suppress(ArchcalcError):  # the model may not run in that precision, or recomputed
            found.append(Peak(words, _report(reference, changed).peak_bytes))
    helps = [one for one in found if one.bytes < report.peak_bytes]
    if len(helps) > 1:
        with suppress(ArchcalcError):
            together = reduce(lambda changed, one: one[1](changed), possible, setup)
            helps.append(Peak("all of these", _report(reference, together).peak_bytes))
    return helps


def _possible(setup: Setup, report: Report) -> Iterator[tuple[str, Callable[[Setup], Setup]]]:
    """What may save memory, as options and as changes of the setup."""
    if setup.dtype == "float32":
        yield "--dtype bfloat16", lambda before: replace(before, dtype="bfloat16")
    if setup.attention != "efficient":
        yield "--attention efficient", lambda before: replace(before, attention="efficient")
    training, pattern = setup.training, _repeated(report)
    if training and pattern and not training.checkpoint:
        yield f"--checkpoint '{pattern}'", lambda before: _trained(before, checkpoint=(pattern,))
    if training and training.optimizer != "adafactor":
        yield "--optimizer adafactor", lambda before: _trained(before, optimizer="adafactor")


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
