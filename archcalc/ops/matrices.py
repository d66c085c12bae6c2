"""Matrix products, and what else multiplies every element of one tensor by those of another."""

from __future__ import annotations

from math import prod

from archcalc.ops.axes import LOST, Field, Seen
from archcalc.ops.call_view import CallView
from archcalc.ops.registry import EACH_OUTPUT, Causal, Op
from archcalc.ops.traffic import Moved, Operands, each_once, without
from archcalc.tracing import Shape


def with_addend(operands: Operands) -> Moved:
    """The tensor that is added is not read where its factor `beta` is 0."""
    beta = operands.attributes.get("beta", 1)
    return (without("self") if beta == 0 and beta is not False else each_once)(operands)


MM = Op("mm", causal=Causal.PRODUCT)
OTHER_MM = Op("_int_mm", "_scaled_mm", "_scaled_mm_v2")
ADDMM = Op("addmm", work=EACH_OUTPUT, causal=Causal.PRODUCT, traffic=with_addend)
ADDMM_ACTIVATION = Op("_addmm_activation", work=EACH_OUTPUT)
BMM = Op("bmm", causal=Causal.PRODUCT)
BADDBMM = Op("baddbmm", work=EACH_OUTPUT, causal=Causal.PRODUCT, traffic=with_addend)
ADDBMM = Op("addbmm", work=EACH_OUTPUT, traffic=with_addend)
MATMUL = Op("matmul", causal=Causal.PRODUCT)
MV = Op("mv")
ADDMV = Op("addmv", work=EACH_OUTPUT, traffic=with_addend)
DOT = Op("dot", "vdot")
LINEAR = Op("linear")
OTHER_LINEAR = Op("mkldnn_linear", "_weight_int8pack_mm")
GROUPED = Op("_grouped_mm", "_scaled_grouped_mm", "_scaled_grouped_mm_v2")
AFFINE_GRID = Op("affine_grid_generator")
TRILINEAR = Op("_trilinear")
SOLVE_TRIANGULAR = Op("linalg_solve_triangular")


@MM.macs
@OTHER_MM.macs
def mm(self: Shape, mat2: Shape) -> int:
    """[n, m] @ [m, p]: n·m·p.

    >>> mm((2, 3), (3, 4))  # 2·3·4
    24
    """
    return prod(self) * mat2[1]


@ADDMM.macs
@ADDMM_ACTIVATION.macs
def addmm(mat1: Shape, mat2: Shape) -> int:
    """[p] + [n, m] @ [m, p]: n·m·p.

    >>> addmm((1, 512), (512, 1000))  # 1·512·1000
    512000
    """
    return prod(mat1) * mat2[1]


@BMM.macs
def bmm(self: Shape, mat2: Shape) -> int:
    """[b, n, m] @ [b, m, p]: b·n·m·p.

    >>> bmm((8, 2, 3), (8, 3, 4))  # 8·2·3·4
    192
    """
    return prod(self) * mat2[2]


@BADDBMM.macs
@ADDBMM.macs
def baddbmm(batch1: Shape, batch2: Shape) -> int:
    """[b, n, p] + [b, n, m] @ [b, m, p]: b·n·m·p.

    >>> baddbmm((8, 2, 3), (8, 3, 4))  # 8·2·3·4
    192
    """
    return prod(batch1) * batch2[2]


@MV.macs
def mv(self: Shape) -> int:
    """[n, m] @ [m]: n·m.

    >>> mv((5, 7))  # 5·7
    35
    """
    return prod(self)


@ADDMV.macs
def addmv(mat: Shape) -> int:
    """[n] + [n, m] @ [m]: n·m.

    >>> addmv((5, 7))  # 5·7
    35
    """
    return prod(mat)


@DOT.macs
def dot(self: Shape) -> int:
    """[n] · [n]: n.

    >>> dot((9,))
    9
    """
    return prod(self)


@LINEAR.macs
@OTHER_LINEAR.macs
def linear(output: Shape, weight: Shape | None = None, mat2: Shape | None = None) -> int:
    """[..., m] @ [p, m]ᵀ: each output element sums m products.

    >>> linear((4, 7, 10), weight=(10, 3))  # 4·7·10·3
    840
    """
    return prod(output) * (weight or mat2 or (0,))[-1]


@GROUPED.macs
def grouped_mm(self: Shape, mat2: Shape) -> int:
    """Each row of [n, m] meets one matrix of [g, m, p], each column of [m, p] one of [g, n, m]; else as mm and bmm.

    >>> grouped_mm((16, 3), (4, 3, 5)), grouped_mm((4, 16, 3), (3, 5))  # 16·3·5 both
    (240, 240)
    """
    return prod(self[-2:] if len(mat2) == 2 else self) * mat2[-1]


@AFFINE_GRID.macs
def affine_grid_generator(output: Shape, theta: Shape) -> int:
    """Each place of the grid is a product with the n x (n+1) matrix: N·H·W·n·(n+1).

    >>> affine_grid_generator((2, 5, 7, 2), (2, 2, 3))  # 2·5·7·2·3
    420
    """
    return prod(output) * theta[-1]


@TRILINEAR.macs
def trilinear(
    i1: Shape,
    i2: Shape,
    i3: Shape,
    expand1: tuple[int, ...] = (),
    expand2: tuple[int, ...] = (),
    expand3: tuple[int, ...] = (),
) -> int:
    """Sum over products of three tensors, each with new axes at `expand`: the whole index space.

    nn.Bilinear has N, out, in1, in2: N·out·in1·in2 points.

    >>> trilinear((2, 3), (5, 3, 4), (2, 4), (1, 3), (0,), (1, 2))  # 2·5·3·4
    120
    """
    spread = [_expanded(i1, expand1), _expanded(i2, expand2), _expanded(i3, expand3)]
    return prod(max(sizes) for sizes in zip(*spread, strict=True))


@SOLVE_TRIANGULAR.macs
def solve_triangular(self: Shape, output: Shape) -> int:
    """A X = B or X A = B with A of n x n, by substitution: (n - 1)/2 products for each element of X.

    >>> solve_triangular((4, 4), (4, 2))  # 4·3/2 · 2
    12
    """
    return prod(output) * (self[-1] - 1) // 2


def _expanded(shape: Shape, axes: tuple[int, ...]) -> list[int]:
    sizes = list(shape)
    for axis in sorted(axes):
        sizes.insert(axis, 1)
    return sizes


@MM.reason
@OTHER_MM.reason
@ADDMM.reason
@LINEAR.reason
def matrix_reason(call: CallView) -> str:
    """The last size is the matrix's."""
    return f"out_features = {call.output[-1]}"


@BMM.reason
@BADDBMM.reason
def batched_reason(call: CallView) -> str:
    """[b, n, m] @ [b, m, p] -> [b, n, p]."""
    a, b = call.inputs[-2:]
    return f"[{a[1]},{a[2]}] @ [{b[1]},{b[2]}] = [{call.output[1]},{call.output[2]}]"


@MM.field
@ADDMM.field
@BMM.field
@BADDBMM.field
@LINEAR.field
@MV.field
def product_field(call: CallView, seen: Seen, shape: Shape) -> Field:
    """Matrix products mix positions; what has a place in space is lost."""
    return LOST
