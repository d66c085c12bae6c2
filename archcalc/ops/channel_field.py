"""Channel fields: which channels of the input a channel of a tensor depends on.

A convolution in groups sees the channels of its group alone; a shuffle lets the next one see a part of every group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from operator import or_

from archcalc.ops.call_view import CallView, dim_of, integers, swapped_dims
from archcalc.ops.names import base_name
from archcalc.ops.registry import known
from archcalc.tracing import Call, Shape, Trace


@dataclass(frozen=True)
class Channels:
    """The channels of a tensor, each as the set of input channels that it sees, a bit for one.

    They stand in the dimensions of `sizes`, which follow the batch: more than one where channels are viewed in groups.
    """

    sizes: tuple[int, ...]
    seen: tuple[int, ...]

    @property
    def most(self) -> int:
        """The most input channels that one channel sees."""
        return max((mask.bit_count() for mask in self.seen), default=0)


Known = Sequence[Channels | None]
Rule = Callable[[CallView, Call, Sequence[Channels], Shape], "Channels | list[Channels] | None"]


def channel_fields(trace: Trace) -> list[Channels | None]:
    """For each tensor the input channels that its channels see; None where that is not followed.

    The channels are those of the input where one tensor alone is given, N, C, then space.
    """
    fields: list[Channels | None] = [None] * len(trace.tensors)
    inputs = [tensor for tensor in trace.input_tensors if len(trace.shape(tensor)) in (3, 4, 5)]
    if len(inputs) != 1 or len(trace.input_tensors) != 1:
        return fields
    channels = trace.shape(inputs[0])[1]
    fields[inputs[0]] = Channels((channels,), tuple(1 << channel for channel in range(channels)))
    for call in trace.calls:
        seen = [(tensor, field) for tensor in call.tensors() if (field := fields[tensor]) is not None]
        if not seen or not call.outputs:
            continue
        rule = RULES.get(base_name(call.op) or call.op, _elementwise)
        try:
            made = rule(CallView(trace, call), call, [field for _, field in seen], trace.shape(seen[0][0]))
        except (IndexError, LookupError, ValueError):
            made = None
        each = made if isinstance(made, list) else [made] * len(call.outputs)
        for tensor, field in zip(call.outputs, each, strict=False):
            shape = trace.shape(tensor)
            fields[tensor] = field if field and shape[1 : 1 + len(field.sizes)] == field.sizes else None
    return fields


def _joined(masks: Sequence[int]) -> int:
    return reduce(or_, masks, 0)


def _convolution(view: CallView, call: Call, fields: Sequence[Channels], before: Shape) -> Channels | None:
    """Each kernel of a group joins the channels of the group."""
    (field,) = fields
    groups, out = view.numbers("groups", 1, 1)[0], view.output[1]
    a_group = len(field.seen) // groups
    masks = [_joined(field.seen[a_group * g : a_group * (g + 1)]) for g in range(groups)]
    return Channels((out,), tuple(masks[channel * groups // out] for channel in range(out)))


def _view(view: CallView, call: Call, fields: Sequence[Channels], before: Shape) -> Channels | None:
    """The same channels in other dimensions, where batch and space stay."""
    (field,) = fields
    space = before[1 + len(field.sizes) :]
    after = view.output[1 : len(view.output) - len(space)]
    if view.output[len(view.output) - len(space) :] != space or prod(after) != len(field.seen):
        return None
    return Channels(tuple(after), field.seen) if view.output[0] == before[0] and after else None


def _transpose(view: CallView, call: Call, fields: Sequence[Channels], before: Shape) -> Channels | None:
    """Two dimensions of channels change places."""
    (field,) = fields
    first, second = sorted(dim - 1 for dim in swapped_dims(view, len(before)))
    if first < 0 or second >= len(field.sizes):
        return None
    order = list(range(len(field.sizes)))
    order[first], order[second] = order[second], order[first]
    return _permuted(field, order)


def _permute(view: CallView, call: Call, fields: Sequence[Channels], before: Shape) -> Channels | None:
    """Dimensions of channels change places among themselves."""
    (field,) = fields
    order = [dim - 1 for dim in integers(view.attributes["dims"])]
    if order[0] != -1 or order[1 + len(field.sizes) :] != list(range(len(field.sizes), len(before) - 1)):
        return None
    return _permuted(field, order[1 : 1 + len(field.sizes)])


def _permuted(field: Channels, order: Sequence[int]) -> Channels:
    strides = [prod(field.sizes[dim + 1 :]) for dim in range(len(field.sizes))]
    sizes = tuple(field.sizes[dim] for dim in order)
    places = [0]
    for dim in order:
        places = [place + index * strides[dim] for place in places for index in range(field.sizes[dim])]
    return Channels(sizes, tuple(field.seen[place] for place in places))


def _cat(view: CallView, call: Call, fields: Sequence[Channels], before: Shape) -> Channels | None:
    """Channels one behind the other."""
    if len(fields) != len(view.inputs):
        return None
    if dim_of(view, len(view.output)) != 1:
        return fields[0]
    masks = tuple(mask for field in fields for mask in field.seen)
    return Channels((len(masks),), masks) if all(len(field.sizes) == 1 for field in fields) else None


def _split(view: CallView, call: Call, fields: Sequence[Channels], before: Shape) -> list[Channels] | Channels | None:
    """A part of the channels to each output."""
    (field,) = fields
    if dim_of(view, len(before)) != 1:
        return field
    made, start = [], 0
    for shape in view.outputs:
        made.append(Channels((shape[1],), field.seen[start : start + shape[1]]))
        start += shape[1]
    return made if len(field.sizes) == 1 else None


def _slice(view: CallView, call: Call, fields: Sequence[Channels], before: Shape) -> Channels | None:
    """The channels from a start on, every so many."""
    (field,) = fields
    if dim_of(view, len(before)) != 1:
        return field
    start, step = (integers(view.attributes.get(name)) for name in ("start", "step"))
    kept = field.seen[(start or [0])[0] :: (step or [1])[0]][: view.output[1]]
    return Channels((view.output[1],), kept) if len(field.sizes) == 1 else None


def _pad(view: CallView, call: Call, fields: Sequence[Channels], before: Shape) -> Channels | None:
    """Channels that are filled in see none."""
    (field,) = fields
    if view.output[1] == before[1]:
        return field
    pads = integers(view.attributes["pad"])
    front = pads[2 * (len(before) - 2)]
    masks = (0,) * front + field.seen
    return Channels((view.output[1],), masks + (0,) * (view.output[1] - len(masks)))


def _elementwise(view: CallView, call: Call, fields: Sequence[Channels], before: Shape) -> Channels | None:
    """A channel joins those at its place; a contraction that has no rule here is not followed."""
    op = known(call.op)
    if op is None or op.formula is not None or any(field.sizes != fields[0].sizes for field in fields):
        return None
    masks = zip(*(field.seen for field in fields), strict=True)
    return Channels(fields[0].sizes, tuple(map(_joined, masks)))


def _group_norm(view: CallView, call: Call, fields: Sequence[Channels], before: Shape) -> Channels | None:
    """The statistics of a group join its channels."""
    (field,) = fields
    a_group = len(field.seen) // integers(view.attributes["group"])[0]
    starts = (channel - channel % a_group for channel in range(len(field.seen)))
    return Channels(field.sizes, tuple(_joined(field.seen[start : start + a_group]) for start in starts))


MIXING = """
    flatten t select unbind stack roll flip index index_select gather scatter sort topk repeat channel_shuffle cumsum
    _softmax _log_softmax native_layer_norm _fused_rms_norm
""".split()
"""Ops behind which channels are not followed: they take single ones, change their order, or join all of them."""
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("convolution", "_convolution"), _convolution),
    **dict.fromkeys(("view", "_unsafe_view", "reshape"), _view),
    "transpose": _transpose,
    "permute": _permute,
    "cat": _cat,
    **dict.fromkeys(("split", "split_with_sizes", "chunk"), _split),
    "slice": _slice,
    "constant_pad_nd": _pad,
    "native_group_norm": _group_norm,
    **dict.fromkeys(MIXING, lambda *_: None),
}
"""The rules of ops by their base names; all other ops work on each channel, or are contractions."""
