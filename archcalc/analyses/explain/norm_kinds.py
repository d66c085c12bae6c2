"""The kinds of layer that normalise: over the batch for each channel, over groups, over the features of a position."""

from __future__ import annotations

from math import prod

from archcalc.analyses.explain.layer_kind import Kind, Reading, Seen, has
from archcalc.ops.call_view import CallView, integers
from archcalc.ops.names import base_name


def _read_batch_norm(seen: Seen) -> Reading:
    op = seen.op("native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training")
    training = {"training"} if op.attributes.get("training") is True else {"evaluation"}
    affine, running = has(seen, "weight", "affine"), has(seen, "running_mean", "running")
    counted = {"counted"} if running and any(base_name(call.op) == "add" for call in seen.ops) else set()
    numbers = {"C": op.output[1], "elements": prod(op.output), **_statistics(seen, op)}
    return numbers, training | affine | running | counted


def _statistics(seen: Seen, op: CallView) -> dict[str, int]:
    """The pairs of mean and variance that the op gave beside its output, if it computed any."""
    pairs = sum(prod(shape) for shape in op.outputs[1:2])
    return {"statistics": pairs} if pairs else {}


def _read_layer_norm(seen: Seen) -> Reading:
    op = seen.op("native_layer_norm")
    sizes = integers(op.attributes.get("normalized_shape"))
    conditions = has(seen, "weight", "affine") | has(seen, "bias", "bias")
    return {"D": prod(sizes), "elements": prod(seen.output), **_statistics(seen, op)}, conditions


def _read_group_norm(seen: Seen) -> Reading:
    op = seen.op("native_group_norm")
    groups = integers(op.attributes.get("group"))[0]
    numbers = {"N": op.output[0], "G": groups, "C": op.output[1], "elements": prod(op.output)}
    return {**numbers, **_statistics(seen, op)}, has(seen, "weight", "affine")


NORMS = (
    Kind(
        "batch-norm",
        ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d"),
        "C channels; elements of the output, N · C · H · W for images",
        (
            ("statistics", "C"),
            ("params", "[2 · C if affine]"),
            ("buffers", "[2 · C + 1 if running]"),
            ("elementwise", "[2 · elements if evaluation] [5 · elements if training] [+ 1 if counted]"),
        ),
        _read_batch_norm,
        "statistics over N, H, W for each channel, of the batch in training, the running ones in evaluation: γ, β are "
        "parameters; running mean, variance and a counter of batches buffers",
    ),
    Kind(
        "group-norm",
        ("GroupNorm",),
        "N batch, C channels in G groups; elements of the output",
        (("statistics", "N · G"), ("params", "[2 · C if affine]"), ("elementwise", "5 · elements")),
        _read_group_norm,
        "statistics over the channels and positions of a group, for each sample: γ and β, no buffers",
    ),
    Kind(
        "layer-norm",
        ("LayerNorm",),
        "D features of one position; elements of the output",
        (
            ("statistics", "elements/D"),
            ("params", "[D if affine] [+ D if bias]"),
            ("elementwise", "5 · elements"),
        ),
        _read_layer_norm,
        "statistics over the D features, for each position of each sample: γ and β, no buffers, the same in training",
    ),
)
