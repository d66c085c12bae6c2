"""Names of ops, cut from those of a trace such as 'aten.add_.Tensor'."""

from __future__ import annotations

from functools import cache

ATEN, PRIMS = "aten", "prims"


@cache
def packet(op: str) -> str:
    """The name without library and overload.

    >>> packet("aten.add_.Tensor"), packet("mylib.op")
    ('add_', 'op')
    """
    return op.split(".")[1] if "." in op else op


def base_name(op: str) -> str | None:
    """The name without library, overload and in-place mark; None outside ATen.

    >>> base_name("aten.add_.Tensor"), base_name("aten.__and__.Tensor"), base_name("mylib.op")
    ('add', '__and__', None)
    """
    if op.partition(".")[0] not in (ATEN, PRIMS):
        return None
    name = packet(op)
    return name if name.endswith("__") else name.removesuffix("_")
