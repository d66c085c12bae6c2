"""The former place of `archcalc.ops.contraction`, for packages that import it from here; gone with the next release."""

from archcalc.ops import contraction

__all__ = ["contraction"]
