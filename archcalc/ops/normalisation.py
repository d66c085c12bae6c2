"""Normalisation: passes over the elements for statistics, scale and shift."""

from __future__ import annotations

from math import prod

from archcalc.ops.axes import Field, Seen
from archcalc.ops.call_view import CallView, integers
from archcalc.ops.registry import Op, Work, passes
from archcalc.ops.traffic import Launch, Moved, Operands, each_once
from archcalc.tracing import Shape


def _batch_norm(passes_: int) -> Work:
    """Scale and shift; in training the elements and their squared deviations are summed too: 3 passes more."""

    def of(call: CallView) -> int:
        statistics = 3 * prod(call.inputs[0]) if call.attributes.get("training") is True else 0
        return passes_ * prod(call.output) + statistics

    return Work(f"{passes_} an output element", of)


def running_statistics(operands: Operands) -> Moved:
    """In training the running mean and variance are written too; the op's schema does not say so."""
    moved = each_once(operands)
    if operands.attributes.get("training", operands.attributes.get("train")) is not True or operands.written:
        return moved
    statistics = [name for name in ("running_mean", "running_var") if operands.has(name)]
    return Moved(moved.read, moved.written + operands.bytes_of(*statistics))


Op(
    "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "_batch_norm_no_update",
    "cudnn_batch_norm", work=_batch_norm(2), traffic=running_statistics, fuses=True,
)  # fmt: skip
Op("_batch_norm_with_update", work=_batch_norm(5), fuses=True)


def statistics_first(operands: Operands) -> list[Launch]:
    """Torch's group norm has a kernel for the statistics of all groups, and one behind it that normalises."""
    return [Launch(("input",), (1, 2)), Launch(("input", "weight", "bias"), (0,))]


LAYERS = Op("native_layer_norm", work=passes(5), fuses=True)
# mean 1, variance 2, normalise and scale 1, shift 1
GROUPS = Op("native_group_norm", work=passes(5), launches=statistics_first, fuses=True)
RMS = Op("_fused_rms_norm", work=passes(4), fuses=True)
# square and sum 2, normalise 1, scale 1
Op("renorm", "_weight_norm_interface", work=passes(3), fuses=True)


@LAYERS.field
@GROUPS.field
@RMS.field
def normalised(call: CallView, seen: Seen, shape: Shape) -> Field:
    """Statistics over a spatial axis reach all of it; batch norm's are constants in evaluation."""
    field, _ = seen[0]
    spanned = len(integers(call.attributes.get("normalized_shape"))) or len(shape)
    return tuple(a.whole() if a and d >= len(shape) - spanned else a for d, a in enumerate(field))
