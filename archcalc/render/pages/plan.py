"""The answer of `plan`: the verdict, the bill of a rank, what it sends, and the layouts, the best first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.analyses.memory import Memory
from archcalc.analyses.report import assemble
from archcalc.render.around import envelope, head
from archcalc.render.assumed import words
from archcalc.render.columns import SHARE_COLUMN, ratio
from archcalc.render.document import BYTES, NAME, NUMBER, TEXT, Column, Document, Table
from archcalc.render.promise import MODEL, Promise
from archcalc.studies.plan.plan import WORDS, Plan, Planned
from archcalc.studies.plan.rank import LINES
from archcalc.studies.plan.traffic import COLLECTIVES
from archcalc.text import units

SHOWN = 12
"""Layouts that fit, and that do not, of a search that people see; machines get all."""
NUMBER_IN_PATH = re.compile(r"(?<![^.])\d+(?![^.])")
"""The numbers of modules in a list."""
GROUPS = {"tensor": "tensor parallel", "data": "data parallel", "pipeline": "pipeline", "expert": "expert parallel"}


def plan(planned: Plan) -> Document:
    """The page of a plan."""
    best = planned.best
    report = assemble(planned.trace, [Memory()(planned.trace)])
    around = envelope(report, _totals(best))
    around |= {"verdict": verdict(planned), "gpus": planned.asked.gpus, "units": list(planned.facts.units.paths)}
    around["machines"] = _machines(planned)
    around["tensor_parallel"] = _styles(planned)
    tables = [*_tables(best), *_layouts(planned)]
    rows = [_row(row, not row.reason) for row in (*planned.fitting, *planned.rejected)]
    foot = [*_foot(planned, best)]
    return Document("plan", [verdict(planned), *head(report)], tables, foot, around, rows)


def verdict(planned: Plan) -> str:
    """The answer in one sentence."""
    best, number = planned.best, planned.asked.gpus
    devices = f"{units.exact(number)} {planned.machines.hardware.name}" if planned.machines else None
    devices = devices or units.plural(number, "device")
    if best is None or best.bill is None:
        reasons = Counter(row.reason for row in planned.rejected)
        why = reasons.most_common(1)[0][0] if reasons else "no layout was found"
        return f"no layout is possible on {devices}: {why}"
    room = f" of {units.size(planned.budget.bytes)}" if planned.budget else ""
    figures = f"{units.size(best.bill.peak)}{room} a rank"
    least = f", {_seconds(best.bound.seconds)} a step at least" if best.bound else ""
    if not planned.fits:
        return f"nothing fits {devices}: {best.layout.words} needs the least, {figures}"
    if planned.asked.one and len(planned.fitting) == 1:
        return f"{best.layout.words}{' fits' if planned.budget else ''}: {figures}{least}"
    by = "the least bound" if best.bound else "the smallest"
    layouts = units.plural(len(planned.fitting), "layout")
    return f"{layouts} on {devices}; {by}: {best.layout.words}, {figures}{least}"


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"


def _tables(best: Planned | None) -> list[Table]:
    """The bill of the rank that holds the most, and what a rank sends."""
    if best is None or best.bill is None or best.traffic is None:
        return []
    lines, peak = best.bill.lines, best.bill.peak
    rows = [
        {"part": WORDS[line], "bytes": lines[line], "share": ratio(lines[line], peak)} for line in LINES if lines[line]
    ]
    total = {"part": "peak", "bytes": peak, "share": 1.0}
    bill = Table([Column("part", "on a rank", TEXT), Column("bytes", "size", BYTES), SHARE_COLUMN], rows, total)
    parts = best.bound.parts if best.bound else {}
    sent = [
        {
            "group": GROUPS[group],
            "collective": kind.replace("_", "-"),
            "bytes": size,
            "time": _seconds(parts[name]) if (name := f"{group} parallel exchanges") in parts else "no link known",
        }
        for (group, kind), size in best.traffic.sent.items()
    ]
    columns = [
        Column("group", "ranks", TEXT),
        Column("collective", "exchange", TEXT),
        Column("bytes", "sent a step", BYTES),
        *([Column("time", "group's least time", NUMBER)] if parts else []),
    ]
    return [bill, Table(columns, sent)]


def _layouts(planned: Plan) -> list[Table]:
    """The layouts of a search: those that fit, and the others with their reasons."""
    if planned.asked.one and len(planned.fitting) + len(planned.rejected) < 2:
        return []
    bounds = any(row.bound for row in planned.fitting)
    columns = [
        Column("layout", "layout", NAME),
        Column("rank_peak_bytes", "a rank", BYTES),
        *(
            [Column("least", "least time", NUMBER), Column("binds", "what binds", TEXT, gives_way=True)]
            if bounds
            else []
        ),
        Column("microbatches", "microbatches", NUMBER, gives_way=True),
        Column("bubble", "bubble", NUMBER, gives_way=True),
    ]
    fitting = [_shown(row) for row in planned.fitting[:SHOWN]]
    reasons = [{"layout": row.layout.words, "reason": row.reason} for row in _few(planned.rejected)]
    refused = Table([Column("layout", "not possible, or too large", NAME), Column("reason", "why", TEXT)], reasons)
    return [Table(columns, fitting), refused]


def _few(rejected: Sequence[Planned]) -> list[Planned]:
    """The first rejected layouts of each kind of reason."""
    seen: Counter[str] = Counter()
    chosen = []
    for row in rejected:
        kind = re.sub(r"[\d.,]+", "", row.reason)
        seen[kind] += 1
        if seen[kind] <= SHOWN // 4:
            chosen.append(row)
    return chosen[:SHOWN]


def _shown(row: Planned) -> dict[str, Any]:
    shown = {**_row(row, True), "layout": row.layout.words, "bubble": f"{100 * row.bubble:.1f} %"}
    if row.bound:
        shown |= {"least": _seconds(row.bound.seconds), "binds": row.bound.by}
    return shown


def _foot(planned: Plan, best: Planned | None) -> list[str]:
    lines = []
    if best and best.bill:
        where = f"stage {best.bill.stage} of {best.layout.pp}, " if best.layout.pp > 1 else ""
        batches = f"{best.microbatches:,} microbatch{'es' * (best.microbatches > 1)} of {planned.facts.batch} a rank"
        lines.append(f"peak: {where}in {best.bill.phase} · a step: {units.plural(best.samples, 'sample')}, {batches}")
        if best.bound:
            parts = ", ".join(f"{name} {_seconds(value)}" for name, value in best.bound.parts.items())
            lines.append(f"bound by {best.bound.by}: {parts}; each alone, in perfect overlap")
    more = len(planned.fitting) - SHOWN
    lines += [f"and {more} more layouts that fit: --json has all"] if more > 0 else []
    hidden = len(planned.rejected) - len(_few(planned.rejected))
    lines += [f"and {hidden} more that do not"] if hidden > 0 and not planned.asked.one else []
    lines += _arrangement(planned, best)
    assumptions = {**planned.trace.assumptions, "processor": ""}
    lines.append(f"assumed: {', '.join(words(assumptions))}; a microbatch is --batch, the shapes above")
    lines.append("not counted: fragmentation, NCCL's own buffers, the context of a process; docs/planning.md")
    return lines


def _arrangement(planned: Plan, best: Planned | None) -> list[str]:
    """The units, what tensor parallelism divides, the machines."""
    number, paths = len(planned.facts.units.paths), planned.facts.units.paths
    kinds = list(dict.fromkeys(NUMBER_IN_PATH.sub("*", path) for path in paths))
    lines = [f"units: {', '.join(kinds[:3])}{' ...' if len(kinds) > 3 else ''} ({number}), and the rest"]
    if best and best.layout.pp > 1:
        parts = best.layout.pp * best.layout.chunks
        if number % parts:
            lines.append(f"{number} units do not divide by {parts}: {number // parts} or more a part, by their work")
    styles = _styles(planned)
    if best and best.layout.tp > 1 and styles:
        by: dict[str, list[str]] = {}
        for path, style in styles.items():
            by.setdefault(style, []).append(path)
        lines += [f"divided by {style}s: {', '.join(found)}".replace("wordss", "words") for style, found in by.items()]
    machines = planned.machines
    if machines:
        link = f"{machines.link.name} inside" if machines.link else "no link known inside (--link)"
        lines.append(f"machines of {machines.node}: {link}, {machines.network.name} between them")
    return lines


def _styles(planned: Plan) -> dict[str, str]:
    """How layers are divided under tensor parallelism, by patterns of their names."""
    best = planned.best
    if best is None or best.layout.tp == 1:
        return {}
    found = planned.facts.spread(best.layout.tp, best.layout.sp)
    names = {number: planned.trace.parameters[number].names[0] for number in found.styles}
    weights = {number: name.removesuffix(".weight") for number, name in names.items() if not name.endswith("bias")}
    return {NUMBER_IN_PATH.sub("*", name): found.styles[number] for number, name in weights.items()}


def _machines(planned: Plan) -> Mapping[str, Any] | None:
    machines = planned.machines
    if machines is None:
        return None
    return {
        "device": machines.hardware.name,
        "node": machines.node,
        "link": machines.link.name if machines.link else None,
        "link_source": machines.link.source if machines.link else None,
        "network": machines.network.name,
        "network_source": machines.network.source,
        "budget_bytes": planned.budget.bytes if planned.budget else None,
    }


def _totals(row: Planned | None) -> dict[str, Any]:
    lines: Mapping[str, int] = row.bill.lines if row and row.bill else dict.fromkeys(LINES, 0)
    sent = row.traffic.by_collective if row and row.traffic else dict.fromkeys(COLLECTIVES, 0)
    return {
        "rank_peak_bytes": sum(lines.values()),
        **{f"{line}_bytes": lines[line] for line in LINES},
        "communication_bytes": dict(sent),
        "bound_seconds": row.bound.seconds if row and row.bound else None,
        "bubble_share": row.bubble if row else 0.0,
    }


def _row(row: Planned, fits: bool) -> dict[str, Any]:
    layout = row.layout
    return {
        "layout": layout.words,
        "tp": layout.tp,
        "pp": layout.pp,
        "dp": layout.dp,
        "ep": layout.ep,
        "zero": layout.zero,
        "sp": layout.sp,
        "interleave": layout.chunks,
        "schedule": layout.schedule,
        "microbatches": row.microbatches,
        "samples": row.samples,
        "fits": fits,
        "reason": row.reason,
        **_totals(row if row.bill else None),
        "bubble_share": row.bubble,
        "binds": row.bound.by if row.bound else None,
        "stage": row.bill.stage if row.bill else None,
        "phase": row.bill.phase if row.bill else None,
    }


TOTALS = (
    "rank_peak_bytes", *(f"{line}_bytes" for line in LINES), "communication_bytes", "bound_seconds", "bubble_share",
)  # fmt: skip
PROMISE = Promise(
    "plan",
    TOTALS,
    ("layout", "tp", "pp", "dp", "ep", "zero", "sp", "interleave", "microbatches", "fits", "reason", *TOTALS),
    (*MODEL, "verdict", "gpus", "units"),
)
"""The keys that its JSON always has."""
