"""The work of each kernel of a pass or step: products, other operations and bytes, for no device yet."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

from archcalc.analyses.cached import memory_bytes
from archcalc.analyses.fusion import Kernel, Span, all_but_products, chained, joined, kernels, runnable
from archcalc.analyses.launches import launched
from archcalc.analyses.weights import COMPLEX
from archcalc.hardware.catalogue import layers_in_one_kernel, runs_several_kernels
from archcalc.ops.names import packet
from archcalc.ops.registry import macs_of, operations_of
from archcalc.tracing import Call, Trace

CONVOLUTIONS = ("convolution", "_convolution", "cudnn_convolution", "convolution_overrideable", "convolution_backward")
REALS = 4
"""Multiply-adds of real numbers in one of complex numbers."""
SIZES = re.compile(r"\d+, \d+")
"""How torch's recurrent layers begin their description; a class of the same name by other hands need not."""


class Work(NamedTuple):
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

    def moving(self, number: int) -> Work:
        """The same work with so many bytes."""
        return Work(self.path, self.flops, self.dtype, self.operations, number, self.convolves)


@dataclass(frozen=True)
class Pass:
    """The kernels of a pass in the order in which they run, and the work of each."""

    kernels: tuple[Kernel, ...]
    works: tuple[Work, ...]

    def beside(self, span: Span, cache: int, compiled: bool) -> Pass:
        """The same with the bytes that they move beyond a cache of so many bytes."""
        moved = memory_bytes(span, self.kernels, cache, compiled)
        return Pass(self.kernels, tuple(map(Work.moving, self.works, moved)))


@dataclass(frozen=True)
class Works:
    """The kernels of a pass: as torch launches them, one for each op, and compiled; the ops whose bytes are not known.

    `eager` is `alone` itself where torch launches one kernel for each op.
    """

    eager: Pass
    alone: Pass
    fused: Pass
    unknown: tuple[str, ...]
    span: Span

    def beside(self, cache: int | None) -> Works:
        """The same kernels with the bytes that they move beyond a cache of so many bytes; None is no cache."""
        if cache is None:
            return self
        alone = self.alone.beside(self.span, cache, False)
        eager = alone if self.eager is self.alone else self.eager.beside(self.span, cache, False)
        return replace(self, eager=eager, alone=alone, fused=self.fused.beside(self.span, cache, True))


def works_of(trace: Trace) -> Works:
    """The kernels of the forward pass, or of the last training step, which is like all that follow it.

    Compiled, whatever is no product is fused with what it reads from and writes to: no compiler does more.
    """
    span = range(trace.steps[-1].start, trace.steps[-1].end) if trace.steps else range(len(trace.calls))
    calls = Span(trace, span)
    alone = kernels(calls)
    fused = chained(calls, alone, all_but_products)
    layers = list(_recurrent_layers(trace, span))
    if layers:
        alone, fused = joined(calls, alone, layers), joined(calls, fused, layers)
    several = runs_several_kernels(_device(trace))
    eager = launched(calls, alone) if several else alone
    fused = runnable(calls, fused)
    flops = {number: _flops(trace, trace.calls[number]) for number in calls.moved}
    operations = {number: operations_of(trace, trace.calls[number]) or 0 for number in flops}
    works = {kernel: _work(trace, kernel, flops, operations) for kernel in {*eager, *alone, *fused}}
    each, compiled, launches = (Pass(tuple(of), tuple([works[k] for k in of])) for of in (alone, fused, eager))
    unknown = tuple(sorted({kernel.unknown for kernel in alone if kernel.unknown}))
    return Works(each if len(eager) == len(alone) else launches, each, compiled, unknown, calls)


def _device(trace: Trace) -> str:
    return str(trace.assumptions.get("device") or "")


def _recurrent_layers(trace: Trace, span: Iterable[int]) -> Iterable[list[int]]:
    """The op calls of each recurrent layer that one kernel of a library computes, forward and backward apart."""
    types = layers_in_one_kernel(_device(trace))
    layers = {
        number for number, module in enumerate(trace.modules) if module.type in types and SIZES.match(module.extra)
    }
    calls: dict[tuple[int, str], list[int]] = defaultdict(list)
    for number in span if layers else ():
        call = trace.calls[number]
        if trace.module_calls[call.module_call].module in layers:
            calls[call.module_call, call.phase].append(number)
    return calls.values()


def _flops(trace: Trace, call: Call) -> int:
    """FLOPs of the products of a call."""
    macs = macs_of(trace, call)
    return 2 * macs * (REALS if _dtype(trace, call).startswith(COMPLEX) else 1) if macs else 0


def _dtype(trace: Trace, call: Call) -> str:
    """The type of the first tensor of a call."""
    first = next(chain(call.tensors(), call.outputs), None)
    return "" if first is None else trace.tensors[first].dtype


def _work(trace: Trace, kernel: Kernel, flops: Mapping[int, int], operations: Mapping[int, int]) -> Work:
    first = trace.calls[kernel.calls[0]]
    products = [number for number in kernel.calls if flops[number]]
    return Work(
        trace.path(first),
        _part(sum([flops[number] for number in products]), kernel.products),
        _dtype(trace, trace.calls[products[0]] if products else first),
        _part(sum([operations[number] for number in kernel.calls]), kernel.operations),
        kernel.total,
        packet(first.op) in CONVOLUTIONS,
    )


def _part(number: int, of: tuple[int, int]) -> int:
    return number * of[0] // of[1]
