"""How exact the products of float32 matrices must be, as the program has told torch."""

from __future__ import annotations

import sys

EXACT = "highest"
"""Torch's default: no TF32 in products of matrices."""


def float32_products() -> str:
    """The program's last argument of `torch.set_float32_matmul_precision`; 'highest' without one, and without torch.

    >>> float32_products()
    'highest'
    """
    torch = sys.modules.get("torch")
    return EXACT if torch is None else torch.get_float32_matmul_precision()
