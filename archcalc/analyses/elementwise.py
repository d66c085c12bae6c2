"""The former place of `archcalc.ops.elementwise`, for packages that import it from here; gone with the next release."""

from archcalc.ops import elementwise

__all__ = ["elementwise"]
