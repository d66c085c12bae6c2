"""The work of each kernel of a pass or step: products, other operations and bytes, for no device yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from archcalc.analyses.fusion import Kernel, Span, all_but_products, kernels
from archcalc.analyses.weights import COMPLEX
from archcalc.ops.names import packet
from archcalc.ops.registry import macs_of, operations_of
from archcalc.tracing import Call, Trace

CONVOLUTIONS = ("convolution", "_convolution", "cudnn_convolution", "convolution_overrideable", "convolution_backward")
REALS = 4
"""Multiply-adds of real numbers in one of complex numbers."""


@dataclass(frozen=True, slots=True)
class Work:
    """The work of one kernel, at the module of its first op.

    `flops` are 2 a multiply-add of real numbers, in numbers of type `dtype`; `operations` all others. `convolves` says
    that the products are those of a convolution.
    """

    path: str
    flops: int
    dtype: str
    operations: int
    bytes: int
    convolves: bool


@dataclass(frozen=True)
class Works:
    """The kernels of a pass: each op by itself, and compiled; the ops whose bytes are not known."""

    eager: tuple[Work, ...]
    fused: tuple[Work, ...]
    unknown: tuple[str, ...]


def works_of(trace: Trace) -> Works:
    """The kernels of the forward pass, or of the last training step, which is like all that follow it.

    Compiled, whatever is no product is fused with what it reads from and writes to: no compiler does more.
    """
    span = range(trace.steps[-1].start, trace.steps[-1].end) if trace.steps else range(len(trace.calls))
    calls = Span(trace, span)
    alone, chained = kernels(calls, False), kernels(calls, True, all_but_products)
    flops = {number: _flops(trace, trace.calls[number]) for kernel in alone for number in kernel.calls}
    operations = {number: operations_of(trace, trace.calls[number]) or 0 for number in flops}
    eager, fused = (tuple(_work(trace, k, flops, operations) for k in each) for each in (alone, chained))
    return Works(eager, fused, tuple(sorted({kernel.unknown for kernel in alone if kernel.unknown})))


def _flops(trace: Trace, call: Call) -> int:
    """FLOPs of the products of a call."""
    return 2 * (macs_of(trace, call) or 0) * (REALS if _dtype(trace, call).startswith(COMPLEX) else 1)


def _dtype(trace: Trace, call: Call) -> str:
    """The type of the first tensor of a call."""
    tensors = (*call.tensors(), *call.outputs)
    return trace.tensors[tensors[0]].dtype if tensors else ""


def _work(trace: Trace, kernel: Kernel, flops: Mapping[int, int], operations: Mapping[int, int]) -> Work:
    first = trace.calls[kernel.calls[0]]
    return Work(
        trace.path(first),
        sum(flops.get(number, 0) for number in kernel.calls),
        _dtype(trace, first),
        sum(operations.get(number, 0) for number in kernel.calls),
        kernel.total,
        packet(first.op) in CONVOLUTIONS,
    )
