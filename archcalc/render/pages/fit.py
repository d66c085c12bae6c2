"""What `memory --fit` says: the verdict, what the budget is, how the batch was found."""

from __future__ import annotations

import re
from typing import Any

from archcalc.render.promise import COUNT, every_key
from archcalc.studies.budget import Budget
from archcalc.studies.largest_batch import Fitted
from archcalc.text import units

UNIT = re.compile(r"(?P<number>[^\skKMGTPEZY]+)\s*(?P<prefix>[kKMGTPEZY])(?P<binary>i?)B?\s*$")
"""A size with a prefix, which is binary with an i and decimal without."""
LONGEST = 40
"""Letters that a size may have to be repeated in the answer."""
SOUNDS_LIKE_A_VOWEL = "AIN"
"""First letters of vendors that take 'an': Apple, Intel, NVIDIA."""


def verdict(fitted: Fitted) -> str:
    """The answer in one sentence: the largest batch, or whether the batch asked for fits."""
    fit, budget = fitted.fit, fitted.budget
    on, room = _place(budget), units.size(budget.bytes)
    if fitted.asked:
        return _of_one(fitted)
    if not fit.batch:
        batch, *others = sorted(fit.peaks)
        needs, short = units.size(fit.peaks[batch]), units.size(fit.peaks[batch] - fit.budget)
        neither = f" (nor {_listed(others)})" if others else ""
        return f"nothing fits {on}: batch {batch} needs {needs} of {room}, {short} too much{neither}"
    peak = units.size(fit.peaks[fit.batch])
    if fit.next_peak is None:
        return f"every batch fits {on}: memory does not grow with the batch ({peak} of {room})"
    more = units.size(fit.next_peak - fit.budget)
    return f"the largest batch {on} is {fit.batch:,}: {peak} of {room}; {fit.batch + 1:,} needs {more} too much"


def _of_one(fitted: Fitted) -> str:
    fit, budget, batch = fitted.fit, fitted.budget, fitted.asked or 0
    peak, on, room = fit.peaks[batch], _place(budget), units.size(budget.bytes)
    if fit.batch:
        return f"batch {batch:,} fits {on}: {units.size(peak)} of {room}, {units.size(budget.bytes - peak)} free"
    short = units.size(peak - budget.bytes)
    return f"batch {batch:,} does not fit {on}: it needs {units.size(peak)} of {room}, {short} too much"


def _place(budget: Budget) -> str:
    if budget.hardware is None:
        return f"within {units.size(budget.bytes)}"
    name = budget.hardware.name
    return f"on a{'n' * (name[0] in SOUNDS_LIKE_A_VOWEL)} {name}"


def _listed(batches: list[int]) -> str:
    *first, last = map(str, batches)
    return f"{', '.join(first)} or {last}" if first else last


def budget_lines(fitted: Fitted) -> list[str]:
    """What the budget is made of, and how the batch was found."""
    budget = fitted.budget
    lines = [_on_device(budget) if budget.hardware else _of_size(budget)]
    if budget.hardware:
        lines += _device_lines(budget, fitted.setup.device)
    return [*lines, *_traced(fitted)]


def _of_size(budget: Budget) -> str:
    """A size in bytes beside the other reading of its unit, and what is set aside of it."""
    capacity = units.exact(budget.capacity)
    unit = UNIT.search(budget.typed) if len(budget.typed) < LONGEST else None
    if unit is None:
        said = f"budget: {capacity} bytes, {units.size(budget.capacity)}"
    elif unit["binary"]:
        other = f"{unit['number']}{unit['prefix']}B"
        said = f"budget: {budget.typed.strip()} is binary: {capacity} bytes ({_would_be(other)})"
    else:
        other = f"{unit['number']}{unit['prefix'].upper()}iB"
        of = units.size(budget.capacity)
        said = f"budget: {budget.typed.strip()} is decimal: {capacity} bytes, {of} ({_would_be(other)})"
    return f"{said}; {_set_aside(budget)}"


def _would_be(size: str) -> str:
    return f"{size} would be {units.exact(units.parse_size(size))}"


def _set_aside(budget: Budget) -> str:
    reserve = budget.reserve
    if not budget.reserved:
        return "nothing of it is set aside for what is not counted: --reserve, as 5% or a size, does so"
    share = f" ({reserve.typed})" if reserve.share else ""
    return f"{units.size(budget.reserved)}{share} of it is set aside, which leaves {units.size(budget.bytes)}"


def _on_device(budget: Budget) -> str:
    found = budget.hardware
    assert found
    mebibytes, sold = units.exact(budget.capacity // 2**20), f"sold as {found.sold_as}"
    if found.reported:
        has = f"{mebibytes} MiB as nvidia-smi prints ({sold})"
    elif "memory" in found.recalled:
        has = f"{units.size(budget.capacity)}, recalled and not read in a source"
    else:
        has = f"{units.size(budget.capacity)}, the data sheet's figure read as binary ({sold})"
    if budget.reserve.typed or not budget.reserved:
        return f"{found.name}: {has}; {_set_aside(budget)}"
    context, lost = units.size(budget.reserve.context), f"{100 * budget.reserve.share:g} %"
    parts = f"{context} for driver and context, {lost} for fragmentation: --reserve changes it"
    return (
        f"{found.name}: {has}, less {units.size(budget.reserved)} in reserve ({parts}), "
        f"which leaves {units.size(budget.bytes)}"
    )


def _device_lines(budget: Budget, kernels: str) -> list[str]:
    found = budget.hardware
    assert found
    if kernels:
        return [f"--fit {budget.typed} implies --device {kernels}"]
    shared = "; its memory is shared with the system and other programs" if found.shared else ""
    return [f"the model's tensors alone: archcalc has no kernels of {found.name}{shared}"]


def _traced(fitted: Fitted) -> list[str]:
    """The batches that decided, in bytes, and those below that do not fit."""
    fit, exact = fitted.fit, units.exact
    shown = [batch for batch in (fit.batch, fit.batch + 1) if batch in fit.peaks]
    lines = []
    if fit.batch and not fitted.asked:
        bytes_ = ", ".join(f"batch {batch:,} is {exact(fit.peaks[batch])} bytes" for batch in shown)
        lines.append(f"traced: {bytes_} ({units.plural(len(fit.peaks), 'trace')} in all)")
        below = [f"{batch:,} ({units.size(fit.peaks[batch])})" for batch in fit.too_large]
        if below:
            lines.append(f"smaller batches that do not fit, since other kernels run: {', '.join(below)}")
    return lines


def for_machines(fitted: Fitted) -> dict[str, Any]:
    """The answer's `fit`: the verdict and what it rests on, in bytes."""
    fit, budget = fitted.fit, fitted.budget
    return {
        "verdict": verdict(fitted),
        "fits": fitted.fits,
        "budget_bytes": fit.budget,
        "capacity_bytes": budget.capacity,
        "reserve_bytes": budget.reserved,
        "device": budget.hardware.name if budget.hardware else None,
        "batch": fit.batch,
        "asked_batch": fitted.asked,
        "next_peak_bytes": None if fitted.asked else fit.next_peak,
        "traced": [{"batch": batch, "peak_bytes": fit.peaks[batch]} for batch in sorted(fit.peaks)],
    }


SCHEMA: dict[str, Any] = every_key(
    verdict={"type": "string"},
    fits={"type": "boolean"},
    budget_bytes=COUNT,
    capacity_bytes=COUNT,
    reserve_bytes=COUNT,
    device={"type": ["string", "null"]},
    batch=COUNT,
    asked_batch={"type": ["integer", "null"]},
    next_peak_bytes={"type": ["integer", "null"]},
    traced={"type": "array", "items": every_key(batch=COUNT, peak_bytes=COUNT)},
    changes={"type": "array"},
)
"""The schema of the answer's `fit`."""
