"""The figures of a report as the plain data that the page's script reads: layers, live bytes, and what is assumed."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from archcalc.analyses.bound import MOVED
from archcalc.analyses.explain.lines import kind_of, lines
from archcalc.analyses.memory import LiveBytes, made_by, storage_owners
from archcalc.analyses.report import Layer, Report
from archcalc.analyses.shapes import Walk
from archcalc.analyses.steady_pass import steady
from archcalc.render.document import shapes_text
from archcalc.render.roofline import roofline
from archcalc.render.typed import as_typed
from archcalc.studies.speed.speed import OnDevice
from archcalc.text import units
from archcalc.text.visible import visible

FIGURES = {
    "params": ("parameters", "exact"),
    "macs": ("MACs", "si"),
    "elementwise_flops": ("elementwise operations", "si"),
    "traffic_bytes": ("bytes read and written", "bytes"),
    "at_peak_bytes": ("live at the peak", "bytes"),
    "allocated_bytes": ("new tensors of forward", "bytes"),
}
"""The figures of layers that the page can show, each with its words and how it is printed. All of them add up."""
TIME = "bound_fs"
MOST_RULES = 12
"""Rules that a module lists; those of a larger one are counted."""
MOST_FORMULAS = 1000
"""Layers whose formulas are written down; for larger networks the page names `archcalc explain`."""


class Texts:
    """Texts that the data name by number: each is stored once, safe to show."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        """The number of a text."""
        return self.numbers.setdefault(visible(text), len(self.numbers))


def payload(report: Report, on: OnDevice | None = None) -> dict[str, Any]:
    """Layers with their own figures, from which the script makes the totals, and the live bytes of each op call.

    `on` adds the least time of each layer on a device, in femtoseconds, and the roofline.
    """
    texts = Texts()
    layers = list(report.root.walk())
    places = {layer.path: place for place, layer in enumerate(layers)}
    made = {
        "name": visible(report.trace.model.name),
        "figures": [{"key": key, "words": words, "kind": kind} for key, (words, kind) in FIGURES.items()],
        "totals": {key: report.totals[key] for key in FIGURES},
        "lowerBounds": _lower_bounds(report),
        "layers": _layers(report, layers, places, texts),
        "live": _live(report, places, texts),
        "roofline": None,
        "texts": list(texts.numbers),
    }
    if on is not None:
        _add_time(made, on)
    return made


def _add_time(made: dict[str, Any], on: OnDevice) -> None:
    """The figure of time, and the points of the roofline: layer, FLOPs, bytes and femtoseconds of its own ops."""
    layers, picture = list(on.report.root.walk()), roofline(on.typed, on.report)
    own = [layer.own for layer in layers]
    made["figures"].append({"key": TIME, "words": f"time at least on {visible(on.typed)}", "kind": "time"})
    made["totals"][TIME] = on.report.totals[TIME]
    made["layers"]["own"][TIME] = [figures[TIME] for figures in own]
    keys = ("product_flops", MOVED, TIME)
    made["roofline"] = {
        "device": visible(on.typed),
        "peak": picture.peak,
        "bandwidth": picture.bandwidth,
        "points": [[n, *(f[key] for key in keys)] for n, f in enumerate(own) if all(f[key] for key in keys)],
    }


def _lower_bounds(report: Report) -> list[str]:
    """The figures that some op has no rule for."""
    counts = ["macs", "elementwise_flops"] if report.totals["uncounted"] else []
    return [*counts, *(["traffic_bytes"] if report.totals["traffic_unknown"] else [])]


def _layers(report: Report, layers: Sequence[Layer], places: dict[str, int], texts: Texts) -> dict[str, Any]:
    """Columns of the layers in the order of the tree, parents first; texts are numbers of `texts`."""
    modules = report.trace.modules
    parent_of = {m.path: modules[m.parent].path for m in modules if m.parent is not None}
    rules = _rules(report)
    formulas = _formulas(report, layers)
    return {
        "path": [visible(layer.path) for layer in layers],
        "parent": [places[parent_of[layer.path]] if layer.path in parent_of else -1 for layer in layers],
        "type": [texts(layer.type) for layer in layers],
        "extra": [texts(layer.extra) for layer in layers],
        "calls": [layer.calls for layer in layers],
        "input": [texts(_shapes(layer.input_shapes)) for layer in layers],
        "output": [texts(_shapes(layer.output_shapes)) for layer in layers],
        "rules": [[texts(rule) for rule in rules[layer.path]] for layer in layers],
        "formulas": [[texts(line) for line in formulas.get(layer.path, ())] for layer in layers],
        "own": {key: [layer.own[key] for layer in layers] for key in FIGURES},
    }


def _shapes(shapes: Sequence[Sequence[int]]) -> str:
    """The shapes of a call; nothing for a module that is never called."""
    return shapes_text([list(shape) for shape in shapes]) if shapes else ""


def _rules(report: Report) -> dict[str, list[str]]:
    """For each layer the rules that made its shapes, in the order of the run, equal ones once."""
    by_path: dict[str, list[str]] = defaultdict(list)
    types = {module.path: module.type for module in report.trace.modules}
    for step in report.record(Walk).steps:
        if step.why:
            of_op = f"{step.type}: " if step.type != types[step.path] else ""
            by_path[step.path].append(f"{of_op}{step.why}")
    told: dict[str, list[str]] = defaultdict(list)
    for path, rules in by_path.items():
        different = list(dict.fromkeys(rules))
        more = [f"and {len(different) - MOST_RULES} more"] if len(different) > MOST_RULES else []
        told[path] = [*different[:MOST_RULES], *more]
    return told


def _formulas(report: Report, layers: Sequence[Layer]) -> dict[str, list[str]]:
    """The formulas of layers of a known kind, in letters and numbers; in a large network the command for them."""
    leaves = [layer for layer in layers if not layer.children and layer.calls]
    if len(leaves) > MOST_FORMULAS:
        typed = as_typed(report.trace)
        return {leaf.path: [f"archcalc explain {typed} {shlex.quote(leaf.path)}".rstrip()] for leaf in leaves}
    return {leaf.path: _formula_lines(report, leaf) for leaf in leaves if kind_of(report, leaf) is not None}


def _formula_lines(report: Report, layer: Layer) -> list[str]:
    told = []
    for line in lines(report, layer):
        value = units.exact(line.value) if isinstance(line.value, int) else line.value
        parts = (line.letters, line.numbers, value)
        told.append(f"{line.figure}: {' = '.join(part for part in parts if part)}")
    return told


def _live(report: Report, places: dict[str, int], texts: Texts) -> dict[str, Any]:
    """The op calls of the pass or the steady step, and the storages that live in it: bytes, birth, death, by, layer.

    Op calls are counted from the first of them. A storage that was there before has birth -1.
    """
    trace, record = report.trace, report.record(LiveBytes)
    start, end = record.span if trace.calls else (0, 0)
    calls = trace.calls[start:end]
    storages = []
    for storage, owner in zip(steady(trace).storages, storage_owners(trace), strict=True):
        death = end if storage.death is None else min(storage.death, end)
        if storage.bytes and death > start and storage.birth < end:
            by = texts(made_by(trace, storage))
            storages.append([storage.bytes, max(storage.birth - start, -1), death - start, by, places[owner]])
    return {
        "ops": [texts(call.op) for call in calls],
        "layer": [places[trace.path(call)] for call in calls],
        "bytes": list(record.timeline[start:end]),
        "phases": [[phase, len(list(run))] for phase, run in groupby(call.phase for call in calls)],
        "storages": storages,
        "scratch": [[n, call.scratch, texts("scratch of the kernel")] for n, call in enumerate(calls) if call.scratch],
        "peak": record.peak.call - start if record.peak else -1,
    }
