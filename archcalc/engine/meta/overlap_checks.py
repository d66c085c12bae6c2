"""Writes into memory that overlaps, which real kernels refuse and kernels without data let pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from archcalc.engine.meta.call_arguments import Op
from archcalc.engine.torch_private import storage_key

FILLING = frozenset("fill_ zero_ masked_fill_ index_put_ _index_put_impl_ index_fill_".split())
"""Ops that may write to one place several times."""
GEOMETRY = frozenset(
    "t_ transpose_ swapaxes_ swapdims_ squeeze_ unsqueeze_ as_strided_ resize_ resize_as_ set_ detach_ "
    "requires_grad_ rename_".split()
)
"""Ops that write a tensor's geometry and not its elements."""
OF_LISTS = ("_foreach_", "_fused_")
"""Ops of optimizers on lists of parameters, which are tensors apart."""


def refuse_overlap(op: Op, written: Sequence[Tensor], read: Sequence[Tensor]) -> None:
    """RuntimeError, in torch's words, if an op writes to one place twice, or reads in part what it writes."""
    if op.name in GEOMETRY or op.name.startswith(OF_LISTS):
        return
    for target in written:
        if not target.numel():
            continue
        if op.name not in FILLING and _repeats(target):
            raise RuntimeError(
                "unsupported operation: more than one element of the written-to tensor refers to a single memory "
                "location. Please clone() the tensor before performing the operation."
            )
        key = storage_key(target)
        if any(_in_part(target, other) for other in read if other is not target and storage_key(other) == key):
            raise RuntimeError(
                "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single "
                "memory location. Please clone() the tensor before performing the operation."
            )


def _repeats(tensor: Tensor) -> bool:
    """Whether several elements are at one place."""
    return not tensor.is_contiguous() and any(
        n > 1 and s == 0 for n, s in zip(tensor.shape, tensor.stride(), strict=True)
    )


def _in_part(a: Tensor, b: Tensor) -> bool:
    """Whether two dense tensors of one storage share some bytes, and are not the same elements in the same order."""
    if not b.numel() or not (dense(a) and dense(b)):
        return False
    (start, end), (first, last) = _span(a), _span(b)
    if (start, end) == (first, last):
        return a.stride() != b.stride()
    return start < last and first < end


def _span(tensor: Tensor) -> tuple[int, int]:
    start = int(tensor.storage_offset()) * tensor.element_size()
    return start, start + tensor.numel() * tensor.element_size()


def dense(tensor: Tensor) -> bool:
    """Whether the elements fill one piece of memory, each place once, in some order of the dimensions."""
    expected = 1
    for stride, size in sorted(_strides(tensor)):
        if stride != expected:
            return False
        expected *= size
    return True


def _strides(tensor: Tensor) -> Iterator[tuple[int, int]]:
    return ((stride, size) for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1)
