"""The tree of modules with figures. Invariant: a module's own figures and its children's totals add up to its total."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol, TypeVar

from archcalc.errors import NoSuchLayer, WrongUse
from archcalc.text.faces import Shown
from archcalc.text.former_keys import ALIASES
from archcalc.tracing import ModuleCall, Shape, Trace


class Figures(dict[str, Any]):
    """Figures by their keys; a former key gives its figure with a DeprecationWarning."""

    def __missing__(self, key: str) -> Any:
        if key not in ALIASES or ALIASES[key] not in self:
            raise KeyError(key)
        warnings.warn(f"'{key}' is called '{ALIASES[key]}' now", DeprecationWarning, stacklevel=2)
        return self[ALIASES[key]]


@dataclass(frozen=True)
class Finding:
    """The result of one analysis: figures by module path, which add up over modules, and totals, which need not.

    `keys` names the figures, so that a figure of no module is still 0 everywhere; `notes` are sentences for the reader;
    `record` holds what is no figure, such as the steps of the run or its timeline.
    """

    keys: tuple[str, ...]
    own: Mapping[str, Mapping[str, int]]
    totals: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    record: object = None


class Analysis(Protocol):
    """From a trace to a finding. An analysis is a frozen dataclass whose fields are its options."""

    of_steps: ClassVar[bool]
    """Whether it looks at whole training steps; the others are given one forward pass."""

    def __call__(self, trace: Trace) -> Finding:
        """Analyse a trace."""


R = TypeVar("R")


@dataclass(frozen=True, repr=False)
class Layer:
    """One module: its own figures (its parameters, the ops it calls itself) and the totals of its subtree."""

    path: str
    type: str
    extra: str
    own: Figures
    total: Figures
    children: tuple[Layer, ...]
    calls: int
    input_shapes: tuple[Shape, ...]
    output_shapes: tuple[Shape, ...]

    def __repr__(self) -> str:
        """A line instead of the whole subtree."""
        figures = ", ".join(f"{key}={value:,}" for key, value in self.total.items() if value)
        return f"<Layer {self.path or 'the model'}: {self.type}{', ' if figures else ''}{figures}>"

    @property
    def output_shape(self) -> Shape | tuple[Shape, ...]:
        """Shape of the output of the last call; a tuple of shapes where there are several."""
        return self.output_shapes[0] if len(self.output_shapes) == 1 else self.output_shapes

    @property
    def params(self) -> int:
        """Parameters of the module and everything below it."""
        return int(self.total["params"])

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the module and everything below it."""
        return int(self.total["macs"])

    @property
    def flops(self) -> int:
        """2 x MACs."""
        return 2 * self.macs

    def walk(self) -> Iterator[Layer]:
        """This module and all below it, parents before children."""
        waiting = [self]
        while waiting:  # a stack, not recursion: a stored trace may be nested as deeply as it likes
            layer = waiting.pop()
            yield layer
            waiting += reversed(layer.children)


class Layers(dict[str, Layer]):
    """Layers by their paths; an unknown path is NoSuchLayer, with the paths that are close."""

    def __missing__(self, path: str) -> Layer:
        raise NoSuchLayer(path, [known for known in self if known])


@dataclass(frozen=True, repr=False)
class Report(Shown):
    """Figures of one trace, as a tree (`root`), by path (`layers`) and in sum (`totals`)."""

    trace: Trace
    root: Layer
    totals: Figures
    notes: tuple[str, ...]
    records: Mapping[type, object]

    def __repr__(self) -> str:
        """A line instead of the whole tree."""
        figures = ", ".join(
            f"{key}={self.totals[key]:,}" for key in ("params", "macs", "peak_bytes") if key in self.totals
        )
        return f"<Report of {self.trace.model.name}: {figures}, {len(self.trace.modules)} modules>"

    def record(self, kind: type[R]) -> R:
        """The record of an analysis by its class; LookupError if that analysis was not run."""
        record = self.records.get(kind)
        if not isinstance(record, kind):
            raise LookupError(f"the report has no {kind.__name__}: its analysis was not run")
        return record

    @cached_property
    def layers(self) -> Mapping[str, Layer]:
        """Every module by its path; the root is ''."""
        return Layers({layer.path: layer for layer in self.root.walk()})

    @property
    def params(self) -> int:
        """Unique parameters, tied ones once."""
        return int(self.totals["params"])

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all contractions in the forward pass."""
        return int(self.totals["macs"])

    @property
    def flops(self) -> int:
        """2 x MACs."""
        return int(self.totals["flops"])

    @property
    def peak_bytes(self) -> int:
        """Most bytes live at one moment of the forward pass."""
        return int(self.totals["peak_bytes"])

    @property
    def output_shape(self) -> Shape | tuple[Shape, ...]:
        """Shape of the output; a tuple of shapes where there are several."""
        return self.root.output_shape


def assemble(trace: Trace, findings: Sequence[Finding]) -> Report:
    """Put the findings into one tree; WrongUse if two of them have a figure of the same name, which would be added."""
    keys = tuple(key for finding in findings for key in finding.keys)
    if twice := next((key for key, times in Counter(keys).items() if times > 1), None):
        raise WrongUse(f"two of the analyses give the figure '{twice}'.", "make a report for each of them")
    own = {module.path: Figures(dict.fromkeys(keys, 0)) for module in trace.modules}
    outputs = [list(trace.shape(tensor)) for tensor in trace.output_tensors]
    totals = Figures({"output_shape": outputs[0] if len(outputs) == 1 else outputs})
    records: dict[type, object] = {}
    for finding in findings:
        for path, figures in finding.own.items():
            for key, value in figures.items():
                own[path][key] += value
        totals |= finding.totals
        records |= {} if finding.record is None else {type(finding.record): finding.record}
    root = _tree(trace, own)
    totals |= root.total
    notes = tuple(dict.fromkeys((*trace.notes, *(note for finding in findings for note in finding.notes))))
    return Report(trace, root, totals, notes, records)


def _tree(trace: Trace, own: Mapping[str, Figures]) -> Layer:
    """Layers from the leaves up: modules come parents first, so each list of children is complete in reverse."""
    below: list[list[Layer]] = [[] for _ in trace.modules]
    runs = trace.of_forward().module_calls
    times, last = Counter(run.module for run in runs), {run.module: run for run in runs}
    layer = None
    for index in reversed(range(len(trace.modules))):
        module = trace.modules[index]
        children = tuple(reversed(below[index]))
        figures = own[module.path]
        total = Figures(figures)
        for child in children:
            for key, value in child.total.items():
                total[key] += value
        inputs, outputs = _shapes(trace, last.get(index))
        layer = Layer(module.path, module.type, module.extra, figures, total, children, times[index], inputs, outputs)
        if module.parent is not None:
            below[module.parent].append(layer)
    assert layer is not None, "a trace has a root module"
    return layer


def _shapes(trace: Trace, run: ModuleCall | None) -> tuple[tuple[Shape, ...], tuple[Shape, ...]]:
    """The shapes of a module's inputs and outputs in one of its calls; none without a call."""
    if run is None:
        return (), ()
    return tuple(map(trace.shape, run.inputs)), tuple(map(trace.shape, run.outputs))
