"""The kernels that torch runs one behind the other for one op: what two of them read is read twice.

A device's cache may hold it in between, like all that was used a moment ago.
"""

from __future__ import annotations

from collections.abc import Sequence

from archcalc.analyses.kernels import Kernel, Span
from archcalc.ops.traffic import Launch, by_launch
from archcalc.tracing.places import bytes_by_storage


def launched(span: Span, alone: Sequence[Kernel]) -> list[Kernel]:
    """The kernels with those of each op that torch runs as several in place of one."""
    parts: list[Kernel] = []
    for kernel in alone:
        parts += _parts(span, kernel)
    return parts


def _parts(span: Span, kernel: Kernel) -> Sequence[Kernel]:
    """The kernels of an op call; the kernel itself if it is one, or if it has several calls."""
    number = kernel.calls[0]
    op = span.ops[number]
    if op is None or op.launches is None or len(kernel.calls) > 1:
        return (kernel,)
    launches = op.launches(span.operands[number])
    if len(launches) < 2:
        return (kernel,)
    parts = [_part(span, number, launch) for launch in launches]
    products, total = sum(launch.products for launch in launches), sum(part.total for part in parts)
    for part, launch in zip(parts, launches, strict=True):
        part.products = launch.products, max(products, 1)
        part.operations = part.total, total
    return parts


def _part(span: Span, number: int, launch: Launch) -> Kernel:
    operands = span.operands[number]
    read, made = operands.of_launch(launch)
    moved = by_launch(operands, launch)
    writes = {key: min(size, moved.written) for key, size in bytes_by_storage(made).items()}
    return Kernel({number: moved}, touched=(bytes_by_storage(read), writes))
