"""Recomputed -> Document: what to compute again in backward, its price, and the lines of code to add."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from archcalc.render import plots
from archcalc.render.document import EXACT, SI, TEXT, Column, Document, Table
from archcalc.render.layers import Selection
from archcalc.render.pages import memory
from archcalc.render.pages.memory import Asked
from archcalc.render.promise import COUNT, TEXTS, Promise, every_key
from archcalc.studies.changes import Peak
from archcalc.studies.recompute.patterns import code_for
from archcalc.studies.recompute.recompute import Recomputed
from archcalc.text import units

MEBIBYTE, MILLION = 2**20, 10**6


def recompute(
    result: Recomputed, selection: Selection, changes: Sequence[Peak] = (), asked: Asked | None = None
) -> Document:
    """The memory of the step that computes the chosen modules again, with the choice above it."""
    page = memory.memory(
        result.fitted.report, selection, (), replace(asked or Asked(), fitted=result.fitted, changes=changes)
    )
    verdict, *head = page.head
    totals = {
        **page.envelope["totals"],
        "checkpoint": list(result.patterns),
        "recomputed_macs": result.macs,
        "recomputed_elementwise": result.elementwise,
    }
    table = [_table(result)] if result.chosen else []
    envelope = {**page.envelope, "totals": totals, "recompute": for_machines(result)}
    head = [verdict, _price(result), *head]
    return replace(
        page, head=head, tables=[*table, *page.tables], foot=[*_lines(result), *page.foot], envelope=envelope
    )


def _price(result: Recomputed) -> str:
    """What is computed again, and what that costs and frees, in one sentence."""
    peak, plain = result.fitted.report.peak_bytes, units.size(result.plain_bytes)
    if not result.chosen:
        needs = "nothing has to be computed again" if result.fits else "computing modules again frees nothing"
        return f"{needs}: the plain step needs {plain}"
    modules, share = units.plural(len(result.paths), "module"), f"{100 * result.share:.1f} %"
    how = "computed again" if result.fits else "computed again for the lowest peak"
    return f"{modules} {how}: {units.size(peak)} in place of {plain}, for {share} more work"


def _table(result: Recomputed) -> Table:
    """A line for each pattern: its modules and their extra work."""
    columns = [
        Column("pattern", "computed again", TEXT),
        Column("modules", "modules", EXACT),
        Column("macs", "extra MACs", SI),
        Column("elementwise", "extra elementwise", SI),
    ]
    left, rows = list(result.chosen), []
    for pattern in result.patterns:
        mine = [c for c in left if fnmatchcase(c.path, pattern)]
        left = [c for c in left if c not in mine]
        rows.append(
            {
                "pattern": pattern,
                "modules": len({c.path for c in mine}),
                "macs": sum(c.macs for c in mine),
                "elementwise": sum(c.elementwise for c in mine),
            }
        )
    total = {
        "pattern": "all", "modules": len(result.paths), "macs": result.macs, "elementwise": result.elementwise
    }  # fmt: skip
    return Table(columns, rows, total)


def options(result: Recomputed) -> str:
    """The options that stand in place of --checkpoint auto."""
    return " ".join(f"--checkpoint {shlex.quote(pattern)}" for pattern in result.patterns)


def _lines(result: Recomputed) -> list[str]:
    """The options to type, the code to add, and what the choice rests on."""
    lowest = f"the lowest peak of all choices at this batch: {units.size(result.lowest_bytes)}"
    lines = ["", "in your code, after `model` is made:", "", *_code(result), ""] if result.chosen else []
    if result.chosen:
        lines.insert(0, f"in place of auto: {options(result)}")
        lines.append("extra work: what backward computes again, 2 x MACs + elementwise; the choice has the least of it")
    peak = result.fitted.report.peak_bytes
    met = "equal to its trace" if peak == result.predicted_bytes else f"its trace has {units.exact(peak)}"
    lines.append(f"predicted from the plain step: {units.exact(result.predicted_bytes)} bytes, {met}; {lowest}")
    if any(_is_batch_norm(result, path) for path in result.paths):
        lines.append("batch norm that is computed again updates its running statistics twice a step")
    if not result.best:
        lines.append("near the best choice: not all of them could be compared")
    if result.left_out:
        lines.append(f"left out, since a second run of it failed: {', '.join(result.left_out)}")
    return lines


def _code(result: Recomputed) -> list[str]:
    return [f"    {line}" for line in code_for(result.paths)]


def _is_batch_norm(result: Recomputed, path: str) -> bool:
    """Whether a batch norm is among a module's parts."""
    modules = result.fitted.report.trace.modules
    return any("BatchNorm" in m.type for m in modules if m.path == path or m.path.startswith(f"{path}."))


def for_machines(result: Recomputed) -> dict[str, Any]:
    """The answer's `recompute`, in bytes and counts."""
    return {
        "modules": result.paths,
        "options": options(result),
        "code": code_for(result.paths) if result.chosen else [],
        "predicted_peak_bytes": result.predicted_bytes,
        "plain_peak_bytes": result.plain_bytes,
        "lowest_peak_bytes": result.lowest_bytes,
        "extra_work_share": result.share,
        "best": result.best,
        "left_out": list(result.left_out),
    }


def drawn(document: Document, result: Recomputed, picture: str) -> Document:
    """The least extra work over the peak: above the notes in characters, or as a picture in a format."""
    frontier = result.frontier()
    points = [(p.peak_bytes // MEBIBYTE, (2 * p.macs + p.elementwise) // MILLION) for p in frontier]

    def least(peak: float) -> int:
        return next((work for at, work in reversed(points) if at <= peak), points[0][1])

    name = result.fitted.report.trace.model.name
    title = f"{name}, batch {result.fitted.report.trace.assumptions['batch']}: memory against extra work"
    curve = plots.Curve(title, "peak, MiB", "extra work, million operations", points, least)
    curve.labels = ("least extra work", "choices")
    rows = [
        {"peak_bytes": p.peak_bytes, "macs": p.macs, "elementwise": p.elementwise, "modules": p.modules}
        for p in frontier
    ]
    document = replace(document, envelope={**document.envelope, "frontier": rows})
    if picture:
        return replace(document, picture=plots.as_picture(curve, picture))
    return replace(document, foot=[*plots.as_text(curve), "", *document.foot])


PROMISE = Promise(
    "memory",
    (*memory.PROMISE.totals, "checkpoint", "recomputed_macs", "recomputed_elementwise"),
    memory.PROMISE.rows,
    (*memory.PROMISE.around, "recompute"),
    {
        **memory.PROMISE.further,
        "recompute": every_key(
            modules=TEXTS,
            options={"type": "string"},
            code=TEXTS,
            predicted_peak_bytes=COUNT,
            plain_peak_bytes=COUNT,
            lowest_peak_bytes=COUNT,
            extra_work_share={"type": "number"},
            best={"type": "boolean"},
            left_out=TEXTS,
        ),
    },
)
"""The keys that its JSON has with --checkpoint auto."""
