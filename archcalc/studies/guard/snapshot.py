"""A report reduced to what a review compares: figures in sum and layer by layer, as plain data that a file can hold.

The file is the same on every machine for the same minor version of torch: no times, no paths of a machine, keys in
order, one layer a line. It says itself which figures may move when torch changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import PurePath
from typing import Any

from archcalc.analyses.metrics import SNAPSHOT, known_to
from archcalc.analyses.report import Layer, Report
from archcalc.errors import NotASnapshot
from archcalc.text.faces import Shown
from archcalc.text.finite_json import read_json
from archcalc.text.former_keys import ALIASES
from archcalc.text.units import shape
from archcalc.text.visible import visible_json
from archcalc.tracing import Shape

VERSION = 1
TOTALS = {metric.key: metric for metric in known_to(SNAPSHOT)}
"""The figures of a model, by their keys in the file."""
MAY_MOVE = ("elementwise_flops", "extra", "peak_bytes", "train_peak_bytes", "uncounted")
"""Keys whose values may differ under another minor version of torch (how ops decompose, how modules print)."""
MOST_DIGITS = 100
LAYER_FIGURES = ("params", "buffers", "macs", "elementwise_flops")
"""The figures of a layer: its own, without those of the layers inside it, so that they add up to the totals."""


@dataclass(frozen=True)
class LayerRecord:
    """One module: what it is, the shape of its output, its own figures."""

    path: str
    type: str
    extra: str
    output: tuple[Shape, ...]
    calls: int
    params: int
    buffers: int
    macs: int
    elementwise_flops: int

    @property
    def signature(self) -> tuple[Any, ...]:
        """Everything but its path."""
        return self.type, self.extra, self.output, self.params, self.buffers, self.macs, self.calls


@dataclass(frozen=True, repr=False)
class Snapshot(Shown):
    """One model: how it was named and run, its totals, its layers in the order of the network."""

    reference: str
    inputs: tuple[str, ...]
    assumptions: Mapping[str, Any]
    totals: Mapping[str, Any]
    layers: tuple[LayerRecord, ...]
    made_with: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """One line."""
        return f"<Snapshot of {self.reference}: {len(self.layers)} layers>"


def snapshot(report: Report, training: Report | None = None) -> Snapshot:
    """The snapshot of a report; with that of a training step also its peak."""
    trace = report.trace
    totals: dict[str, Any] = {key: metric.of(report) for key, metric in TOTALS.items()}
    totals |= {"output": report.totals["output_shape"], "uncounted": list(report.totals["uncounted"])}
    assumed = trace.assumptions
    assumptions = {key: assumed[key] for key in ("mode", "dtype", "batch") if key in assumed}
    if training is not None:
        totals["train_peak_bytes"] = training.totals["peak_bytes"]
        step = training.trace.assumptions
        assumptions |= {f"train_{key}": step[key] for key in ("optimizer", "weight_decay", "loss") if key in step}
    return Snapshot(
        _portable(trace.model.reference),
        tuple(f"{given.name}={given.dtype}:{shape(given.shape)}" for given in trace.inputs),
        assumptions,
        totals,
        tuple(_record(layer) for layer in report.root.walk()),
        {"archcalc": trace.versions["archcalc"], "torch": _minor(trace.versions["torch"])},
    )


def _record(layer: Layer) -> LayerRecord:
    figures = {key: layer.own[key] for key in LAYER_FIGURES}
    return LayerRecord(layer.path, layer.type, layer.extra, layer.output_shapes, layer.calls, **figures)


def _portable(reference: str) -> str:
    """A reference without the folders of one machine."""
    file, colon, rest = reference.partition(".py:")
    path = PurePath(f"{file}.py" if colon else reference)
    return f"{path.name}{f':{rest}' if colon else ''}" if path.is_absolute() else reference


def _minor(version: str) -> str:
    """'2.13.0+cpu' as '2.13'."""
    return ".".join(version.split(".", 2)[:2])


# ---- the file ------------------------------------------------------------------------------------


def to_json(snapshots: Sequence[Snapshot]) -> str:
    """Snapshots as one document: models by name, keys in order, a layer a line."""
    made_with = snapshots[0].made_with if snapshots else {}
    head = {"archcalc_snapshot": VERSION, "made_with": made_with, "may_move_with_torch": list(MAY_MOVE)}
    lines = [f" {json.dumps(key)}: {_line(value)}," for key, value in head.items()]
    models = ",\n".join(map(_model, sorted(snapshots, key=lambda model: model.reference)))
    return "{\n" + "\n".join(lines) + '\n "models": [\n' + models + "\n ]\n}\n"


def _model(model: Snapshot) -> str:
    fields = {
        "reference": model.reference,
        "inputs": model.inputs,
        "assumptions": model.assumptions,
        "totals": model.totals,
    }
    lines = [f"   {json.dumps(key)}: {_line(value)}," for key, value in sorted(fields.items())]
    layers = ",\n".join(f"    {_line(asdict(layer))}" for layer in model.layers)
    return "  {\n" + "\n".join(lines) + f'\n   "layers": [\n{layers}\n   ]\n  }}'


def _line(value: Any) -> str:
    return visible_json(json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False))


def from_json(text: str, path: str = "the text") -> tuple[Snapshot, ...]:
    """Read what `to_json` wrote; NotASnapshot names `path` and says what is wrong with anything else.

    A total that the file does not have, as those of an earlier version, is not compared.
    """
    try:
        document = read_json(text)
    except (ValueError, RecursionError) as error:
        raise NotASnapshot(path, f"it is not JSON ({error})") from None
    if not is_snapshot(document):
        raise NotASnapshot(path, "it has no 'archcalc_snapshot'")
    if document["archcalc_snapshot"] != VERSION:
        raise NotASnapshot(path, f"its archcalc_snapshot is not {VERSION}")
    try:
        return tuple(_read(model, document["made_with"]) for model in document["models"])
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise NotASnapshot(path, f"it is damaged ({error})") from None


def is_snapshot(document: Any) -> bool:
    """Whether a JSON document says that it is one."""
    return isinstance(document, dict) and "archcalc_snapshot" in document


def _read(model: Mapping[str, Any], made_with: Mapping[str, str]) -> Snapshot:
    layers = []
    for fields in model["layers"]:
        output = tuple(tuple(int(size) for size in shape) for shape in fields["output"])
        record = LayerRecord(**{**fields, "output": output})
        if not all(isinstance(text, str) for text in (record.path, record.type, record.extra)):
            raise ValueError("a path, type or description is no text")
        if not all(_is_figure(getattr(record, key)) for key in (*LAYER_FIGURES, "calls")):
            raise ValueError(f"a figure of {record.path} is no integer")
        layers.append(record)
    totals = {ALIASES.get(key, key): value for key, value in model["totals"].items()}
    if not all(_is_figure(totals[key]) for key in TOTALS if key in totals):  # earlier versions knew fewer
        raise ValueError("a total is no integer")
    inputs = tuple(str(text) for text in model["inputs"])
    return Snapshot(str(model["reference"]), inputs, dict(model["assumptions"]), totals, tuple(layers), dict(made_with))


def _is_figure(value: Any) -> bool:
    """Whether it is a whole number of a length that can be added and written."""
    return type(value) is int and abs(value) < 10**MOST_DIGITS
