"""Shapes at every step, a leaf module's call or an op of a larger module, with the rule that made the shape."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar

from archcalc.analyses.report import Finding
from archcalc.ops.axes import GLOBAL, WHOLE, Axis, Field
from archcalc.ops.channel_field import Channels, channel_fields
from archcalc.ops.names import base_name, packet
from archcalc.ops.receptive_field import fields
from archcalc.ops.registry import known
from archcalc.ops.shape_reasons import module_rule, why
from archcalc.tracing import Call, Shape, Trace


@dataclass(frozen=True)
class ShapeStep:
    """One step: `type` is the module's class or the op's name; `field` and `stride` are per spatial axis of the output.

    A field of None sees the whole axis; both are empty where the output has no tracked place in space. `channels_seen`
    is the most channels of the input that one channel of the output sees; None where that is not followed.
    """

    path: str
    type: str
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    why: str
    field: tuple[int | None, ...]
    stride: tuple[float, ...]
    channels_seen: int | None = None

    @property
    def changes(self) -> bool:
        """Whether the output has another shape than the first input."""
        return not self.inputs or self.inputs[0] != self.outputs[0]


@dataclass(frozen=True)
class Walk:
    """Every step of a run, and the path of the step whose receptive field the totals give; '' if there is none.

    `channels` are those of the input, of which steps see some; 0 where they are not followed.
    """

    steps: Sequence[ShapeStep]
    field_at: str
    channels: int = 0


@dataclass(frozen=True)
class Shapes:
    """The shape at every step. Record: Walk.

    Totals: the `receptive_field` and `total_stride` of the last map, which is the last output with a place in space
    and more than one position; None for an axis seen as a whole, [] where there is no map.
    """

    of_steps: ClassVar[bool] = False

    def __call__(self, trace: Trace) -> Finding:
        """Follow shapes and receptive fields through the run."""
        channels = channel_fields(trace)
        steps = [replace(step, channels_seen=_most(channels[output])) for step, output in _steps(trace, fields(trace))]
        maps = [s for s in steps if s.field and any(size > 1 for size in s.outputs[0][-len(s.field) :]) and s.stride]
        totals = {
            "receptive_field": list(maps[-1].field) if maps else [],
            "total_stride": list(maps[-1].stride) if maps else [],
        }
        return Finding((), {}, totals, record=Walk(steps, maps[-1].path if maps else "", _channels(trace)))


def _most(channels: Channels | None) -> int | None:
    return channels.most if channels else None


def _channels(trace: Trace) -> int:
    """The channels of the one input of a model; 0 if it has another form."""
    shapes = [trace.shape(tensor) for tensor in trace.input_tensors]
    return shapes[0][1] if len(shapes) == 1 and len(shapes[0]) > 2 else 0


def _steps(trace: Trace, seen: list[Field]) -> Iterator[tuple[ShapeStep, int]]:
    """The steps, each with the tensor that it gives."""
    parents = {trace.modules[call.module].parent for call in trace.module_calls}
    index = 0
    while index < len(trace.calls):
        call = trace.calls[index]
        module_call = trace.module_calls[call.module_call]
        module = trace.modules[module_call.module]
        if module.path and module_call.module not in parents and module_call.inputs and module_call.outputs:
            calls = trace.calls[module_call.first : module_call.last]
            inputs, outputs = module_call.inputs, module_call.outputs
            reason = module_rule(module.type, trace.shape(outputs[0])) or _reason(trace, calls)
            yield _step(trace, seen, module.path, module.type, inputs, outputs, reason), outputs[0]
            index = max(module_call.last, index + 1)
            continue
        entry = known(call.op)
        if call.outputs and (entry is None or entry.step) and any(True for _ in call.tensors()):
            name = (base_name(call.op) or packet(call.op)).strip("_")
            inputs = tuple(call.tensors())
            yield _step(trace, seen, module.path, name, inputs, call.outputs, why(trace, call)), call.outputs[0]
        index += 1


def _step(
    trace: Trace,
    seen: list[Field],
    path: str,
    type_: str,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    reason: str,
) -> ShapeStep:
    field = seen[outputs[0]]
    axes = [field[0]] if field is GLOBAL else [axis for axis in field if axis is not None]
    before, after = tuple(map(trace.shape, inputs)), tuple(map(trace.shape, outputs))
    unchanged = before and before[0] == after[0]
    return ShapeStep(
        path,
        type_,
        before,
        after,
        reason or ("same shape" if unchanged else ""),
        tuple(_whole_or(axis) for axis in axes if axis is not None),
        tuple(_number(axis.jump) for axis in axes if axis is not None and field is not GLOBAL),
    )


def _whole_or(axis: Axis) -> int | None:
    return None if axis.size == WHOLE else round(axis.size)


def _number(jump: Fraction) -> float:
    return jump.numerator if jump.denominator == 1 else float(jump)


def _reason(trace: Trace, calls: tuple[Call, ...]) -> str:
    """The rule that made a leaf module's output: of its last op that does more than rearrange, or of its last op."""
    reasons = [(call, why(trace, call)) for call in calls]
    telling = [text for call, text in reasons if text and not _rearranges(call)]
    texts = telling or [text for _, text in reasons if text]
    return texts[-1] if texts else ""


def _rearranges(call: Call) -> bool:
    entry = known(call.op)
    return entry is not None and entry.rearranges
