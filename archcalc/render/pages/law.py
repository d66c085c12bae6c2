"""Laws as a table: the formula in letters, its big O, where it holds and where it was checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from archcalc.analyses.metrics import metric_named
from archcalc.render import plots
from archcalc.render.around import envelope, head
from archcalc.render.assumed import step_words
from archcalc.render.document import EXACT, NAME, TEX, TEXT, Column, Document, Table
from archcalc.render.formulas import as_latex, as_sympy, as_written, big_o, inequality, letters, numbers
from archcalc.render.promise import MODEL, Promise
from archcalc.render.typed import next_commands
from archcalc.studies.law.crossing import Crossing
from archcalc.studies.law.interpolation import Law, Piece, passes
from archcalc.studies.law.law import Laws, Measured
from archcalc.studies.law.polynomials import Formula, leading
from archcalc.text import units


def laws(result: Laws, *, latex: bool = False) -> Document:
    """The laws of a model over its knobs; figures without a law are in the notes."""
    laws_, over = result.laws, result.knobs
    step = step_words(result.members.setup, str(result.report.trace.assumptions["dtype"]))
    written = "latex" if latex else "law"
    columns = [
        Column("words", "figure", TEXT),
        Column(written, "law", TEX if latex else TEXT),
        Column("big_o", "grows as", TEXT),
        Column("holds", "holds for", TEXT),
        Column("checked", "checked at", TEXT),
    ]
    rows = [_row(law, over) for law in laws_]
    shown = [line for law, row in zip(laws_, rows, strict=True) for line in _lines(law, row, over)]
    notes = [f"{metric_named(refused.figure).words}: no law: {refused.reason}" for refused in result.refused]
    foot = [
        *_letters(over),
        *([f"training step: {step}"] if any(metric_named(law.figure).trains for law in laws_) else []),
        *_dominant(laws_, over, result.by_type),
        *(["a law of several formulas is the highest of them; --json has the inequalities"] if _hidden(laws_) else []),
        "exact for the listed values; checked on members that were not used to find the formula",
        *next_commands(result.report, "summary"),
    ]
    around = envelope(result.report, {"laws": len(laws_), "refused": len(result.refused)})
    around["notes"] = [*around["notes"], *notes]
    tables = [Table(columns, shown), *_measured(result.measured, laws_, over)]
    around["assumptions"] = {**around["assumptions"], "training_step": step}
    around["measured"] = [{**dict(zip(over, point, strict=True)), **figures} for point, figures in result.measured]
    records = [{key: row[key] for key in MACHINE} for row in rows]
    verdict = _in_short(laws_, rows, result, over)
    return Document("law", [verdict, *head(result.report), *notes], tables, foot, around, records)


def _in_short(laws_: Sequence[Law], rows: Sequence[Mapping[str, Any]], result: Laws, over: Sequence[str]) -> str:
    """How each figure grows; the formula itself, if there is one law of one piece."""
    if len(laws_) == 1 and len(laws_[0].pieces) == 1:
        return f"{rows[0]['words']} = {as_written(laws_[0].formula, over)}"
    grows = [f"{row['words'].removesuffix(' (bytes)')} {row['big_o']}" for row in rows]
    refused = units.plural(len(result.refused), "figure") if result.refused else ""
    return " · ".join([*grows, *([f"no law for {refused}"] if refused else [])])


def crossed(document: Document, result: Laws, crossing: Crossing) -> Document:
    """The laws with the lines that say where the first figure is more than the second."""
    first, second = (metric_named(name).words for name in (crossing.first, crossing.second))
    lines = list(_where(crossing, first, second, result.knobs))
    if crossing.element_bytes:
        lines.append(f"elements and parameters at {crossing.element_bytes} bytes")
    keys = ("first", "second")
    told: dict[str, Any] = {key: getattr(crossing, key) for key in keys}
    told["more_where"] = _inequality(crossing, result.knobs) if len(result.over) > 1 else None
    told["stretches"] = [{"more": getattr(crossing, keys[not s.first_is_more]), "from": s.start, "to": s.end}
                         for s in crossing.stretches]  # fmt: skip
    return replace(document, foot=[*lines, "", *document.foot], envelope={**document.envelope, "cross": told})


def _inequality(crossing: Crossing, knobs: Sequence[str]) -> str:
    return f"{as_sympy(crossing.more, knobs)} > {as_sympy(crossing.less, knobs)}"


def _where(crossing: Crossing, first: str, second: str, over: Sequence[str]) -> Iterator[str]:
    """The crossing in words."""
    names = list(letters(over).values())
    if len(over) > 1 and crossing.more and crossing.less:
        written = f"{as_written(crossing.more, over)} > {as_written(crossing.less, over)}"
        yield f"{first} are more than {second} where {written}"
    elif len(over) > 1:
        equal = not crossing.more and not crossing.less
        side = (first, second) if crossing.more else (second, first)
        yield f"{first} and {second} are equal everywhere" if equal else f"{side[0]} are more than {side[1]} everywhere"
    for number, stretch in enumerate(crossing.stretches):
        more, less = (first, second) if stretch.first_is_more else (second, first)
        until = "" if stretch.end is None else f" to {stretch.end:,}"
        alone = len(crossing.stretches) == 1
        where = "at every value" if alone else f"from {names[0]} = {stretch.start:,}{until or ' on'}"
        yield f"{more} {'pass' if number else 'are more than'} {less} {where}"


def drawn(document: Document, result: Laws, picture: str) -> Document:
    """The first law's curve: above the notes in characters, or as a picture in a format."""
    law, knob = result.laws[0], result.knobs[0]
    metric, letter = metric_named(law.figure), letters([knob])[knob]
    several = f"the highest of {len(law.pieces)} formulas"
    formula = as_written(law.formula, [knob]) if len(law.pieces) == 1 else several
    title = f"{result.report.trace.model.name}: {formula}"
    x = letter if letter == knob else f"{letter} = {knob}"
    y = metric.words if metric.unit in metric.words else f"{metric.words}, {metric.unit}"
    curve = plots.Curve(title, x, y, result.points(), lambda at: _at(law, at))
    if picture:
        return replace(document, picture=plots.as_picture(curve, picture))
    return replace(document, foot=[*plots.as_text(curve), "", *document.foot])


def _at(law: Law, number: float) -> float:
    """A law's value between members."""
    return max(
        sum(float(coefficient) * number ** powers[0] for powers, coefficient in piece.formula.items())
        for piece in law.pieces
    )


def _letters(over: Sequence[str]) -> list[str]:
    """The line that explains letters which are not the knob's own name."""
    named = [f"{letter} = {knob}" for knob, letter in letters(over).items() if letter != knob]
    return [f"letters: {', '.join(named)}"] if named else []


MACHINE = ("figure", "unit", "expression", "latex", "pieces", "big_o", "big_o_in", "lattice", "checked_at")
MOST_BOUNDS = 2
"""Inequalities of a piece that are printed; where there are more, only JSON has them."""


def _row(law: Law, over: Sequence[str]) -> dict[str, Any]:
    metric, names = metric_named(law.figure), list(letters(over).values())
    farthest = numbers(law.farthest, over)
    others = len(law.checked_at) - 1
    pieces = [_piece(piece, over) for piece in law.pieces]
    return {
        "figure": metric.name,
        "words": f"{metric.words}{' (bytes)' if metric.unit == 'bytes' and 'bytes' not in metric.words else ''}",
        "unit": metric.unit,
        "expression": _highest("Max({})", [piece["expression"] for piece in pieces]),
        "latex": _highest(r"\max\left({}\right)", [piece["latex"] for piece in pieces]),
        "pieces": pieces,
        "big_o": big_o(law.leading, names),
        "big_o_in": {knob: _alone(law, axis, names[axis]) for axis, knob in enumerate(over)},
        "holds": "; ".join(lattice.text(name) for lattice, name in zip(law.lattice, names, strict=True)),
        "checked": f"{farthest} and {others} more" if others else farthest,
        "lattice": {
            lattice.knob: {"start": lattice.start, "step": lattice.step or None, "until": lattice.until}
            for lattice in law.lattice
        },
        "checked_at": [dict(zip(over, point, strict=True)) for point in law.checked_at],
    }


def _highest(form: str, formulas: Sequence[str]) -> str:
    return formulas[0] if len(formulas) == 1 else form.format(", ".join(formulas))


def _piece(piece: Piece, over: Sequence[str]) -> dict[str, Any]:
    """A piece for machines; `where` are the inequalities that all have to hold, none if it is the whole law."""
    ends = [("", ">=", piece.first), ("", "<=", piece.last)]
    where = [f"{over[0]} {sign} {number}" for _, sign, number in ends if number is not None]
    for bound in piece.bounds:
        more, less = inequality(piece.formula, bound)
        where.append(f"{as_sympy(more, over)} >= {as_sympy(less, over)}")
    return {"expression": as_sympy(piece.formula, over), "latex": as_latex(piece.formula, over), "where": where}


def _lines(law: Law, row: Mapping[str, Any], over: Sequence[str]) -> list[dict[str, Any]]:
    """A law as printed: one line, or one for each piece; in several knobs the domain of all stands above them."""
    formulas = [
        {"law": as_written(piece.formula, over), "latex": as_latex(piece.formula, over)} for piece in law.pieces
    ]
    if len(formulas) == 1:
        return [{**row, **formulas[0]}]
    if len(over) == 1:
        parts = [law.lattice[0].from_to(piece.first or law.lattice[0].start, piece.last) for piece in law.pieces]
        lines = [
            {**formula, "holds": part.text(letters(over)[over[0]])}
            for formula, part in zip(formulas, parts, strict=True)
        ]
        return [{**row, **lines[0]}, *lines[1:]]
    lines = []
    for formula, piece in zip(formulas, law.pieces, strict=True):
        bounds = [_bound_words(piece.formula, bound, over) for bound in piece.bounds]
        words = [f"{'and' if number else 'if'} {bound}" for number, bound in enumerate(bounds)]
        example = (
            f"the highest at {numbers(piece.example, over)}"
            if piece.example
            else "the highest at no member that was looked at"
        )
        shown = words if len(words) <= MOST_BOUNDS else [example]
        lines += [{**formula, "holds": shown[0]}, *({"holds": more} for more in shown[1:])]
    return [{**row, "law": "the highest of", "latex": r"\text{the highest of}"}, *lines]


def _bound_words(higher: Formula, lower: Formula, over: Sequence[str]) -> str:
    more, less = inequality(higher, lower)
    return f"{as_written(more, over)} ≥ {as_written(less, over)}"


def _hidden(laws_: Sequence[Law]) -> bool:
    """Whether a piece has more inequalities than are printed."""
    return any(len(piece.bounds) > MOST_BOUNDS for law in laws_ for piece in law.pieces)


def _alone(law: Law, axis: int, name: str) -> str:
    """The big O in one knob, with all others fixed."""
    powers: Formula = {(powers_[axis],): Fraction(1) for powers_ in law.powers}
    return big_o(leading(powers), [name])


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
    columns = [Column(f"knob:{knob}", letter, EXACT) for knob, letter in letters(over).items()]
    for law in laws_:
        words = metric_named(law.figure).words
        columns += [Column(law.figure, words, EXACT), Column(f"law:{law.figure}", "by the law", NAME)]
    rows = []
    for point, figures in measured:
        row: dict[str, Any] = {f"knob:{knob}": number for knob, number in zip(over, point, strict=True)} | {**figures}
        for law in laws_:
            row[f"law:{law.figure}"] = _verdict(law.value(point), figures[law.figure])
        rows.append(row)
    return [Table(columns, rows)]


def _verdict(by_law: Fraction, measured: int) -> str:
    """'=' where the law gives the measured value, else what it gives: the member is not in its domain."""
    if by_law == measured:
        return "="
    return units.exact(int(by_law)) if by_law.denominator == 1 else f"{float(by_law):,.1f}"


PROMISE = Promise("law", ("laws", "refused"), MACHINE, (*MODEL, "measured"))
"""The keys that its JSON always has."""
