"""Questions for values that only guard an error: a program that checks its values goes on if they are right."""

from __future__ import annotations

import sys

CHECKS = frozenset(("torch_compilable_check", "_check_tensor_all", "_check_tensor_all_with", "_assert_async"))
"""Functions that raise an error unless all of a tensor's values are true, and do nothing else with them."""
DEEPEST = 12
"""How many calls above a question such a function is looked for."""


def in_check() -> bool:
    """Whether the running code was called by a function that checks values.

    >>> def torch_compilable_check(): return in_check()
    >>> in_check(), torch_compilable_check()
    (False, True)
    """
    frame = sys._getframe(1)
    for _ in range(DEEPEST):
        if frame.f_code.co_name in CHECKS:
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False
