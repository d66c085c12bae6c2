"""The rules of each ATen op, from the shapes of one call alone: one entry an op. No torch.

A file holds the entries of a family of ops; importing the room registers them all. Packages add entries for the ops of
their own libraries with `contraction` and `elementwise`.
"""

from archcalc.ops import (  # noqa: F401, they register their entries
    attention,
    convolutions,
    gradients,
    matrices,
    movement,
    normalisation,
    pointwise,
    recurrence,
    reductions,
    resampling,
    transforms,
    views,
    windows,
)
from archcalc.ops.registry import contraction, elementwise

__all__ = ["contraction", "elementwise"]
