"""Everything that is not a contraction: elementwise work and reductions by their elements, data movement free.

One operation for each output element of an elementwise op, whatever its function, and for each input element of a
reduction. A fused op counts one for each pass over its elements: PASSES. An op in none of these lists has no rule
and is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log2, prod

from archcalc.ops import macs as formulas
from archcalc.tracing.records import Call, Shape, Trace

POINTWISE = frozenset(
    """
    __ilshift__ __irshift__ __ixor__ __lshift__ __rshift__ __xor__ __and__ __or__ _add_relu _conj_physical
    _masked_scale _prelu_kernel abs acos acosh add addcdiv addcmul addr angle asin asinh atan atan2 atanh
    binary_cross_entropy binary_cross_entropy_with_logits bitwise_and bitwise_left_shift bitwise_not bitwise_or
    bitwise_right_shift bitwise_xor ceil celu clamp clamp_max clamp_min clip complex conj_physical copysign cos cosh
    deg2rad digamma div elu eq equal erf erfc erfinv exp exp2 expm1 float_power floor floor_divide fmax fmin fmod
    frac frexp gcd ge gelu glu gt hardshrink hardsigmoid hardswish hardtanh heaviside huber_loss hypot i0 igamma
    igammac isfinite isinf isnan isneginf isposinf lcm ldexp le leaky_relu lerp lgamma log log10 log1p log2
    log_sigmoid_forward logaddexp logaddexp2 logical_and logical_not logical_or logical_xor logit lt masked_fill
    maximum minimum mish mse_loss mul mvlgamma nan_to_num native_dropout ne neg nextafter polar polygamma positive
    pow prelu rad2deg reciprocal relu relu6 remainder round rrelu rrelu_with_noise rsqrt rsub selu sgn sigmoid sign
    signbit silu sin sinc sinh smooth_l1_loss soft_margin_loss softplus softshrink sqrt square sub tan tanh
    threshold true_divide trunc where xlogy dropout feature_dropout alpha_dropout
    special_airy_ai special_bessel_j0 special_bessel_j1 special_bessel_y0 special_bessel_y1
    special_chebyshev_polynomial_t special_chebyshev_polynomial_u special_chebyshev_polynomial_v
    special_chebyshev_polynomial_w special_entr special_erfcx special_hermite_polynomial_h
    special_hermite_polynomial_he special_i0e special_i1 special_i1e special_laguerre_polynomial_l
    special_legendre_polynomial_p special_log_ndtr special_modified_bessel_i0 special_modified_bessel_i1
    special_modified_bessel_k0 special_modified_bessel_k1 special_ndtri special_scaled_modified_bessel_k0
    special_scaled_modified_bessel_k1 special_shifted_chebyshev_polynomial_t special_shifted_chebyshev_polynomial_u
    special_shifted_chebyshev_polynomial_v special_shifted_chebyshev_polynomial_w special_spherical_bessel_j0
    special_xlog1py special_zeta
    gelu_backward logit_backward native_dropout_backward sigmoid_backward silu_backward tanh_backward
    threshold_backward
    """.split()
)
"""One operation for each element of the output."""

REDUCTIONS = frozenset(
    """
    all amax amin aminmax _aminmax any argmax argmin argsort bincount count_nonzero cummax cummin cumprod cumsum
    _cummax_helper _cummin_helper dist histc _embedding_bag _embedding_bag_forward_only index_add index_reduce
    kthvalue linalg__powsum linalg_vector_norm logcumsumexp logsumexp max mean median min mode nanmedian nansum
    nll_loss_forward nll_loss2d_forward norm prod scatter_add scatter_reduce searchsorted bucketize segment_reduce
    sort std std_mean sum topk trace unique_dim _unique _unique2 unique_consecutive var var_mean
    _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_max_pool2d adaptive_max_pool3d
    fractional_max_pool2d fractional_max_pool3d _is_all_true _is_any_true
    """.split()
)
"""One operation for each element of the input."""

PASSES = {
    "native_batch_norm": 2,  # evaluation: scale and shift; training adds the statistics, see _batch_norm
    "_native_batch_norm_legit": 2,
    "_native_batch_norm_legit_no_training": 2,
    "_batch_norm_no_update": 2,
    "_batch_norm_with_update": 5,
    "cudnn_batch_norm": 2,
    "native_layer_norm": 5,  # mean 1, variance 2, normalise and scale 1, shift 1
    "native_group_norm": 5,
    "_fused_rms_norm": 4,  # square and sum 2, normalise 1, scale 1
    "_softmax": 5,  # maximum, subtract, exponential, sum, divide
    "_log_softmax": 5,
    "_safe_softmax": 5,
    "softmax": 5,
    "log_softmax": 5,
    "_masked_softmax": 5,
    "_thnn_fused_lstm_cell": 14,  # a quarter of the gates: 4 biases, 4 activations, 3 products, sum, tanh, product
    "_thnn_fused_gru_cell": 12,
    "renorm": 3,
    "upsample_linear1d": 2,
    "upsample_bilinear2d": 4,  # taps of the interpolation
    "_upsample_bilinear2d_aa": 4,
    "upsample_trilinear3d": 8,
    "upsample_bicubic2d": 16,
    "_upsample_bicubic2d_aa": 16,
    "grid_sampler_2d": 4,
    "grid_sampler_3d": 8,
    "_cdist_forward": 3,  # for each of the M terms: subtract, power, add; see _distances
    "_weight_norm_interface": 3,
}
"""Operations for each element of the output of fused ops."""

WINDOWS = frozenset("avg_pool1d avg_pool2d avg_pool3d max_pool2d_with_indices max_pool3d_with_indices".split())
"""Pooling: one operation for each element of the window of each output."""

TRANSFORMS = {"_fft_c2c": 5.0, "_fft_r2c": 2.5, "_fft_c2r": 2.5}
"""Fast Fourier transforms of n points: so many times n·log2(n) additions and multiplications, the usual estimate."""

MOVEMENT = frozenset(
    """
    _chunk_cat _conj _copy_from _efficientzerotensor _fw_primal _index_put_impl _lazy_clone _linalg_check_errors
    _local_scalar_dense _neg_view _new_zeros_with_same_feature_meta _pack_padded_sequence _pin_memory _reshape_alias
    _resize_output _stack _to_copy _unsafe_index _unsafe_index_put _unsafe_masked_index _unsafe_view
    alias arange as_strided as_strided_scatter bartlett_window bernoulli blackman_window
    block_diag broadcast_to cat cauchy channel_shuffle chunk clone col2im constant_pad_nd contiguous copy
    detach diag diag_embed diagonal diagonal_scatter embedding empty empty_like empty_permuted empty_strided expand
    expand_as exponential eye fill flatten flip full full_like gather geometric hamming_window hann_window im2col
    index index_copy index_fill index_put index_select is_same_size item kaiser_window lift lift_fresh
    lift_fresh_copy linspace log_normal logspace masked_scatter masked_select max_unpool2d max_unpool3d multinomial
    narrow new_empty new_empty_strided new_full new_ones new_zeros nonzero nonzero_static normal normal_functional
    numpy_T one_hot ones ones_like permute pixel_shuffle pixel_unshuffle poisson put rand rand_like randint
    randint_like randn randn_like random randperm range reflection_pad1d reflection_pad2d reflection_pad3d repeat
    repeat_interleave replication_pad1d replication_pad2d replication_pad3d reshape resize resize_as roll rot90
    scalar_tensor scatter select select_scatter set slice slice_scatter split split_with_sizes squeeze stack
    sym_size t take to transpose tril tril_indices triu triu_indices unbind unfold unfold_copy uniform unsafe_chunk
    unsafe_split unsafe_split_with_sizes unsqueeze upsample_nearest1d upsample_nearest2d upsample_nearest3d
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d vander view view_as
    view_as_complex view_as_real zero zeros zeros_like _nested_view_from_buffer _assert_async
    _functional_assert_async _assert_scalar sym_numel sym_stride is_pinned _has_compatible_shallow_copy_type
    """.split()
)
"""Copies, views, gathers, fillings: no arithmetic on elements."""


ELSEWHERE: dict[str, int] = {}
"""Ops of other libraries ("mylib.gate"): operations for each element of the output, 0 for movement."""


def elementwise(*ops: str, an_element: int) -> None:
    """Declare ops of another library that do `an_element` operations for each element of their first output.

    >>> elementwise("mylib.gate", "mylib.mix", an_element=2)
    """
    ELSEWHERE.update(dict.fromkeys(ops, an_element))


def operations(trace: Trace, call: Call) -> int | None:
    """Elementwise operations of one call; 0 for movement, None for an op that no list has."""
    name = base_name(call.op)
    if name is None:
        return _elsewhere(trace, call)
    if name in MOVEMENT:
        return 0
    output = trace.shape(call.outputs[0]) if call.outputs else ()
    if name in POINTWISE:
        return prod(output)
    if name in REDUCTIONS:
        return _reduced(trace, call)
    if name in WINDOWS:
        return prod(output) * prod(_window(call, len(output) - 2))
    if name in TRANSFORMS:
        return _transform(trace, call, TRANSFORMS[name])
    if name in PASSES:
        return prod(output) * PASSES[name] + _statistics(trace, call) + _distances(trace, call, name)
    return None


def beside_contraction(trace: Trace, call: Call) -> int:
    """Elementwise operations inside a contraction's call: its bias, or the scaling and softmax of fused attention."""
    name = base_name(call.op) or ""
    if "scaled_dot_product" in name and "backward" not in name:
        query, key = (trace.shape(t) for t in list(call.tensors())[:2])
        return (1 + PASSES["_softmax"]) * prod(query[:-1]) * key[-2]
    biased = "bias" in call.inputs or name in ("addmm", "addmv", "baddbmm", "addbmm", "_addmm_activation")
    return prod(trace.shape(call.outputs[0])) if biased and "backward" not in name else 0


def base_name(op: str) -> str | None:
    """'aten.add_.Tensor' -> 'add': the name without overload and in-place mark; None outside ATen.

    >>> base_name("aten.relu_"), base_name("aten.__and__.Tensor"), base_name("mylib.op")
    ('relu', '__and__', None)
    """
    namespace, _, rest = op.partition(".")
    if namespace not in ("aten", "prims"):
        return None
    name = rest.partition(".")[0]
    return name if name.endswith("__") else name.removesuffix("_")


def _elsewhere(trace: Trace, call: Call) -> int | None:
    """An op of another library, by what was declared for it."""
    library, _, rest = call.op.partition(".")
    formulas.load_plugins(library)
    each = ELSEWHERE.get(f"{library}.{rest.partition('.')[0]}")
    if each is None:
        return None
    return each * sum(prod(trace.shape(output)) for output in call.outputs[:1])


def _transform(trace: Trace, call: Call, each: float) -> int:
    """Over all the transformed axes at once: log2 of a product is the sum of the axes' log2."""
    real = max(_first_input(trace, call), trace.shape(call.outputs[0]), key=prod)  # a real signal has half a spectrum
    axes = call.attributes["dim"]
    assert isinstance(axes, tuple)
    points = prod(real[axis] for axis in axes if isinstance(axis, int))
    return round(each * prod(real) * log2(points))


def _first_input(trace: Trace, call: Call) -> Shape:
    return trace.shape(next(iter(call.tensors())))


def _reduced(trace: Trace, call: Call) -> int:
    """Elements that a reduction reads: what is scattered, the rows that are looked up, or else the first input."""
    if "indices" in call.inputs and "weight" in call.inputs:
        indices, weight = (call.inputs[name] for name in ("indices", "weight"))
        if isinstance(indices, int) and isinstance(weight, int):
            return prod(trace.shape(indices)) * trace.shape(weight)[-1]
    source = call.inputs.get("src", call.inputs.get("source"))
    return prod(trace.shape(source) if isinstance(source, int) else _first_input(trace, call))


def _window(call: Call, dims: int) -> tuple[int, ...]:
    """The kernel of a pooling, one number standing for all dimensions."""
    kernel = call.attributes["kernel_size"]
    sizes = kernel if isinstance(kernel, tuple) else (kernel,)
    numbers = tuple(int(size) for size in sizes if isinstance(size, int))
    return numbers if len(numbers) == dims else numbers * dims


def _statistics(trace: Trace, call: Call) -> int:
    """Batch norm in training also sums the elements and their squared deviations: 3 passes more."""
    if call.attributes.get("training") is not True:
        return 0
    return 3 * prod(_first_input(trace, call))


def _distances(trace: Trace, call: Call, name: str) -> int:
    """Each distance between vectors of M elements takes its passes M times, not once."""
    if name != "_cdist_forward":
        return 0
    return PASSES[name] * prod(trace.shape(call.outputs[0])) * (_first_input(trace, call)[-1] - 1)


def rules() -> Mapping[str, str]:
    """Every op and how it is counted, for the documentation and the tests."""
    said = dict.fromkeys(sorted(POINTWISE), "1 an output element")
    said |= dict.fromkeys(sorted(REDUCTIONS), "1 an input element")
    said |= dict.fromkeys(sorted(WINDOWS), "the window an output element")
    said |= {name: f"{passes} an output element" for name, passes in sorted(PASSES.items())}
    said |= {name: f"{each:g} · log2(n) an element of n points" for name, each in sorted(TRANSFORMS.items())}
    return said | dict.fromkeys(sorted(MOVEMENT), "free")
