"""How exact the products of float32 matrices must be, as the program has told torch."""

from __future__ import annotations

import sys

EXACT = "highest"
"""Torch's default: no TF32 in products of matrices."""


def float32_products() -> str:
    """What the program gave `torch.set_float32_matmul_precision`; 'highest' where torch was not imported.

    >>> float32_products()
    'highest'
    """
    torch = sys.modules.get("torch")
    return EXACT if torch is None else torch.get_float32_matmul_precision()
