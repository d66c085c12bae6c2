"""Why a layer has the figures it has: its formula in letters, the formula with its numbers, and what comes out.

A formula is shown only where it gives the figures that were counted; any other layer is told op by op.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod

from archcalc.analyses.explain.formula_templates import in_letters, in_numbers, value
from archcalc.analyses.explain.layer_kind import Kind, Reading, Seen
from archcalc.analyses.explain.layer_kinds import BY_TYPE, KINDS
from archcalc.analyses.report import Layer, Report
from archcalc.ops.names import base_name
from archcalc.ops.registry import known, macs_of, operations_of
from archcalc.ops.shape_reasons import why
from archcalc.text.faces import Shown
from archcalc.text.spelling import normal
from archcalc.text.units import shape
from archcalc.tracing import Call, Trace, element_size


@dataclass(frozen=True)
class Line:
    """One figure: in letters, in numbers, and its value (a shape where the figure is the output)."""

    figure: str
    letters: str
    numbers: str
    value: int | str


@dataclass(frozen=True)
class Part:
    """The layers of one type in a larger module: how many, their formulas in letters, what they sum up to."""

    type: str
    layers: int
    params_formula: str
    macs_formula: str
    params: int
    macs: int


@dataclass(frozen=True, repr=False)
class Explanation(Shown):
    """A layer with its formulas: `lines` with their numbers, or `parts`, what a larger module is made of."""

    report: Report
    layer: Layer
    lines: Sequence[Line]
    parts: Sequence[Part]

    def __repr__(self) -> str:
        """One line."""
        return f"<Explanation of {self.layer.path or 'the model'}: {self.layer.type}>"


def explained(report: Report, layer: Layer) -> Explanation:
    """The explanation of one layer of a report that has parameters and MACs."""
    layer = unwrapped(layer)
    larger = kind_of(report, layer) is None and bool(layer.children)
    return Explanation(report, layer, [] if larger else lines(report, layer), parts(report, layer) if larger else [])


def kind_named(name: str) -> Kind | None:
    """The kind of that name; case, '-' and '_' do not matter, and a class name such as Conv2d will do."""
    wanted = normal(name)
    return next((kind for kind in KINDS if wanted in map(normal, (kind.name, *kind.types))), None)


def letters(kind: Kind) -> list[Line]:
    """The formulas of a kind without numbers."""
    return [Line(figure, _shown(template), "", "") for figure, template in kind.formulas]


def _shown(template: str) -> str:
    return in_letters(template).replace("×", " x ")


def lines(report: Report, layer: Layer) -> list[Line]:
    """The formulas of one call of a layer with its numbers; op by op where its kind has none that fits."""
    seen = _seen(report.trace, layer)
    if seen is None:
        return []
    formulas = _by_kind(report, layer, seen)
    if formulas is None:
        formulas = [*_held(report.trace, layer), *(_line(report.trace, call) for call in seen.ops if call.outputs)]
    return [*formulas, *_bytes(seen)]


def _held(trace: Trace, layer: Layer) -> Iterator[Line]:
    """The parameters and buffers of a layer without a formula of its own: by their names, then by their sizes."""
    prefix = f"{layer.path}." if layer.path else ""
    for kind, figure in (("parameter", "params"), ("buffer", "buffers")):
        held = [p for p in trace.parameters if p.kind == kind and p.names[0].startswith(prefix)]
        shapes = [trace.shape(p.tensor) for p in held]
        if held:
            letters_ = " + ".join(p.names[0].removeprefix(prefix) for p in held)
            numbers = " + ".join(" · ".join(map(str, sizes)) or "1" for sizes in shapes)
            yield Line(figure, letters_, numbers, sum(map(prod, shapes)))


def kind_of(report: Report, layer: Layer) -> Kind | None:
    """The layer's kind, where its formulas give what was counted."""
    seen = _seen(report.trace, layer)
    return BY_TYPE[layer.type] if seen is not None and _by_kind(report, layer, seen) is not None else None


def unwrapped(layer: Layer) -> Layer:
    """The one layer inside a layer that does nothing itself; any other layer as it is."""
    while len(layer.children) == 1 and layer.type not in BY_TYPE and not any(layer.own.values()):
        layer = layer.children[0]
    return layer


def parts(report: Report, layer: Layer) -> list[Part]:
    """The layers inside a larger module by type; they add up to it."""
    by_type: dict[str, Part] = {}
    for type_, kind, params, macs in _pieces(report, layer):
        before = by_type.get(type_, Part(type_, 0, _formula(kind, "params"), _formula(kind, "MACs"), 0, 0))
        by_type[type_] = Part(
            type_, before.layers + 1, before.params_formula, before.macs_formula,
            before.params + params, before.macs + macs,
        )  # fmt: skip
    return sorted(by_type.values(), key=lambda part: (-part.macs, -part.params))


def _pieces(report: Report, layer: Layer) -> Iterator[tuple[str, Kind | None, int, int]]:
    """The layers of a module: those with formulas whole; all others as their own ops, followed by their children."""
    waiting = [layer]
    while waiting:
        layer = waiting.pop()
        kind = BY_TYPE.get(layer.type)
        if kind and (not layer.children or kind_of(report, layer)):
            yield layer.type, kind, layer.total["params"], layer.total["macs"]
            continue
        if not layer.children or layer.own["params"] or layer.own["macs"]:
            yield layer.type, None, layer.own["params"], layer.own["macs"]
        waiting += reversed(layer.children)


def _formula(kind: Kind | None, figure: str) -> str:
    return _shown(dict(kind.formulas).get(figure, "")) if kind else ""


def _seen(trace: Trace, layer: Layer) -> Seen | None:
    """The first call of a layer that was called."""
    call = next((c for c in trace.module_calls if trace.modules[c.module].path == layer.path), None)
    if call is None:
        return None
    prefix = f"{layer.path}." if layer.path else ""
    shapes = {
        name.removeprefix(prefix): trace.shape(parameter.tensor)
        for parameter in trace.parameters
        for name in parameter.names
        if name.startswith(prefix)
    }
    return Seen(trace, layer.path, call, shapes)


def _by_kind(report: Report, layer: Layer, seen: Seen) -> list[Line] | None:
    """The lines of the layer's kind; None where it has no kind, or a formula does not give what was counted."""
    kind = BY_TYPE.get(layer.type)
    if kind is None:
        return None
    try:
        reading = kind.read(seen)
        filled = [_filled(figure, template, reading) for figure, template in kind.formulas]
    except (ArithmeticError, LookupError, TypeError, ValueError):
        return None
    made = [line for line in filled if line is not None]
    if not _true(made, layer, seen, reading):
        return None
    worked = sum(operations_of(seen.trace, call) or 0 for call in seen.ops)
    if any(line.figure == "elementwise" and line.value != worked for line in made):  # more is done than the kind knows
        calls = [_line(seen.trace, call) for call in seen.ops if operations_of(seen.trace, call)]
        made = [*(line for line in made if line.figure != "elementwise"), *calls]
    return _without_twins(made)


def _filled(figure: str, template: str, reading: Reading) -> Line | None:
    """A formula with its numbers; None where none of it applies."""
    numbers, conditions = reading
    if "ceil" in conditions:
        template = template.replace("⌊", "⌈").replace("⌋", "⌉")
    text = in_numbers(template, numbers, conditions).removeprefix("+ ")
    if not text:
        return None
    if "×" in text:
        return Line(figure, _shown(template), text.replace("×", " x "), text.replace("×", "x"))
    return Line(figure, _shown(template), text, value(text))


def _true(made: list[Line], layer: Layer, seen: Seen, reading: Reading) -> bool:
    """Whether every line but that of elementwise work gives what was counted, and all that was counted has a line."""
    values = {line.figure: line.value for line in made}
    counted = {
        "params": layer.total["params"],
        "MACs": sum(macs_of(seen.trace, call) or 0 for call in seen.ops),
        "buffers": layer.total["buffers"],
    }
    read = [figure for figure in values if figure.endswith("'") or figure == "statistics"]
    axes = all(values[figure] == reading[0].get(figure, values[figure]) for figure in read)
    return (
        axes
        and all(values.get(figure, 0) == number for figure, number in counted.items())
        and values.get("output", shape(seen.output)) == shape(seen.output)
    )


def _without_twins(made: list[Line]) -> list[Line]:
    """One line for H' and W' where they are the same sum."""
    kept: list[Line] = []
    for line in made:
        twin = kept and kept[-1].figure.endswith("'") and line.figure.endswith("'") and kept[-1].numbers == line.numbers
        if twin:
            kept[-1] = replace(kept[-1], figure=f"{kept[-1].figure}, {line.figure}")
        else:
            kept.append(line)
    return kept


def _line(trace: Trace, call: Call) -> Line:
    """One op of a layer without a formula of its own."""
    name = base_name(call.op) or call.op
    shapes = ", ".join(shape(trace.shape(tensor)) for tensor in call.tensors())
    numbers = f"{shapes} -> {shape(trace.shape(call.outputs[0]))}"
    contracted, entry = macs_of(trace, call), known(call.op)
    if contracted is not None and entry is not None:
        rule = (entry.formula.__doc__ or "").splitlines()[0]
        return Line(f"{name}, MACs", rule, numbers, contracted)
    worked = operations_of(trace, call)
    return Line(name, why(trace, call), numbers, "no rule" if worked is None else worked)


def _bytes(seen: Seen) -> list[Line]:
    """The bytes of the output, of one call."""
    made: list[Line] = []
    for tensor in seen.call.outputs[:1]:
        output = seen.trace.tensors[tensor]
        elements, bytes_ = " · ".join(map(str, output.shape)) or "1", element_size(output.dtype)
        letters_ = f"elements of the output · {bytes_} bytes ({output.dtype})"
        made.append(Line("output bytes", letters_, f"{elements} · {bytes_}", prod(output.shape) * bytes_))
    return made
