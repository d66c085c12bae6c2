"""Explanations as documents: a layer's formulas with its numbers, the parts of a larger module, a kind by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from archcalc.analyses.counting_words import OURS
from archcalc.analyses.explain import lines as explain
from archcalc.analyses.explain.layer_kind import Kind
from archcalc.analyses.explain.lines import Line
from archcalc.analyses.report import Layer, Report
from archcalc.render.around import envelope, head
from archcalc.render.document import EXACT, GROUP, NAME, NUMBER, SI, TEXT, Column, Document, Table
from archcalc.render.promise import Promise
from archcalc.render.typed import as_typed, next_commands
from archcalc.text import units

CONVENTION = (f"convention: {OURS}",)


def explanation(report: Report, layer: Layer) -> Document:
    """One layer: each figure in letters, then in numbers; or, where it is made of others, what they are."""
    layer = explain.unwrapped(layer)
    kind = explain.kind_of(report, layer)
    if kind is None and layer.children:
        return _contents(report, layer)
    lines = explain.lines(report, layer)
    where = layer.path or "the model"
    shapes = f"{_shapes(layer.input_shapes)} -> {_shapes(layer.output_shapes)}" if layer.calls else "never called"
    title = f"{where}: {layer.type}({layer.extra})" if layer.extra else f"{where}: {layer.type}"
    lines_above = [title, f"{shapes}{_times(layer)}"]
    lines_above += [f"letters: {kind.letters}", *([kind.says] if kind.says else [])] if kind else []
    totals = {"params": layer.total["params"], "macs": layer.total["macs"]}
    foot = [
        *(_all_calls(layer) if layer.calls > 1 else []),
        *([f"next: {' · '.join(commands)}"] if (commands := _next(report, layer, kind)) else []),
    ]
    records = [{"path": layer.path, "type": layer.type, **_record(line)} for line in lines]
    around = {**envelope(report, totals), "kind": kind.name if kind else None}
    verdict = f"{where}: {_figures(totals)}"
    return Document(
        "explain",
        [verdict, head(report)[0], "", *lines_above],
        [_stacked(lines)],
        foot,
        around,
        records,
        recurring=CONVENTION,
    )


def _contents(report: Report, layer: Layer) -> Document:
    """The types of layer in a module, which add up to it."""
    parts = explain.parts(report, layer)
    rows = [
        {
            "type": part.type,
            "layers": part.layers,
            "params_formula": part.params_formula,
            "params": part.params,
            "macs_formula": part.macs_formula,
            "macs": part.macs,
        }
        for part in parts
    ]
    totals = {"params": layer.total["params"], "macs": layer.total["macs"]}
    columns = [
        Column("type", "type", NAME),
        Column("layers", "layers", NUMBER),
        Column("params_formula", "parameters of one", TEXT),
        Column("params", "params", EXACT),
        Column("macs_formula", "MACs of one call", TEXT),
        Column("macs", "MACs", SI),
    ]
    table = Table(columns, rows, {"type": "total", **totals})
    inside = [child for child in layer.walk() if child.path != layer.path and child.calls]
    example = next(
        (child for child in inside if not child.children and child.total["params"]), inside[0] if inside else None
    )
    path = f" {example.path}" if example else ""
    foot = [
        *next_commands(report, f"explain{path}", "summary --depth 2"),
    ]
    where = layer.path or "the model"
    verdict = f"{where}: {_figures(totals)}"
    lines_above = [verdict, head(report)[0], "", f"{where}: {layer.type}, {len(inside)} modules inside"]
    return Document("explain", lines_above, [table], foot, envelope(report, totals), recurring=CONVENTION)


def _figures(totals: dict[str, int]) -> str:
    return f"{units.exact(totals['params'])} parameters · {units.exact(totals['macs'])} MACs"


def kind_page(kind: Kind) -> Document:
    """The formulas of a kind in letters, without a network."""
    lines = explain.letters(kind)
    rows = [{"figure": _WORDS.get(line.figure, line.figure), "formula": line.letters} for line in lines]
    table = Table([Column("figure", "figure", GROUP), Column("formula", "formula", TEXT)], rows)
    told = next((line for line in lines if line.figure == "MACs"), lines[0])
    verdict = f"{kind.name}: {_WORDS.get(told.figure, told.figure)} = {told.letters}"
    title = [verdict, "", f"torch: {', '.join(kind.types)}", f"letters: {kind.letters}"]
    foot = [f"next: archcalc explain {_EXAMPLES.get(kind.name, 'resnet-18')}"]
    records = [{"kind": kind.name, "figure": line.figure, "formula": line.letters} for line in lines]
    around = {"kind": kind.name, "totals": {}, "notes": []}
    return Document(
        "explain", [*title, *([kind.says] if kind.says else [])], [table], foot, around, records, recurring=CONVENTION
    )


_EXAMPLES = {
    "conv2d": "resnet-18 layer2.0.conv1",
    "linear": "resnet-18 fc",
    "max-pool2d": "resnet-18 maxpool",
    "avg-pool2d": "densenet transition1.pool",
    "embedding": "gpt2 words",
}
"""An example layer for some kinds."""
_WORDS = {"statistics": "pairs of mean and variance", "params": "parameters", "elementwise": "elementwise operations"}


def _stacked(lines: Sequence[Line]) -> Table:
    """Each figure in two lines, letters above numbers; in one, if it has no letters."""
    rows: list[dict[str, Any]] = []
    for line in lines:
        figure = _WORDS.get(line.figure, line.figure)
        value = units.exact(line.value) if isinstance(line.value, int) else line.value
        if line.letters:
            rows.append({"figure": figure, "formula": line.letters, "value": None})
        rows.append({"figure": figure, "formula": f"= {line.numbers}", "value": value})
    columns = [Column("figure", "figure", GROUP), Column("formula", "formula", TEXT), Column("value", "value", NUMBER)]
    return Table(columns, rows)


def _record(line: Line) -> dict[str, Any]:
    return {"figure": line.figure, "formula": line.letters, "numbers": line.numbers, "value": line.value}


def _shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(map(units.shape, shapes)) or "nothing"


def _times(layer: Layer) -> str:
    return f", called {layer.calls} times; the figures are those of the first call" if layer.calls > 1 else ""


def _all_calls(layer: Layer) -> list[str]:
    return [f"all {layer.calls} calls: {units.exact(layer.total['macs'])} MACs, with the same parameters"]


def _next(report: Report, layer: Layer, kind: Kind | None) -> list[str]:
    if report.trace.model.source == "module":
        return []
    typed = as_typed(report.trace)
    above = layer.path.rpartition(".")[0]
    commands = [f"archcalc explain {typed}{' ' + above if above else ''}"] if layer.path else []
    if kind and layer.path and report.trace.model.name != kind.name:
        commands.append(f"archcalc explain {kind.name}")
    return [*commands, f"archcalc shapes {typed}"]


PROMISE = Promise("explain")
"""The keys that its JSON always has."""
