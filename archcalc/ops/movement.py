"""Copies, gathers, padding and fillings: elements move or are made, without arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.ops.axes import LOST, Field, Seen
from archcalc.ops.call_view import CallView, dim_of, integers
from archcalc.ops.registry import FREE, Op
from archcalc.ops.traffic import (
    Launch,
    Operands,
    adds_up,
    elements_of,
    filled,
    filled_first,
    fills,
    indexed,
    nothing,
    overwrites,
    puts,
    takes,
)
from archcalc.tracing import Shape

CAT = Op("cat", work=FREE)


def pads(operands: Operands) -> Sequence[Launch]:
    """A frame is filled, and the input copied into it; a negative pad cuts the input, in one kernel or two."""
    sides = operands.attributes.get("pad")
    whole = isinstance(sides, tuple) and all(isinstance(side, int) and side >= 0 for side in sides)
    return filled_first("self")(operands) if whole else ()


PAD = Op("constant_pad_nd", work=FREE, launches=pads)
PAD_WITH_ITSELF = Op("reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d", work=FREE)
ROLL = Op("roll", work=FREE)
EMBEDDING = Op("embedding", work=FREE, traffic=takes("weight"))
Op("_to_copy", "tril", "triu", work=FREE, fuses=True)
Op("gather", "index", "index_select", "take", "_unsafe_index", work=FREE, traffic=takes("self"))
Op("scatter", "put", work=FREE, traffic=puts(elements_of("index")))
Op("index_copy", work=FREE, traffic=puts(elements_of("source")))
Op("index_fill", work=FREE, traffic=puts(filled))
Op("index_put", "_index_put_impl", "_unsafe_index_put", work=FREE, traffic=puts(indexed, adds_up))
Op(
    *"""
    _efficientzerotensor _has_compatible_shallow_copy_type _pin_memory _resize_output empty empty_like empty_permuted
    empty_strided is_pinned is_same_size new_empty new_empty_strided promote_types resize resize_as set sym_numel
    sym_size sym_stride
    """.split(),
    work=FREE,
    traffic=nothing,
)
Op(
    *"""
    arange bartlett_window blackman_window cauchy exponential eye fft_fftfreq fft_rfftfreq full full_like geometric
    hamming_window hann_window kaiser_window linspace log_normal logspace new_full new_ones new_zeros normal ones
    ones_like rand rand_like randint randint_like randn randn_like random randperm range scalar_tensor tril_indices
    triu_indices uniform zero zeros zeros_like
    """.split(),
    work=FREE,
    traffic=fills,
    fuses=True,
)
Op("bernoulli", "copy", "fill", "normal_functional", "poisson", "to", work=FREE, traffic=overwrites, fuses=True)
Op(
    *"""
    _assert_async _assert_scalar _chunk_cat _copy_from _functional_assert_async _linalg_check_errors
    _local_scalar_dense _pack_padded_sequence _stack _unsafe_masked_index as_strided_scatter block_diag
    channel_shuffle col2im diag diag_embed diagonal_scatter flip im2col item lift_fresh_copy masked_scatter
    masked_select max_unpool2d max_unpool3d multinomial nonzero nonzero_static one_hot reflection_pad3d repeat
    repeat_interleave replication_pad3d rot90 select_scatter slice_scatter stack unfold_copy vander _reshape_copy
    _unsafe_masked_index_put_accumulate alias_copy as_strided_copy detach_copy diagonal_copy expand_copy narrow_copy
    permute_copy select_copy slice_copy split_copy split_with_sizes_copy squeeze_copy t_copy transpose_copy
    unbind_copy unsqueeze_copy view_copy
    """.split(),
    work=FREE,
)


@CAT.reason
def cat_reason(call: CallView) -> str:
    """Sizes along one dimension add up."""
    d = dim_of(call, len(call.output))
    sizes = [shape[d] for shape in call.inputs if len(shape) == len(call.output)]
    if len(sizes) < 2:
        return ""
    terms = " + ".join(map(str, sizes))
    if len(sizes) > 4:
        rest = sizes[1:]
        terms = f"{sizes[0]} + {len(rest)}·{rest[0]}" if len(set(rest)) == 1 else f"{len(sizes)} tensors"
    return f"{terms} = {call.output[d]} along dim {d}"


@PAD.reason
@PAD_WITH_ITSELF.reason
def pad_reason(call: CallView) -> str:
    """Sizes grow by their padding."""
    pads = integers(call.attributes.get("pad") or call.attributes.get("padding"))
    rank = len(call.output)
    sums = []
    for i in reversed(range(len(pads) // 2)):
        before, after = pads[2 * i], pads[2 * i + 1]
        if before or after:
            d = rank - 1 - i
            sums.append(f"{call.inputs[0][d]} + {before} + {after} = {call.output[d]} along dim {d}")
    return ", ".join(sums)


@PAD.field
@PAD_WITH_ITSELF.field
@ROLL.field
def kept_field(call: CallView, seen: Seen, shape: Shape) -> Field:
    """Positions are added or taken away; each one sees what it saw."""
    return seen[0][0]


@EMBEDDING.reason
def embedding_reason(call: CallView) -> str:
    """Each index becomes a row of the table."""
    table = call.named["weight"]
    return f"each index a row of {table[0]} x {table[1]}"


@EMBEDDING.field
def embedding_field(call: CallView, seen: Seen, shape: Shape) -> Field:
    """A row of a table has no place in space."""
    return LOST
