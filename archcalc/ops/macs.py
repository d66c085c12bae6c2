"""Multiply-accumulates of every contraction: one pure function of shapes an op.

A formula's parameters are the op's own argument names: a tensor arrives as its shape, a list of tensors as a tuple
of shapes, any other argument as its value; `output` is the shape of the first output. A MAC is one point of the
contraction's index space; bias, scaling and softmax are not MACs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from importlib.metadata import entry_points
from math import prod
from typing import Any, TypeVar

from archcalc.errors import CannotImport, one_line
from archcalc.tracing.records import Call, Shape, Trace

Formula = Callable[..., int | None]
F = TypeVar("F", bound=Formula)
FORMULAS: dict[str, Formula] = {}
"""By op name; 'aten.mm' stands for all its overloads."""
OURS = ("aten", "prims")
PLUGINS = "archcalc.formulas"
"""The group of entry points through which packages add formulas: the library of the ops, and the module to import."""


def contraction(*ops: str) -> Callable[[F], F]:
    """Register the formula of some ops; a second formula for an op is refused."""

    def register(formula: F) -> F:
        for op in ops:
            if op in FORMULAS:
                raise ValueError(f"{op} has the formula {FORMULAS[op].__name__} already")
            FORMULAS[op] = formula
        return formula

    return register


def macs(formula: Formula, trace: Trace, call: Call) -> int | None:
    """Evaluate a formula on one call; None where the count depends on values that shapes do not tell."""
    known: dict[str, Any] = {"output": trace.shape(call.outputs[0])} if call.outputs else {}
    known |= call.attributes
    for name, tensors in call.inputs.items():
        known[name] = trace.shape(tensors) if isinstance(tensors, int) else tuple(map(trace.shape, tensors))
    arguments = _arguments(formula)
    if any(needed and name not in known for name, needed in arguments.items()):  # a stored call may lack its tensors
        return None
    return formula(**{name: known[name] for name in arguments if name in known})


@cache
def _arguments(formula: Formula) -> Mapping[str, bool]:
    """The names of a formula's parameters, and whether it needs them."""
    parameters = inspect.signature(formula).parameters
    return {name: parameter.default is parameter.empty for name, parameter in parameters.items()}


def formula_of(op: str) -> str | None:
    """The name under which an op has a formula: its own, or that of all its overloads.

    >>> formula_of("aten.lstm.input"), formula_of("aten.addmm_"), formula_of("aten.relu")
    ('aten.lstm', 'aten.addmm', None)
    """
    namespace, _, rest = op.partition(".")
    if namespace not in OURS:
        load_plugins(namespace)
    packet = f"{namespace}.{rest.partition('.')[0]}"
    return next((name for name in (op, packet, packet.removesuffix("_")) if name in FORMULAS), None)


@cache
def load_plugins(library: str) -> None:
    """Import what installed packages know of the ops of a library, once; CannotImport where that fails."""
    for point in entry_points(group=PLUGINS, name=library):
        try:
            point.load()
        except Exception as error:  # code of another package
            raise CannotImport(f"the formulas for {library} ({point.value}) raised {one_line(error)}.", "") from error


# ---- matrices and vectors ------------------------------------------------------------------------


@contraction("aten.mm", "aten._int_mm", "aten._scaled_mm", "aten._scaled_mm_v2")
def mm(self: Shape, mat2: Shape) -> int:
    """[n, m] @ [m, p]: n·m·p.

    >>> mm((2, 3), (3, 4))  # 2·3·4
    24
    """
    return prod(self) * mat2[1]


@contraction("aten.addmm", "aten._addmm_activation")
def addmm(mat1: Shape, mat2: Shape) -> int:
    """[p] + [n, m] @ [m, p]: n·m·p.

    >>> addmm((1, 512), (512, 1000))  # 1·512·1000
    512000
    """
    return prod(mat1) * mat2[1]


@contraction("aten.bmm")
def bmm(self: Shape, mat2: Shape) -> int:
    """[b, n, m] @ [b, m, p]: b·n·m·p.

    >>> bmm((8, 2, 3), (8, 3, 4))  # 8·2·3·4
    192
    """
    return prod(self) * mat2[2]


@contraction("aten.baddbmm", "aten.addbmm")
def baddbmm(batch1: Shape, batch2: Shape) -> int:
    """[b, n, p] + [b, n, m] @ [b, m, p]: b·n·m·p.

    >>> baddbmm((8, 2, 3), (8, 3, 4))  # 8·2·3·4
    192
    """
    return prod(batch1) * batch2[2]


@contraction("aten.mv")
def mv(self: Shape) -> int:
    """[n, m] @ [m]: n·m.

    >>> mv((5, 7))  # 5·7
    35
    """
    return prod(self)


@contraction("aten.addmv")
def addmv(mat: Shape) -> int:
    """[n] + [n, m] @ [m]: n·m.

    >>> addmv((5, 7))  # 5·7
    35
    """
    return prod(mat)


@contraction("aten.dot", "aten.vdot")
def dot(self: Shape) -> int:
    """[n] · [n]: n.

    >>> dot((9,))
    9
    """
    return prod(self)


@contraction("aten.linear", "aten.mkldnn_linear", "aten._weight_int8pack_mm")
def linear(output: Shape, weight: Shape | None = None, mat2: Shape | None = None) -> int:
    """[..., m] @ [p, m]ᵀ: each output element sums m products.

    >>> linear((4, 7, 10), weight=(10, 3))  # 4·7·10·3
    840
    """
    return prod(output) * (weight or mat2 or (0,))[-1]


@contraction("aten._grouped_mm", "aten._scaled_grouped_mm", "aten._scaled_grouped_mm_v2")
def grouped_mm(self: Shape, mat2: Shape) -> int:
    """Each row of [n, m] meets one matrix of [g, m, p], each column of [m, p] one of [g, n, m]; else as mm and bmm.

    >>> grouped_mm((16, 3), (4, 3, 5)), grouped_mm((4, 16, 3), (3, 5))  # 16·3·5 both
    (240, 240)
    """
    return prod(self[-2:] if len(mat2) == 2 else self) * mat2[-1]


@contraction("aten.affine_grid_generator")
def affine_grid_generator(output: Shape, theta: Shape) -> int:
    """Each place of the grid is a product with the n x (n+1) matrix: N·H·W·n·(n+1).

    >>> affine_grid_generator((2, 5, 7, 2), (2, 2, 3))  # 2·5·7·2·3
    420
    """
    return prod(output) * theta[-1]


@contraction("aten._trilinear")
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


@contraction("aten.linalg_solve_triangular")
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


# ---- convolutions --------------------------------------------------------------------------------


@contraction(
    "aten.convolution",
    "aten._convolution",
    "aten.convolution_overrideable",
    "aten.mkldnn_convolution",
    "aten.cudnn_convolution",
    "aten._conv_depthwise2d",
    "aten.conv_depthwise3d",
    "aten._slow_conv2d_forward",
    "aten.slow_conv3d_forward",
    "aten.slow_conv_dilated2d",
    "aten.slow_conv_dilated3d",
)
def convolution(output: Shape, weight: Shape, input: Shape = (), transposed: bool = False) -> int:
    """Each output element sums Cin/groups · kh · kw products.

    Transposed, each input element makes Cout/groups · kh · kw.
    The weight is Cout, Cin/groups, k... (transposed: Cin, Cout/groups, k...), so groups, stride, dilation and the
    number of dimensions are in the shapes already. Products with padded zeros are counted, as everyone does.

    >>> convolution((1, 64, 112, 112), (64, 3, 7, 7))  # 64·112·112 · 3·7·7
    118013952
    >>> convolution((1, 8, 16, 16), (4, 8, 2, 2), (1, 4, 8, 8), transposed=True)  # 4·8·8 · 8·2·2
    8192
    """
    return prod(input if transposed else output) * prod(weight[1:])


@contraction("aten.cudnn_convolution_transpose", "aten.slow_conv_transpose2d", "aten.slow_conv_transpose3d")
def transposed_convolution(self: Shape, weight: Shape) -> int:
    """Each input element makes Cout/groups · kh · kw products.

    >>> transposed_convolution((1, 4, 8, 8), (4, 8, 2, 2))  # 4·8·8 · 8·2·2
    8192
    """
    return prod(self) * prod(weight[1:])


@contraction("aten.conv_tbc")
def conv_tbc(output: Shape, weight: Shape) -> int:
    """T, N, C -> T', N, C' with a weight of k, C, C': T'·N·C' · k·C.

    >>> conv_tbc((5, 2, 4), (3, 6, 4))  # 5·2·4 · 3·6
    720
    """
    return prod(output) * weight[0] * weight[1]


@contraction("torchvision.deform_conv2d")
def deform_conv2d(output: Shape, weight: Shape) -> int:
    """A convolution whose taps lie between pixels: Cin/groups · kh · kw products for each output element.

    >>> deform_conv2d((1, 8, 4, 4), (8, 2, 3, 3))  # 8·4·4 · 2·3·3
    2304
    """
    return prod(output) * prod(weight[1:])


@contraction("aten.convolution_backward")
def convolution_backward(
    grad_output: Shape,
    input: Shape,
    weight: Shape,
    transposed: bool = False,
    output_mask: tuple[bool, ...] = (True, True, True),
) -> int:
    """The gradients of input and weight cost one forward pass each; the bias's is a sum.

    >>> convolution_backward((1, 64, 112, 112), (1, 3, 224, 224), (64, 3, 7, 7), output_mask=(False, True, False))
    118013952
    """
    one = convolution(grad_output, weight, input, transposed)
    return one * (output_mask[0] + output_mask[1])
