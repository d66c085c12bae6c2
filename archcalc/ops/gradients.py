"""Ops of a training step alone: gradients of ops that have entries elsewhere, optimizers' updates of many tensors."""

from __future__ import annotations

from math import prod

from archcalc.ops.call_view import CallView
from archcalc.ops.reductions import EACH_INPUT
from archcalc.ops.registry import EACH_OUTPUT, FREE, Op, Work, passes
from archcalc.ops.traffic import Launch, Operands, filled_first, overwrites, wanted_of, without

Op(
    *"""
    _prelu_kernel_backward binary_cross_entropy_backward elu_backward glu_backward hardshrink_backward
    hardsigmoid_backward hardswish_backward hardtanh_backward huber_loss_backward leaky_relu_backward
    log_sigmoid_backward mish_backward mse_loss_backward multi_margin_loss_backward multilabel_margin_loss_backward
    rrelu_with_noise_backward smooth_l1_loss_backward soft_margin_loss_backward softplus_backward softshrink_backward
    """.split(),
    work=EACH_OUTPUT,
    fuses=True,
)
Op("_log_softmax_backward_data", "_masked_softmax_backward", work=passes(4), fuses=True)
# an exponential, a sum, a product, a difference
NORM_BACKWARD = passes(8)
# deviation and its scale 2, both sums over the statistics' elements 3, the gradient of the input 3
Op(
    "native_batch_norm_backward", "cudnn_batch_norm_backward", "batch_norm_backward", "_weight_norm_interface_backward",
    work=NORM_BACKWARD, fuses=True,
)  # fmt: skip


def rows_and_columns(operands: Operands) -> list[Launch]:
    """Torch's layer norm sums along rows for the gradient of its input, then along columns for those of its weights."""
    read = ("grad_out", "input", "mean", "rstd")
    input_, *weights = wanted_of(operands, 3 if operands.has("mean") else 2)  # RMS norm has neither mean nor shift
    rows = [Launch((*read, "weight"), (0,))] if input_ else []
    columns = tuple(range(len(rows), len(rows) + sum(weights)))
    return [*rows, Launch(read, columns)] if columns else rows


def sums_first(operands: Operands) -> list[Launch]:
    """Torch's group norm sums over each group, and then reads all again for the gradient of its input."""
    input_, *weights = wanted_of(operands)
    sums = Launch(("grad_out", "input", "mean", "rstd"), tuple(range(input_, input_ + sum(weights))))
    return [sums, Launch(("grad_out", "input", "weight"), (0,))] if input_ else [sums]


Op("native_layer_norm_backward", "_fused_rms_norm_backward", work=NORM_BACKWARD, launches=rows_and_columns, fuses=True)
Op("native_group_norm_backward", work=NORM_BACKWARD, launches=sums_first, fuses=True)
Op("_thnn_fused_lstm_cell_backward_impl", "_thnn_fused_gru_cell_backward", work=passes(4))
Op("_ctc_loss_backward", "_cdist_backward", "_pdist_backward", work=passes(3))

Op(
    *"""
    adaptive_max_pool2d_backward adaptive_max_pool3d_backward fractional_max_pool2d_backward
    fractional_max_pool3d_backward max_pool2d_with_indices_backward max_pool3d_with_indices_backward
    _adaptive_avg_pool2d_backward _adaptive_avg_pool3d_backward adaptive_avg_pool3d_backward avg_pool2d_backward
    avg_pool3d_backward reflection_pad1d_backward reflection_pad2d_backward reflection_pad3d_backward
    replication_pad1d_backward replication_pad2d_backward replication_pad3d_backward
    """.split(),
    work=EACH_INPUT,
    traffic=without("self"),
)
Op(
    *"""
    _upsample_bicubic2d_aa_backward _upsample_bilinear2d_aa_backward _upsample_nearest_exact1d_backward
    _upsample_nearest_exact2d_backward _upsample_nearest_exact3d_backward upsample_bicubic2d_backward
    upsample_bilinear2d_backward upsample_linear1d_backward upsample_nearest1d_backward upsample_nearest2d_backward
    upsample_nearest3d_backward upsample_trilinear3d_backward grid_sampler_2d_backward grid_sampler_3d_backward
    _embedding_bag_dense_backward embedding_dense_backward _embedding_bag_per_sample_weights_backward
    """.split(),
    work=EACH_INPUT,
)
Op("nll_loss_backward", "nll_loss2d_backward", work=FREE, traffic=without("self"))
Op("select_backward", "slice_backward", "diagonal_backward", work=FREE, launches=filled_first("grad_output"))
Op("index_select_backward", work=FREE)
Op("value_selecting_reduction_backward", "masked_select_backward", work=FREE)


def _all_tensors(call: CallView) -> int:
    """One operation for each element of the tensors that are updated."""
    arguments = call.arguments.get("self", ())
    return sum(map(prod, arguments)) if isinstance(arguments, tuple) else 0


EACH_UPDATED = Work("1 an element of the list", _all_tensors)
Op(
    *(
        f"_foreach_{name}"
        for name in """
        abs acos add addcdiv addcmul asin atan ceil clamp_max clamp_min cos cosh div erf erfc exp expm1 floor frac lerp
        lgamma log log10 log1p log2 max maximum minimum mul neg norm pow powsum reciprocal round rsqrt sigmoid sign sin
        sinh sqrt sub tan tanh trunc
        """.split()
    ),
    work=EACH_UPDATED,
    fuses=True,
)
Op("_foreach_clone", work=FREE)
Op("_foreach_copy", "_foreach_zero", work=FREE, traffic=overwrites)
Op("_amp_foreach_non_finite_check_and_unscale", work=EACH_UPDATED)


def _updates(number: int) -> Work:
    """The work of a fused optimizer that does `number` operations for each parameter."""
    return Work(f"{number} a parameter", lambda call: number * _all_tensors(call))


Op("_fused_adam", "_fused_adamw", work=_updates(14))
# decay 2, both moments 3 + 4, the bias' corrections 2, root and division 3
Op("_fused_adagrad", work=_updates(6))
Op("_fused_sgd", work=_updates(4))
