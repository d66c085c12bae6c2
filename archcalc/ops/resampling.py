"""Interpolation between positions, and channels that become positions."""

from __future__ import annotations

from fractions import Fraction

from archcalc.ops.axes import Axis, Field, Seen
from archcalc.ops.call_view import CallView, sizes_reason
from archcalc.ops.met import by_taps, reads_met
from archcalc.ops.registry import FREE, Op, passes
from archcalc.tracing import Shape

ONE, TWO, FOUR = (reads_met(by_taps(taps)) for taps in (1, 2, 4))
"""What an interpolation reads, by the neighbours that it looks at on each axis."""
NEAREST = Op("upsample_nearest2d", work=FREE, traffic=ONE)
NEAREST_1D = Op("upsample_nearest1d", work=FREE, traffic=ONE)
BILINEAR = Op("upsample_bilinear2d", work=passes(4), traffic=TWO)  # taps of the interpolation
LINEAR = Op("upsample_linear1d", work=passes(2), traffic=TWO)
BICUBIC = Op("upsample_bicubic2d", work=passes(16), traffic=FOUR)
Op(
    "upsample_nearest3d", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d", "_upsample_nearest_exact3d",
    work=FREE, traffic=ONE,
)  # fmt: skip
Op("_upsample_bilinear2d_aa", "grid_sampler_2d", work=passes(4))
Op("upsample_trilinear3d", work=passes(8), traffic=TWO)
Op("grid_sampler_3d", work=passes(8))
Op("_upsample_bicubic2d_aa", work=passes(16))
SHUFFLE = Op("pixel_shuffle", "pixel_unshuffle", work=FREE)
for op in (NEAREST, BILINEAR, SHUFFLE):
    op.reason(sizes_reason)


@NEAREST.field
@NEAREST_1D.field
@BILINEAR.field
@LINEAR.field
@BICUBIC.field
def upsample_field(call: CallView, seen: Seen, shape: Shape) -> Field:
    """Neighbours come closer; interpolation looks at 2 (linear) or 4 (cubic) of them."""
    field, before = seen[0]
    taps = next((taps for kind, taps in (("nearest", 1), ("cubic", 4)) if kind in call.op), 2)
    return tuple(a and a.window(taps, Fraction(before[d], shape[d] or 1)) for d, a in enumerate(field))


@SHUFFLE.field
def shuffle_field(call: CallView, seen: Seen, shape: Shape) -> Field:
    """Channels become positions of one neighbourhood, or neighbours become channels."""
    field, before = seen[0]
    out: list[Axis | None] = []
    for dim, axis in enumerate(field):
        ratio = Fraction(before[dim], shape[dim] or 1)
        out.append(axis and axis.window(max(1, int(ratio)), ratio))
    return tuple(out)
