"""What the processes of the cases share: importing it is all that it is for."""

from __future__ import annotations

import gc
import warnings

from bench.models import torchvision_ops

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torchvision_ops()
    import timm  # noqa: F401

    import archcalc.engine  # noqa: F401

gc.freeze()
