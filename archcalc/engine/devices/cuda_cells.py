"""CUDA's dropout, and its fused recurrent cells: all gates of a step in one op, with a workspace for backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from archcalc.engine.devices.device import Kernel
from archcalc.engine.meta.shape_rules import new, rule

aten = torch.ops.aten


def dropout(unfused: Kernel) -> Kernel:
    """Replace dropout: CUDA's kernel keeps a mask of one byte an element for backward."""

    def kernel(input: Tensor, p: float, train: bool) -> Any:
        if not train or not 0 < p < 1 or not input.numel():
            return unfused(input, p, train)
        return aten.native_dropout(input, p, train)[0]

    return kernel


def lstm_cell(unfused: Kernel) -> Kernel:
    """Replace the cell by two products for all gates and one fused op."""

    def cell(x: Tensor, hx: Any, w_ih: Tensor, w_hh: Tensor, b_ih: Any = None, b_hh: Any = None) -> Any:
        gates = x.matmul(w_ih.t()), hx[0].matmul(w_hh.t())
        h, c, _ = aten._thnn_fused_lstm_cell(*gates, hx[1], b_ih, b_hh)
        return h, c

    return cell


def gru_cell(unfused: Kernel) -> Kernel:
    """Replace the cell by two products for all gates and one fused op."""

    def cell(x: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Any = None, b_hh: Any = None) -> Any:
        gates = x.matmul(w_ih.t()), hx.matmul(w_hh.t())
        return aten._thnn_fused_gru_cell(*gates, hx, b_ih, b_hh)[0]

    return cell


@rule(aten._thnn_fused_gru_cell.default)
def fused_gru_cell(of_x: Tensor, of_h: Tensor, h: Tensor, b_ih: Any = None, b_hh: Any = None) -> Any:
    """The new state N, H, and a workspace N, 5H: three gates, the old state, and the candidate's part of it."""
    return new(h, h.shape), new(h, (h.shape[0], 5 * h.shape[1]))


@rule(aten._thnn_fused_gru_cell_backward.default)
def fused_gru_cell_backward(grad: Tensor, workspace: Tensor, has_bias: bool) -> Any:
    """The gradients of both products N, 3H, of the state, and of the biases, sums over N."""
    n, h = grad.shape
    bias = [new(grad, (3 * h,)) if has_bias else None for _ in range(2)]
    return new(grad, (n, 3 * h)), new(grad, (n, 3 * h)), new(grad, (n, h)), *bias
