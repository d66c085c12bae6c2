"""Fast Fourier transforms, and distances between vectors."""

from __future__ import annotations

from math import log2, prod

from archcalc.ops.call_view import CallView, integers
from archcalc.ops.registry import Op, Work


def _transform(each: float) -> Work:
    """Of n points: `each` · log2(n) an element, the usual estimate; log2 of a product is the sum of the axes' log2."""

    def of(call: CallView) -> int:
        real = max(call.inputs[0], call.output, key=prod)  # a real signal has half a spectrum
        points = prod(real[axis] for axis in integers(call.attributes["dim"]))
        return round(each * prod(real) * log2(points))

    return Work(f"{each:g} · log2(n) an element of n points", of)


def _distances(call: CallView) -> int:
    """Each distance between vectors of M elements: subtract, power and add M times."""
    return 3 * prod(call.output) * call.inputs[0][-1]


Op("_fft_c2c", work=_transform(5.0))
Op("_fft_r2c", "_fft_c2r", work=_transform(2.5))
Op("_cdist_forward", work=Work("3 an output element", _distances))
