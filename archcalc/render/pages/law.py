"""Laws as a table: the formula in letters, its big O, where it holds and where it was checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from archcalc.analyses.metrics import metric_named
from archcalc.render import plots
from archcalc.render.around import envelope, head, next_commands
from archcalc.render.assumed import step_words
from archcalc.render.document import EXACT, NAME, TEX, TEXT, Column, Document, Table
from archcalc.render.formulas import as_latex, as_sympy, as_written, big_o, letters, numbers
from archcalc.render.promise import MODEL, Promise
from archcalc.studies.law.interpolation import Lattice, Law, passes
from archcalc.studies.law.law import Laws, Measured
from archcalc.studies.law.polynomials import Formula, leading, value
from archcalc.text import units


def laws(result: Laws, *, latex: bool = False) -> Document:
    """The laws of a model over its knobs; figures without a law are in the notes."""
    laws_, over, step = result.laws, result.knobs, step_words(result.members.setup)
    written = "latex" if latex else "law"
    columns = [
        Column("words", "figure", TEXT),
        Column(written, "law", TEX if latex else TEXT),
        Column("big_o", "grows as", TEXT),
        Column("holds", "holds for", TEXT),
        Column("checked", "checked at", TEXT),
    ]
    rows = [_row(law, over) for law in laws_]
    notes = [f"{metric_named(refused.figure).words}: no law: {refused.reason}" for refused in result.refused]
    foot = [
        *_letters(over),
        *([f"training step: {step}"] if any(metric_named(law.figure).trains for law in laws_) else []),
        *_dominant(laws_, over, result.by_type),
        "exact for the listed values; checked on members that were not used to find the formula",
        *next_commands(result.report, "summary"),
    ]
    around = envelope(result.report, {"laws": len(laws_), "refused": len(result.refused)})
    around["notes"] = [*around["notes"], *notes]
    tables = [Table(columns, rows), *_measured(result.measured, laws_, over)]
    around["assumptions"] = {**around["assumptions"], "training_step": step}
    around["measured"] = [{over[0]: number, **figures} for number, figures in result.measured]
    records = [{key: row[key] for key in MACHINE} for row in rows]
    return Document("law", [*head(result.report), *notes], tables, foot, around, records)


def drawn(document: Document, result: Laws, suffix: str) -> Document:
    """The first law's curve above the notes, or, with the ending of a file that is a picture, as that picture."""
    law, knob = result.laws[0], result.knobs[0]
    metric, letter = metric_named(law.figure), letters([knob])[knob]
    title = f"{result.report.trace.model.name}: {as_written(law.formula, [knob])}"
    x = letter if letter == knob else f"{letter} = {knob}"
    y = metric.words if metric.unit in metric.words else f"{metric.words}, {metric.unit}"
    curve = plots.Curve(title, x, y, result.points(), lambda at: _at(law, at))
    if suffix:
        return replace(document, picture=plots.as_picture(curve, suffix[1:]))
    return replace(document, foot=[*plots.as_text(curve), "", *document.foot])


def _at(law: Law, number: float) -> float:
    """A law's value between members."""
    return sum(float(coefficient) * number ** powers[0] for powers, coefficient in law.formula.items())


def _letters(over: Sequence[str]) -> list[str]:
    """The line that explains letters which are not the knob's own name."""
    named = [f"{letter} = {knob}" for knob, letter in letters(over).items() if letter != knob]
    return [f"letters: {', '.join(named)}"] if named else []


MACHINE = ("figure", "unit", "expression", "latex", "big_o", "big_o_in", "lattice", "checked_at")


def _row(law: Law, over: Sequence[str]) -> dict[str, Any]:
    metric, names = metric_named(law.figure), list(letters(over).values())
    farthest = numbers(law.farthest, over)
    others = len(law.checked_at) - 1
    return {
        "figure": metric.name,
        "words": f"{metric.words}{' (bytes)' if metric.unit == 'bytes' and 'bytes' not in metric.words else ''}",
        "unit": metric.unit,
        "law": as_written(law.formula, over),
        "expression": as_sympy(law.formula, over),
        "latex": as_latex(law.formula, over),
        "big_o": big_o(law.leading, names),
        "big_o_in": {knob: _alone(law, axis, names[axis]) for axis, knob in enumerate(over)},
        "holds": "; ".join(_lattice_words(lattice, name) for lattice, name in zip(law.lattice, names, strict=True)),
        "checked": f"{farthest} and {others} more" if others else farthest,
        "lattice": {lattice.knob: {"start": lattice.start, "step": lattice.step or None} for lattice in law.lattice},
        "checked_at": [dict(zip(over, point, strict=True)) for point in law.checked_at],
    }


def _alone(law: Law, axis: int, name: str) -> str:
    """The big O in one knob, with all others fixed."""
    powers: Formula = {(powers_[axis],): Fraction(1) for powers_ in law.formula}
    return big_o(leading(powers), [name])


def _lattice_words(lattice: Lattice, name: str) -> str:
    values = ", ".join(map(str, lattice.nodes()[:3]))
    return f"{name} = {values}, ..."


def _dominant(laws_: Sequence[Law], over: Sequence[str], by_type: Mapping[str, Law]) -> list[str]:
    """The value from which the fastest-growing term of the MACs exceeds all others, and the layers it comes from."""
    macs = next((law for law in laws_ if law.figure == "macs"), None)
    if macs is None or len(over) != 1:
        return []
    name = letters(over)[over[0]]
    crossing = passes(macs.formula)
    if crossing is None:
        return []
    power, number = crossing
    kinds = [kind for kind, law in by_type.items() if (power,) in law.formula]
    whose = f" ({', '.join(kinds)})" if kinds else ""
    term = big_o([(power,)], [name])[2:-1]
    return [f"MACs: the term in {term}{whose} passes the rest at {name} = {number:,}"]


def _measured(measured: Measured, laws_: Sequence[Law], over: Sequence[str]) -> list[Table]:
    """Values beside the formula."""
    if not measured:
        return []
    columns = [Column("knob", letters(over)[over[0]], EXACT)]
    for law in laws_:
        words = metric_named(law.figure).words
        columns += [Column(law.figure, words, EXACT), Column(f"law:{law.figure}", "by the law", NAME)]
    rows = []
    for number, figures in measured:
        row: dict[str, Any] = {"knob": number, **figures}
        for law in laws_:
            row[f"law:{law.figure}"] = _verdict(value(law.formula, [number]), figures[law.figure])
        rows.append(row)
    return [Table(columns, rows)]


def _verdict(by_law: Fraction, measured: int) -> str:
    """'=' where the law gives the measured value, else what it gives: the member is off the lattice."""
    if by_law == measured:
        return "="
    return units.exact(int(by_law)) if by_law.denominator == 1 else f"{float(by_law):,.1f}"


PROMISE = Promise("law", ("laws", "refused"), MACHINE, (*MODEL, "measured"))
"""The keys that its JSON always has."""
