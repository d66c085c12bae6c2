"""Copies, gathers, padding and fillings: elements move or are made, without arithmetic."""

from __future__ import annotations

from archcalc.ops.axes import LOST, Field, Seen
from archcalc.ops.call_view import CallView, dim_of, integers
from archcalc.ops.registry import FREE, Op
from archcalc.tracing import Shape

CAT = Op("cat", work=FREE)
PAD = Op("constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d", "replication_pad2d", work=FREE)
ROLL = Op("roll", work=FREE)
EMBEDDING = Op("embedding", work=FREE)
Op(
    *"""
    _assert_async _assert_scalar _chunk_cat _copy_from _efficientzerotensor _functional_assert_async
    _has_compatible_shallow_copy_type _index_put_impl _linalg_check_errors _local_scalar_dense _pack_padded_sequence
    _pin_memory _resize_output _stack _to_copy _unsafe_index _unsafe_index_put _unsafe_masked_index arange
    as_strided_scatter bartlett_window bernoulli blackman_window block_diag cauchy channel_shuffle col2im copy diag
    diag_embed diagonal_scatter empty empty_like empty_permuted empty_strided exponential eye fill flip full full_like
    gather geometric hamming_window hann_window im2col index index_copy index_fill index_put index_select is_pinned
    is_same_size item kaiser_window lift_fresh_copy linspace log_normal logspace masked_scatter masked_select
    max_unpool2d max_unpool3d multinomial new_empty new_empty_strided new_full new_ones new_zeros nonzero nonzero_static
    normal normal_functional one_hot ones ones_like poisson put rand rand_like randint randint_like randn randn_like
    random randperm range reflection_pad3d repeat repeat_interleave replication_pad3d resize resize_as rot90
    scalar_tensor scatter select_scatter set slice_scatter stack sym_numel sym_size sym_stride take to tril_indices
    triu_indices unfold_copy uniform vander zero zeros zeros_like _reshape_copy _unsafe_masked_index_put_accumulate
    alias_copy as_strided_copy detach_copy diagonal_copy expand_copy fft_fftfreq fft_rfftfreq narrow_copy permute_copy
    promote_types select_copy slice_copy split_copy split_with_sizes_copy squeeze_copy t_copy transpose_copy unbind_copy
    unsqueeze_copy view_copy tril triu
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
