"""The answer of `compare`: models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from archcalc.analyses.counting_words import OURS
from archcalc.analyses.flops import Contractions
from archcalc.analyses.report import Report
from archcalc.analyses.weights import types_in_words
from archcalc.render.around import envelope, figures_in_short, head
from archcalc.render.assumed import words
from archcalc.render.columns import MACS_COLUMN, PARAMETERS_COLUMN
from archcalc.render.document import BYTES, EXACT, NAME, SI, TIME, Column, Document, Table
from archcalc.render.promise import Promise
from archcalc.render.typed import next_commands
from archcalc.studies.compare import SideBySide
from archcalc.text.spelling import setting


def compare(compared: SideBySide, relative: bool = False) -> Document:
    """Models side by side: one row a model for machines, one column a model for people.

    With `relative` a figure of every model but the first is followed by how many times that of the first it is.
    """
    reports, names = compared.reports, compared.names
    rows = [{"model": name, **_compared(report)} for name, report in zip(names, reports, strict=True)]
    for device, seconds in compared.times.items():
        rows = [{**row, f"time_on:{device}": time} for row, time in zip(rows, seconds, strict=True)]
    training = bool(reports[0].trace.steps)
    run = "training step" if training else "forward pass"
    columns = [
        Column("model", "figure", NAME),
        PARAMETERS_COLUMN,
        MACS_COLUMN,
        Column("flops", "FLOPs (2 x MACs)", SI),
        Column("elementwise_flops", "elementwise operations", SI),
        Column("params_bytes", "bytes of parameters", BYTES),
        *([Column("saved_total_bytes", "kept for backward", BYTES)] if training else []),
        Column("peak_bytes", f"peak of a {run}", BYTES),
        Column("traffic_bytes", f"traffic of a {run}", BYTES),
        *(Column(f"time_on:{device}", f"time bound on {device}", TIME) for device in compared.times),
        Column("macs_per_param", "MACs per parameter", EXACT),
        Column("contractions", "convolutions and matmuls", EXACT),
    ]
    smaller = [column.key for column in columns[1:] if column.key not in ("macs_per_param", "contractions")]
    stars = frozenset(star for column in smaller for star in _stars(rows, column))
    shown: Sequence[Mapping[str, Any]] = rows
    if relative:
        rows = [{**row, **_ratios(row, rows[0], columns)} for row in rows]
        shown = [rows[0], *(part for row in rows[1:] for part in (row, _in_words(row, rows[0], columns)))]
        stars = frozenset((max(0, 2 * number - 1), key) for number, key in stars)
    inputs = [head(report)[0].split(" · input ")[1] for report in reports]
    lines = [f"input of {name}: {given}" for name, given in zip(names, inputs, strict=True)]
    title = [_verdict(rows) if len(rows) > 1 else figures_in_short(reports[0])]
    legend = ["★ smallest"] if stars else []
    title += [" · ".join([f"input {inputs[0]}", *legend])] if len(set(inputs)) == 1 else [*legend, *lines]
    notes = list(dict.fromkeys(note for report in reports for note in report.notes))
    foot = [*_step(reports[0]), *_twice(reports), *next_commands(reports[0], "summary")]
    around = {
        "models": [envelope(report, {})["model"] for report in reports],
        "inputs": [envelope(report, {})["inputs"] for report in reports],
        "assumptions": dict(reports[0].trace.assumptions),
        "totals": {},
        "notes": notes,
    }
    table = Table(columns, shown, stars=stars, transposed=True)
    recurring = [f"convention: {OURS}"]
    return Document("compare", [*title, *notes], [table], foot, around, rows, recurring=recurring)


SAID = {"params": "fewest parameters", "macs": "fewest MACs", "peak_bytes": "lowest peak"}
"""The figures of which the verdict names the smallest, and its words."""


def _verdict(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which model has least of each main figure."""
    smallest: dict[str, list[str]] = {}
    for key, words_ in SAID.items():
        stars = _stars(rows, key)
        if stars:
            smallest.setdefault(" and ".join(str(rows[number]["model"]) for number, _ in stars), []).append(words_)
    if not smallest:
        return "equal in parameters, MACs and peak"
    return " · ".join(f"{model}: {', '.join(least)}" for model, least in smallest.items())


def _ratios(row: Mapping[str, Any], first: Mapping[str, Any], columns: Sequence[Column]) -> dict[str, float | None]:
    """How many times the first model's each figure is; None where there is nothing to compare with."""
    keys = [column.key for column in columns[1:]]
    return {f"{key}_ratio": row[key] / first[key] if row[key] is not None and first[key] else None for key in keys}


def _in_words(row: Mapping[str, Any], first: Mapping[str, Any], columns: Sequence[Column]) -> dict[str, Any]:
    """The column of ratios beside a model's own, as text."""
    words = {column.key: times(row[column.key], first[column.key]) for column in columns[1:]}
    return {"model": f"to {first['model']}", **words}


def times(figure: float | None, first: float | None) -> str:
    """A figure against the first model's, in words; '' where one of them is missing or 0.

    >>> times(714, 37), times(37, 714), times(5, 5), times(1, 0)
    ('19.3x more', '19.3x less', '=', '')
    """
    if not figure or not first:
        return "=" if figure == first == 0 else ""
    if figure == first:
        return "="
    ratio = max(figure, first) / min(figure, first)
    digits = 0 if ratio >= 100 else 1 if ratio >= 10 else 2
    return f"{ratio:,.{digits}f}x {'more' if figure > first else 'less'}"


def _twice(reports: Sequence[Report]) -> list[str]:
    """What to type for one network at two settings, where a setting was given to both."""
    models = [report.trace.model for report in reports]
    twice = next((model for place, model in enumerate(models) if model in models[:place] and model.settings), None)
    if twice is None:
        return []
    knob, value = next(iter(twice.settings.items()))
    one = (
        f"{twice.reference}({knob}={value!r})" if twice.source == "python" else f"{twice.name}[{knob}={setting(value)}]"
    )
    return [f"--set applies to every model; for one of them write  '{one}'"]


def _step(report: Report) -> list[str]:
    """The line that states the settings of a training step."""
    assumptions = report.trace.assumptions
    if not report.trace.steps:
        return []
    named = {key: assumptions.get(key) for key in ("optimizer", "weight_decay", "loss")} | {"attention": "unfused"}
    named |= {"dtype": types_in_words(report.trace)}
    return [f"training step: {', '.join(words(named))}"]


def _stars(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[int, str]]:
    """The smallest of a column; none where all are equal."""
    smallest, largest = min(row[key] for row in rows), max(row[key] for row in rows)
    return [(n, key) for n, row in enumerate(rows) if row[key] == smallest] if smallest < largest else []


def _compared(report: Report) -> dict[str, Any]:
    totals = report.totals
    keys = (
        "params",
        "macs",
        "flops",
        "elementwise_flops",
        "params_bytes",
        "saved_total_bytes",
        "peak_bytes",
        "traffic_bytes",
    )
    calls = report.record(Contractions).calls
    ratio = round(totals["macs"] / totals["params"]) if totals["params"] else None
    figures = {key: totals[key] for key in keys}
    return {**figures, "macs_per_param": ratio, "contractions": calls}


PROMISE = Promise(
    "compare", (), ("model", "params", "macs", "flops", "params_bytes", "peak_bytes", "traffic_bytes"),
    ("models", "inputs"),
)  # fmt: skip
"""The keys that its JSON always has."""
