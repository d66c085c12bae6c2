"""The work of each kernel of a pass or step: products, other operations and bytes, for no device yet."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

from archcalc.analyses.cached import memory_bytes
from archcalc.analyses.fusion import all_but_products, chained_both_ways, joined, runnable
from archcalc.analyses.kernels import Kernel, Span, kernels
from archcalc.analyses.launches import launched
from archcalc.analyses.wanted import wanted
from archcalc.analyses.weights import COMPLEX
from archcalc.hardware.catalogue import layers_in_one_kernel, runs_several_kernels
from archcalc.ops.bands import pairs_below
from archcalc.ops.names import packet
from archcalc.ops.registry import counts_of
from archcalc.tracing import Call, Trace

CONVOLUTIONS = ("convolution", "_convolution", "cudnn_convolution", "convolution_overrideable", "convolution_backward")
IN_THREE = (
    "_scaled_dot_product_efficient_attention", "_scaled_dot_product_efficient_attention_backward",
    "_efficient_attention_forward", "_efficient_attention_backward",
)  # fmt: skip
"""Kernels that make a product of float32 of three of TF32: ATen's mem_eff_attention/gemm_kernel_utils.h."""
REALS = 4
"""Multiply-adds of real numbers in one of complex numbers."""
SIZES = re.compile(r"\d+, \d+")
"""How torch's recurrent layers begin their description; a class of the same name by other hands need not."""


class Work(NamedTuple):
    """The work of one kernel, at the module of its first op.

    `flops` are 2 a multiply-add of real numbers, in numbers of type `dtype`; `operations` all others. `tf32` are the
    products of TF32 that may stand for one of float32, 0 if none may.
    """

    path: str
    flops: int
    dtype: str
    operations: int
    bytes: int
    tf32: int

    def moving(self, number: int) -> Work:
        """The same work with so many bytes."""
        return Work(self.path, self.flops, self.dtype, self.operations, number, self.tf32)


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

    `fused` are the ways to compile it. `eager` is `alone` itself where torch launches one kernel for each op.
    """

    eager: Pass
    alone: Pass
    fused: tuple[Pass, ...]
    unknown: tuple[str, ...]
    span: Span

    def beside(self, cache: int | None) -> Works:
        """The same kernels with the bytes that they move beyond a cache of so many bytes; None is no cache."""
        if cache is None:
            return self
        alone = self.alone.beside(self.span, cache, False)
        eager = alone if self.eager is self.alone else self.eager.beside(self.span, cache, False)
        fused = tuple(way.beside(self.span, cache, True) for way in self.fused)
        return replace(self, eager=eager, alone=alone, fused=fused)


def works_of(trace: Trace) -> Works:
    """The kernels of the forward pass, or of the last training step, which is like all that follow it.

    Compiled, what nothing uses is not computed, and whatever is no product is fused with what it reads from, with what
    it writes to, and with what reads the same beside it.
    """
    span = range(trace.steps[-1].start, trace.steps[-1].end) if trace.steps else range(len(trace.calls))
    calls = Span(trace, span)
    alone = kernels(calls)
    used = wanted(calls)
    ways = chained_both_ways(used, [kernel for kernel in alone if kernel.calls[0] in used.moved], all_but_products)
    layers = list(_recurrent_layers(trace, span))
    if layers:
        alone, ways = joined(calls, alone, layers), [joined(used, fused, layers) for fused in ways]
    several = runs_several_kernels(_device(trace))
    eager = launched(calls, alone) if several else alone
    ways = [runnable(calls, fused) for fused in ways]
    arithmetic = {number: _arithmetic(trace, trace.calls[number]) for number in calls.moved}
    recurrent = frozenset(chain.from_iterable(layers))
    works = {
        kernel: _work(trace, kernel, arithmetic, recurrent) for kernel in {*eager, *alone, *chain.from_iterable(ways)}
    }
    each, launches, *compiled = (Pass(tuple(of), tuple([works[k] for k in of])) for of in (alone, eager, *ways))
    unknown = tuple(sorted({kernel.unknown for kernel in alone if kernel.unknown}))
    return Works(each if len(eager) == len(alone) else launches, each, tuple(compiled), unknown, calls)


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


def _arithmetic(trace: Trace, call: Call) -> tuple[int, int]:
    """FLOPs of the products of a call, and its other operations; of causal attention those of the visible scores."""
    macs, operations = (number or 0 for number in counts_of(trace, call))
    flops = 2 * macs * (REALS if macs and _dtype(trace, call).startswith(COMPLEX) else 1)
    if call.attributes.get("is_causal") is not True or not _in_one_kernel(call):
        return flops, operations
    n, m = (trace.shape(call.inputs[word])[-2] for word in ("query", "key"))  # type: ignore[arg-type]
    visible, all_ = pairs_below(1, n, m), max(1, n * m)
    return flops * visible // all_, operations * visible // all_


def _in_one_kernel(call: Call) -> bool:
    """Whether a call is attention whose scores stay in one kernel, which leaves out what a causal mask hides."""
    name = packet(call.op)
    return name.startswith("_scaled_dot_product") and not name.endswith("math") and "query" in call.inputs


def _dtype(trace: Trace, call: Call) -> str:
    """The type of the first tensor of a call."""
    first = next(chain(call.tensors(), call.outputs), None)
    return "" if first is None else trace.tensors[first].dtype


def _work(trace: Trace, kernel: Kernel, arithmetic: Mapping[int, tuple[int, int]], recurrent: Collection[int]) -> Work:
    first = trace.calls[kernel.calls[0]]
    products = next((number for number in kernel.calls if arithmetic[number][0]), kernel.calls[0])
    flops, operations = map(sum, zip(*[arithmetic[number] for number in kernel.calls], strict=True))
    return Work(
        trace.path(first),
        _part(flops, kernel.products),
        _dtype(trace, trace.calls[products]),
        _part(operations, kernel.operations),
        kernel.total,
        _tf32(trace, first, kernel.calls[0] in recurrent),
    )


def _tf32(trace: Trace, call: Call, recurrent: bool) -> int:
    """Products of TF32 for one of float32: in convolutions, layers of cuDNN and attention, or wherever torch may."""
    if recurrent or packet(call.op) in CONVOLUTIONS or trace.assumptions.get("float32_products"):
        return 1
    return 3 if packet(call.op) in IN_THREE else 0


def _part(number: int, of: tuple[int, int]) -> int:
    return number * of[0] // of[1]
