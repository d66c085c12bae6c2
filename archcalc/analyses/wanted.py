"""The op calls whose results are used: a compiler leaves out the others."""

from __future__ import annotations

from copy import copy

from archcalc.analyses.kernels import Span


def wanted(span: Span) -> Span:
    """The op calls that make a result, or what such a call reads, and those that write nothing, such as assertions."""
    used, calls = set[int](), set[int]()
    for number in reversed(span.moved):
        writes = span.operands[number].written_tensors
        if not writes or span.moved[number] is None or any(t.storage in used or span.lasts(t.storage) for t in writes):
            calls.add(number)
            used |= span.operands[number].storages
    if len(calls) == len(span.moved):
        return span
    kept = copy(span)
    kept.ops = {number: op for number, op in span.ops.items() if number in calls}
    kept.operands = {number: operands for number, operands in span.operands.items() if number in calls}
    kept.moved = {number: moved for number, moved in span.moved.items() if number in calls}
    return kept
